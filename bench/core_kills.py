"""R2: what decisions stand on is killed in turn: Serve's controller, the proxy, all of Ray; then the same release answers again.

One replica is stopped as well, which is worse than to be killed: it takes requests and answers none.
"""

import argparse
import signal
import time
from collections.abc import Callable, Sequence

import psutil

from bench.acknowledged import check
from bench.outage import CONTROLLER, REPLICA, Traffic, hit, processes, proxies, seconds_until, service_of
from bench.rows import Figure, Measurement
from bench.served import Served, served

PATIENCE_S = 120.0

FAULTS: dict[str, tuple[signal.Signals, Callable[[Served], list[psutil.Process]]]] = {
    "Serve's controller was killed": (signal.SIGKILL, lambda running: processes(running, CONTROLLER)),
    "the proxy was killed": (signal.SIGKILL, proxies),
    "a replica was stopped for good": (signal.SIGSTOP, lambda running: processes(running, REPLICA)[:1]),
    "all of Ray was killed": (signal.SIGKILL, lambda running: service_of(running, "ray")),
}


def measure(options: Sequence[str]) -> Measurement:
    """Kill each with -9, and see for how long clients that ask once had to wait."""
    parser = argparse.ArgumentParser(prog="make target ROW=R2 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--settle", type=float, default=10.0, help="seconds between faults")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    gone: dict[str, list[float]] = {name: [] for name in FAULTS}
    other: list[str] = []
    missing: list[str] = []
    with served(chosen.use_case, chosen.replicas) as running:
        before = _releases(running, chosen.use_case)
        with Traffic(running, chosen.use_case, rate=chosen.rate, seed=chosen.seed, patience_s=PATIENCE_S) as traffic:
            for _ in range(chosen.rounds):
                for name, (number, find) in FAULTS.items():
                    moment_s = time.monotonic()
                    if not hit(find(running), number):
                        missing.append(name)
                    time.sleep(5.0)
                    seconds_until(lambda since=moment_s: traffic.steady_since(since) is not None, PATIENCE_S)  # type: ignore[misc]
                    steady_s = traffic.steady_since(moment_s)
                    gone[name].append(float("inf") if steady_s is None else steady_s - moment_s)
                    seconds_until(lambda: len(running.replicas()) == chosen.replicas, PATIENCE_S)
                    after = _releases(running, chosen.use_case)
                    other += [f"after {name}: {after}, before: {before}"] if after != before else []
                    time.sleep(chosen.settle)
        findings = check(running.desk.layout, running.desk.use_cases[chosen.use_case].schema, traffic.history)
    figures = (
        *(Figure(f"decisions steady again after {name}", max(took), 60.0, "s") for name, took in gone.items()),
        Figure("requests that failed through a client of two minutes' patience", float(len(traffic.failed)), 0.0, ""),
        Figure("refused without Retry-After", float(len(traffic.silent)), 0.0, ""),
        Figure("other releases than before", float(len(other)), 0.0, ""),
        Figure("acknowledged and lost", float(len(findings.lost)), 0.0, ""),
        Figure("kept twice, or answered in two ways", float(len(findings.doubled) + len(findings.differing)), 0.0, ""),
        Figure("faults that found nothing to kill", float(len(missing)), 0.0, ""),
    )
    broken = [one for one in traffic.tries if one.status != 200]
    statuses = sorted({one.status for one in broken})
    notes = [
        f"{traffic.asked} requests through the typed client, {len(traffic.tries)} that ask once; of those {len(broken)} failed: {statuses}",
        f"{traffic.history.acknowledged} acknowledged writes looked for in the log; steady: from the last failure on",
        *traffic.failed[:3],
        *traffic.silent[:3],
        *other[:3],
        *([str(findings)] if str(findings) else []),
    ]
    return Measurement("R2", figures, tuple(notes))


def _releases(running: Served, use_case: str) -> tuple[tuple[str, str], ...]:
    for port in running.replicas():
        return tuple((arm["arm"], arm["release_id"]) for arm in running.status(port, use_case)["arms"])
    return ()
