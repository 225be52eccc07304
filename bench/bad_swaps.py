"""R3: good and bad releases put in force in turn, under load: nothing fails, nothing bad answers, and one goes back within a second."""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench.rows import Figure, Measurement
from bench.served import Load, Served, served
from bench.swap import ACTOR, mixed_answers, prepare, seconds_until_all, write
from contracts.errors import BundleRefused, NotFound
from contracts.traffic import CHAMPION, Arm
from releases.ledger import Act
from releases.signing import SIGNATURE_FILE
from releases.stages import register
from serving.operations import promote, roll_back

WATCHED_S = 1.5
PATIENCE_S = 10.0


def measure(options: Sequence[str]) -> Measurement:
    """Every second release is bad in another way, and is put in force past all checks, as by a broken disk or an attacker."""
    parser = argparse.ArgumentParser(prog="make target ROW=R3 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--swaps", type=int, default=20, help="good and bad ones together")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=101, help="the number of the first release that is made")
    chosen = parser.parse_args(options)
    back: list[float] = []
    unnoticed: list[str] = []
    with served(chosen.use_case, chosen.replicas) as running:
        good = [prepare(running, chosen.use_case, write(running, chosen.use_case, chosen.seed + number)) for number in range(3)]
        ways = list(BAD)
        bad: dict[str, str] = {}
        replicas = running.replicas()
        with Load(running, chosen.use_case, chosen.clients) as load:
            for number in range(chosen.swaps):
                if number % 2 == 0:
                    release_id = good[number // 2 % len(good)]
                    promote(running.desk, chosen.use_case, release_id, ACTOR, "into the shadow")
                    time.sleep(0.5)
                    promote(running.desk, chosen.use_case, release_id, ACTOR, "on", at_once=True)
                    time.sleep(WATCHED_S)
                    began_s = time.monotonic()
                    plan = roll_back(running.desk, chosen.use_case, ACTOR, "back")
                    time.sleep(WATCHED_S)
                    back.append(seconds_until_all(load.since(began_s), began_s, plan.champion.release_id))
                else:
                    way = ways[number // 2 % len(ways)]
                    name = BAD[way](running, chosen.use_case, write(running, chosen.use_case, chosen.seed + 100 + number))
                    bad[name] = way
                    before = _put_in_force(running, chosen.use_case, name)
                    time.sleep(WATCHED_S)
                    unnoticed += [f"{way}: {said}" for said in _unnoticed(running, chosen.use_case, name, before, replicas)]
                    back.append(_back(running, chosen.use_case, before, replicas))
        failed = [answer for answer in load.answers if answer.status != 200]
        wrong = [answer for answer in load.answers if answer.release_id in bad]
        mixed = mixed_answers(running, chosen.use_case, load.answers)
    figures = (
        Figure("answers that were not 2xx", float(len(failed)), 0.0, ""),
        Figure("answers from a bad release", float(len(wrong)), 0.0, ""),
        Figure("answers mixed from two releases", float(len(mixed)), 0.0, ""),
        Figure("bad releases that were not refused and said", float(len(unnoticed)), 0.0, ""),
        Figure("slowest rollback, to the last replica", max(back), 1.0, "s"),
    )
    rate = len(load.answers) / (load.answers[-1].answered_s - load.answers[0].asked_s)
    notes = [
        f"{chosen.swaps} swaps, {len(bad)} of them of bad releases: {', '.join(dict.fromkeys(bad.values()))}",
        f"{len(load.answers)} answers, {rate:.0f} a second, by {chosen.replicas} replicas to {chosen.clients} clients that never ask twice",
        "a bad release is put in force past every check; refused means: by each replica, in the ledger, and by a rollback to it",
        *unnoticed[:5],
        *(f"failed: {answer.status} {answer.said}" for answer in failed[:3]),
    ]
    return Measurement("R3", figures, tuple(notes))


def _flipped(running: Served, use_case: str, release_id: str) -> str:
    return _damaged(running, use_case, release_id, "model.txt", lambda content: content[:999] + bytes([content[999] ^ 4]) + content[1_000:])


def _cut(running: Served, use_case: str, release_id: str) -> str:
    return _damaged(running, use_case, release_id, "golden.parquet", lambda content: content[: len(content) // 2])


def _other_catalogue(running: Served, use_case: str, release_id: str) -> str:
    return _damaged(running, use_case, release_id, "catalogue.json", lambda content: content.replace(b"none", b"nine"))


def _without_file(running: Served, use_case: str, release_id: str) -> str:
    prepare(running, use_case, release_id)
    (running.desk.layout.bundles / release_id / "policy.json").unlink()
    return release_id


def _other_digest(running: Served, use_case: str, release_id: str) -> str:
    """The ledger knows another digest than the bundle has."""
    register(running.desk.ledger, use_case, release_id, "0" * 64, Act(ACTOR, running.desk.clock.now_us(), "made"))
    return release_id


def _unknown(running: Served, use_case: str, release_id: str) -> str:
    """The ledger does not know the release at all."""
    return release_id


def _unsigned(running: Served, use_case: str, release_id: str) -> str:
    prepare(running, use_case, release_id)
    (running.desk.layout.bundles / release_id / SIGNATURE_FILE).unlink()
    return release_id


BAD: dict[str, Callable[[Served, str, str], str]] = {
    "a bit flipped in the model": _flipped,
    "golden decisions cut in half": _cut,
    "another catalogue": _other_catalogue,
    "a file gone": _without_file,
    "another digest in the ledger": _other_digest,
    "never registered": _unknown,
    "not signed": _unsigned,
}
"""Ways in which a release is bad; each makes a good one so, and gives its id."""


def _damaged(running: Served, use_case: str, release_id: str, file: str, change: Callable[[bytes], bytes]) -> str:
    prepare(running, use_case, release_id)
    path: Path = running.desk.layout.bundles / release_id / file
    path.chmod(0o644)
    path.write_bytes(change(path.read_bytes()))
    return release_id


def _put_in_force(running: Served, use_case: str, release_id: str) -> str:
    """Make a release champion by the plan alone; who was it before."""
    plan = running.desk.ledger.plan(use_case)
    assert plan is not None
    after = msgspec.structs.replace(plan, version=plan.version + 1, arms=(Arm(CHAMPION, release_id, 1.0),), shadow=None)
    running.desk.ledger.set_plan(after, Act(ACTOR, running.desk.clock.now_us(), "past every check"), "champion", release_id)
    return plan.champion.release_id


def _unnoticed(running: Served, use_case: str, release_id: str, before: str, replicas: Sequence[int]) -> list[str]:
    """What should have been seen of a bad release in force, and was not."""
    found = []
    for port in replicas:
        status = running.status(port, use_case)
        if release_id not in status["refused"]:
            found.append(f"the replica at {port} does not say that it refuses it")
        if [arm["release_id"] for arm in status["arms"]] != [before]:
            found.append(f"the replica at {port} serves {status['arms']}")
    if not running.desk.ledger.rows(use_case, release_id=release_id, action="refuse", limit=1):
        found.append("no row of the ledger says that serving refused it")
    try:
        roll_back(running.desk, use_case, ACTOR, "to the bad one", to=release_id)
        found.append("one may go back to it")
    except (BundleRefused, NotFound):
        pass
    return found


def _back(running: Served, use_case: str, to: str, replicas: Sequence[int]) -> float:
    """Seconds from a rollback until every replica follows the plan again."""
    began_s = time.monotonic()
    plan = roll_back(running.desk, use_case, ACTOR, "away from the bad one", to=to)
    while any(running.status(port, use_case)["plan_version"] != plan.version for port in replicas):
        if time.monotonic() - began_s > PATIENCE_S:
            break
        time.sleep(0.02)
    return time.monotonic() - began_s
