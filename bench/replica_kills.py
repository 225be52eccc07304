"""R1: replicas killed with -9 in turn, under load: nothing fails for a client that asks again, and nothing acknowledged is lost."""

import argparse
import random
import time
from collections.abc import Sequence

from bench.acknowledged import check
from bench.outage import REPLICA, Traffic, ended, hit, processes, seconds_until
from bench.rows import Figure, Measurement
from bench.served import served

PATIENCE_S = 60.0


def measure(options: Sequence[str]) -> Measurement:
    """Kill a replica every few seconds, wait until as many answer as before, and hold what clients were told against the log."""
    parser = argparse.ArgumentParser(prog="make target ROW=R1 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--raw", type=int, default=8, help="clients beside that never ask twice")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    chance = random.Random(chosen.seed)
    killed_s: list[float] = []
    gone_s: list[float] = []
    back: list[float] = []
    with served(chosen.use_case, chosen.replicas) as running:
        seconds_until(lambda: len(running.replicas()) == chosen.replicas, PATIENCE_S)
        with Traffic(running, chosen.use_case, rate=chosen.rate, clients=chosen.clients, raw=chosen.raw, seed=chosen.seed) as traffic:
            until = time.monotonic() + chosen.seconds
            while time.monotonic() < until:
                victim = chance.choice(processes(running, REPLICA))
                killed_s.append(time.monotonic())
                hit([victim])
                seconds_until(lambda victim=victim: ended(victim), PATIENCE_S, 0.001)  # type: ignore[misc]
                gone_s.append(time.monotonic())
                back.append(seconds_until(lambda: len(running.replicas()) == chosen.replicas, PATIENCE_S))
                time.sleep(max(0.0, killed_s[-1] + chosen.every - time.monotonic()))
        findings = check(running.desk.layout, running.desk.use_cases[chosen.use_case].schema, traffic.history)
    broken = [one for one in traffic.tries if one.status != 200]
    dying = list(zip(killed_s, gone_s, strict=True))
    later = [one for one in broken if not any(one.asked_s <= gone and one.ended_s >= killed for killed, gone in dying)]
    figures = (
        Figure("requests that failed through the client", float(len(traffic.failed)), 0.0, ""),
        Figure("raw requests that failed and were not in flight at a kill", float(len(later)), 0.0, ""),
        Figure("refused without Retry-After", float(len(traffic.silent)), 0.0, ""),
        Figure("slowest until as many replicas answered as before", max(back), 15.0, "s"),
        Figure("acknowledged and lost", float(len(findings.lost)), 0.0, ""),
        Figure("kept twice, or answered in two ways", float(len(findings.doubled) + len(findings.differing)), 0.0, ""),
    )
    slowest_end_s = max(gone - killed for killed, gone in dying)
    notes = [
        f"{len(killed_s)} kills with -9 of {chosen.replicas} replicas; {traffic.history.acknowledged} acknowledged writes looked for",
        f"{traffic.asked} requests through the typed client; {len(traffic.tries)} raw ones, of which {len(broken)} failed",
        f"{traffic.left} requests dropped by closing the connection, each asked for again at once with its id",
        f"in flight: a replica was killed, or on its way out, between being asked and failing; that took {slowest_end_s:.3f} s at most",
        f"seconds until all replicas answered again: {', '.join(f'{value:.1f}' for value in back)}",
        *traffic.failed[:3],
        *traffic.silent[:3],
        *(f"raw, asked {_since(one.asked_s, killed_s):.3f} s behind a kill: {one.status} {one.said}" for one in later[:8]),
        *([str(findings)] if str(findings) else []),
    ]
    return Measurement("R1", figures, tuple(notes))


def _since(moment_s: float, killed_s: Sequence[float]) -> float:
    return moment_s - max((killed for killed in killed_s if killed <= moment_s), default=moment_s)
