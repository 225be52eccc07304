"""P12: how long it takes from a changed traffic plan until the last replica answers by it, forth and back, under load."""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.made_releases import EDITION, made
from bench.rows import Figure, Measurement
from bench.served import Answer, Load, Served, served
from contracts.traffic import TrafficPlan
from decisions.record import stored_decision
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act
from releases.stages import register
from serving.operations import promote, roll_back
from storage.journal import Journal

ACTOR = "bench"
WATCHED_S = 1.5
"""How long answers are looked at after each change."""


def measure(options: Sequence[str]) -> Measurement:
    """Swap releases of different features and catalogues in running replicas while clients ask; look at every answer."""
    parser = argparse.ArgumentParser(prog="make target ROW=P12 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--swaps", type=int, default=30)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1, help="the number of the first release that is made")
    chosen = parser.parse_args(options)
    with served(chosen.use_case, chosen.replicas) as running:
        use_case = running.desk.use_cases[chosen.use_case]
        made_ids = [prepare(running, chosen.use_case, write(running, chosen.use_case, chosen.seed + number)) for number in range(4)]
        forth: list[float] = []
        back: list[float] = []
        with Load(running, chosen.use_case, chosen.clients) as load:
            for number in range(chosen.swaps):
                release_id = made_ids[number % len(made_ids)]
                promote(running.desk, chosen.use_case, release_id, ACTOR, "into the shadow")
                time.sleep(0.5)
                forth.append(_timed(load, partial(promote, running.desk, chosen.use_case, release_id, ACTOR, "on", at_once=True)))
                if number % 2:
                    back.append(_timed(load, partial(roll_back, running.desk, chosen.use_case, ACTOR, "back")))
        failed = [answer for answer in load.answers if answer.status != 200]
        mixed = mixed_answers(running, use_case.name, load.answers)
    figures = (
        Figure("a swap seen by the last replica, p99", float(np.percentile(forth, 99)), 1.0, "s"),
        Figure("a rollback seen by the last replica, p99", float(np.percentile(back, 99)), 1.0, "s"),
        Figure("answers that failed", float(len(failed)), 0.0, ""),
        Figure("answers mixed from two releases", float(len(mixed)), 0.0, ""),
    )
    rate = len(load.answers) / (load.answers[-1].answered_s - load.answers[0].asked_s)
    notes = [
        f"{len(forth)} swaps: median {np.median(forth):.3f} s, worst {max(forth):.3f} s; {len(back)} rollbacks: median "
        f"{np.median(back):.3f} s, worst {max(back):.3f} s; {chosen.replicas} replicas, {chosen.clients} clients",
        f"{len(load.answers)} answers, {rate:.0f} a second; of each, content and logged features and catalogue are those of its release",
        "from before the operator's act, its checks included, until the last answer of another release than the plan's had arrived",
        *(f"failed: {answer.status} {answer.said}" for answer in failed[:3]),
        *mixed[:3],
    ]
    return Measurement("P12", figures, tuple(notes))


def write(running: Served, use_case: str, number: int) -> str:
    """Write a made release; its id."""
    layout = running.desk.layout
    return write_bundle(layout.bundles, made(running.desk.use_cases[use_case], number), layout.secrets)


def prepare(running: Served, use_case: str, release_id: str) -> str:
    """Register a written release; its id."""
    digest = read_bundle(running.desk.layout.bundles, release_id).digest
    register(running.desk.ledger, use_case, release_id, digest, Act(ACTOR, running.desk.clock.now_us(), "made"))
    return release_id


def seconds_until_all(answers: Sequence[Answer], began_s: float, release_id: str) -> float:
    """Seconds from a moment until the last answer of another release had arrived that was asked for since."""
    late = [
        answer.answered_s for answer in answers if answer.asked_s >= began_s and answer.status == 200 and answer.release_id != release_id
    ]
    return max(late, default=began_s) - began_s


def mixed_answers(running: Served, use_case: str, answers: Sequence[Answer]) -> list[str]:
    """Answers whose content, features or catalogue are not those of the release that they name, in words."""
    bundles: Path = running.desk.layout.bundles
    known = {name: read_bundle(bundles, name).parts for name in {answer.release_id for answer in answers if answer.status == 200}}
    found = []
    journal = Journal(running.desk.layout.journal, running.settings.store.map_size_bytes)
    try:
        with journal.read() as read:
            for answer in answers:
                if answer.status != 200:
                    continue
                parts = known[answer.release_id]
                candidate = parts.catalogue.candidates[parts.catalogue.index[answer.said["action"]]]
                logged = stored_decision(read, use_case, answer.said["decision_id"])
                same = (
                    answer.said["content"].get(EDITION) == candidate.content.get(EDITION)
                    and logged is not None
                    and logged.release_id == answer.release_id
                    and logged.catalogue == parts.catalogue.digest
                    and len(logged.features) == len(parts.features["features"])
                )
                if not same:
                    found.append(f"mixed: {answer.said}")
    finally:
        journal.close()
    return found


def _timed(load: Load, act: Callable[[], TrafficPlan]) -> float:
    began_s = time.monotonic()
    plan = act()
    time.sleep(WATCHED_S)
    return seconds_until_all(load.since(began_s), began_s, plan.champion.release_id)
