"""P8: decisions a second over HTTP, with everything on, beside a no-op on the same Ray Serve."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import httpx
import lmdb

from bench.load import Plan, load, posts
from bench.peers.no_op_on_ray import BODY
from bench.promotion_world import NAME, asks, entity, release, serving
from bench.rounds import in_turn, ratio
from bench.rows import Figure, Measurement, Series
from bench.served import Served
from contracts.errors import ServiceFailed
from decisions.record import DECISION
from services import environment, ports, ray
from storage.journal import Journal

CONNECTIONS = (1, 8, 32)
LEAST = {8: 0.5, 32: 0.5}
"""Least times the no-op's rate, by connections."""

MORE_MS = 0.7
"""What one decision may take beside one durable commit."""

COMMITS = 400
PREFIX = "/no-op"
OURS, NO_OP, COMMIT = "ours", "no-op", "commit"
PATIENCE_S = 60.0


def measure(options: Sequence[str]) -> Measurement:
    """Ask a running installation and a no-op behind the same HAProxy in turn; time durable commits on the same disk in between."""
    parser = argparse.ArgumentParser(prog="make target ROW=P8 ARGS=…")
    parser.add_argument("--replicas", type=int, default=2, help="of each")
    parser.add_argument("--entities", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=40, help="of each entity, before")
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settle", type=float, default=3.0, help="seconds to wait before the first load")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    parts = release(2 * chosen.seed, trees=chosen.trees)
    with serving(chosen.replicas, chosen.entities, chosen.events, chosen.seed, parts) as running:
        _deploy_no_op(running, chosen.replicas)
        size = _record_bytes(running)
        ours, nothing = asks(chosen.entities, running.key), posts(PREFIX, [b'{"entity_id":"player-1"}'], running.key)
        things: dict[str, Callable[[], _Taken]] = {}
        for connections in CONNECTIONS:
            for name, requests in ((OURS, ours), (NO_OP, nothing)):
                things[f"{name} {connections}"] = partial(_ask, Plan(running.settings.ports.api, requests, connections, chosen.seconds))
        things[COMMIT] = partial(_commit, running.desk.layout.root / "bench-commits", size)
        time.sleep(chosen.settle)
        found = in_turn(things, chosen.rounds)
    lines = {
        title: {str(connections): median(one.rate for one in found[f"{name} {connections}"]) for connections in CONNECTIONS}
        for name, title in ((OURS, "Offerloop, everything on"), (NO_OP, "a no-op on the same Ray Serve"))
    }
    series = Series("Decisions beside a no-op", "connections", "answers a second", lines)
    return Measurement("P8", _figures(found), _notes(found, size, chosen), (series,))


@dataclass(frozen=True, slots=True)
class _Taken:
    """What was measured in a round: so many a second, half of them within so many milliseconds."""

    rate: float
    half_ms: float
    failed: int = 0


def _ask(plan: Plan) -> _Taken:
    loaded = load(plan)
    if not loaded.good:
        raise ServiceFailed("a server", f"gave no answer but {dict(loaded.statuses)} to {plan.requests[0][:60]!r}", "its log")
    return _Taken(loaded.rate, loaded.latency_ms(0.5), loaded.failed)


def _commit(folder: Path, size: int) -> _Taken:
    """Durable commits of a record each, one after another, appended to an LMDB environment of its own."""
    taken = []
    with lmdb.open(str(folder), map_size=2**30) as environment:
        first = environment.stat()["entries"]
        for number in range(first, first + COMMITS):
            began = time.perf_counter()
            with environment.begin(write=True) as transaction:
                transaction.put(number.to_bytes(8, "big"), bytes(size), append=True)
            taken.append((time.perf_counter() - began) * 1e3)
    return _Taken(1e3 * COMMITS / sum(taken), median(taken))


def _deploy_no_op(running: Served, replicas: int) -> None:
    """The no-op beside the decisions, on the same Ray and with what it was started with.

    Raises:
        ServiceFailed: it cannot be deployed.
    """
    layout = running.desk.layout
    addresses = ports.read(layout)
    assert addresses is not None
    variables = environment.base(running.settings, addresses) | ray.environment(running.settings, addresses, layout)
    command = [sys.executable, "-m", "bench.peers.no_op_on_ray", PREFIX, str(replicas)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise ServiceFailed("the no-op", f"ended with {done.returncode}: {done.stderr[-400:]}", "its own output")
    until = time.monotonic() + PATIENCE_S
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while client.post(f"{running.address}{PREFIX}").content != BODY:
            if time.monotonic() > until:
                raise ServiceFailed("the no-op", f"does not answer after {PATIENCE_S:.0f} s", str(layout.logs))
            time.sleep(0.2)


def _record_bytes(running: Served) -> int:
    """What a decision writes: its record twice, in the log and under its id, and its entity's state."""
    with httpx.Client(headers={"authorization": f"Bearer {running.key}"}, timeout=30.0, trust_env=False) as client:
        decided = client.post(f"{running.address}/v1/{NAME}/decisions", json={"entity_id": entity(0)}).json()
    journal = Journal(running.desk.layout.journal, running.settings.store.map_size_bytes)
    try:
        with journal.read() as read:
            record, state = read.get_id(DECISION, NAME, decided["decision_id"]), read.get_state(NAME, entity(0))
    finally:
        journal.close()
    assert record is not None and state is not None
    return 2 * len(record) + len(state)


def _figures(found: Mapping[str, Sequence[_Taken]]) -> tuple[Figure, ...]:
    figures = []
    for connections, least in LEAST.items():
        ours, nothing = ([one.rate for one in found[f"{name} {connections}"]] for name in (OURS, NO_OP))
        figures.append(Figure(f"{connections} connections, times the no-op", ratio(ours, nothing)[0], least, "×", at_most=False))
    mine, other = found[f"{OURS} 1"], found[f"{NO_OP} 1"]
    added = median(one.half_ms - two.half_ms for one, two in zip(mine, other, strict=True))
    most = median(one.half_ms for one in found[COMMIT]) + MORE_MS
    failed = sum(one.failed for name, rounds in found.items() for one in rounds)
    return (
        *figures,
        Figure(f"1 connection, p50 added (most: a commit + {MORE_MS} ms)", added, most, "ms"),
        Figure("answers that were not 2xx", float(failed), 0.0, ""),
    )


def _notes(found: Mapping[str, Sequence[_Taken]], size: int, chosen: argparse.Namespace) -> tuple[str, ...]:
    lines = [
        f"{chosen.replicas} replicas of each behind the same HAProxy; ours with {chosen.trees} trees for each of 24 candidates, key, "
        f"features of {chosen.entities} players, policy and durable log; the no-op is a bare ASGI application that reads nothing"
    ]
    for connections in CONNECTIONS:
        ours, nothing = found[f"{OURS} {connections}"], found[f"{NO_OP} {connections}"]
        value, spread = ratio([one.rate for one in ours], [one.rate for one in nothing])
        lines.append(f"{connections} connections: {_words(ours)}; no-op {_words(nothing)}; {value:.2f} ×, rounds {spread}")
    taken = [one.half_ms for one in found[COMMIT]]
    lines.append(
        f"a durable commit of {size} bytes, as many as a decision writes: p50 {median(taken):.2f} ms, "
        f"rounds {min(taken):.2f} to {max(taken):.2f}"
    )
    return tuple(lines)


def _words(rounds: Sequence[_Taken]) -> str:
    return f"{median(one.rate for one in rounds):,.0f}/s (p50 {median(one.half_ms for one in rounds):.2f} ms)"
