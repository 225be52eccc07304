"""R18: half an hour of steady load: memory does not grow, nothing fails, and the slow answers stay as they were."""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import psutil

from bench.acknowledged import check
from bench.outage import REPLICA, Traffic, processes, proxies
from bench.rows import Figure, Measurement
from bench.served import served

LOOK_S = 2.0
WARM_SHARE = 0.2
"""The first part of the time, and of each replica's requests, is warm-up."""

MOST_SLOWER = 1.5
"""The slowest hundredth of the second half may take so many times that of the first: other work on the machine moves it as much."""


def measure(options: Sequence[str]) -> Measurement:
    """Load at a fixed rate; the memory of each replica and of the proxies looked at every other second, a line fitted after warm-up."""
    parser = argparse.ArgumentParser(prog="make target ROW=R18 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    memory: dict[str, list[tuple[float, float]]] = {}
    with served(chosen.use_case, chosen.replicas) as running:
        watched = {f"replica {process.pid}": process for process in processes(running, REPLICA)}
        watched |= {f"{process.name()} {process.pid}": process for process in proxies(running)}
        with Traffic(running, chosen.use_case, rate=chosen.rate, seed=chosen.seed, entities=2_000) as traffic:
            began_s = time.monotonic()
            while (passed_s := time.monotonic() - began_s) < chosen.minutes * 60.0:
                for name, process in watched.items():
                    memory.setdefault(name, []).append((passed_s / 60.0, _resident_mb(process)))
                time.sleep(LOOK_S)
        gone = [name for name, process in watched.items() if not process.is_running()]
        findings = check(running.desk.layout, running.desk.use_cases[chosen.use_case].schema, traffic.history)
    slopes = {name: slope(points, WARM_SHARE * chosen.minutes) for name, points in memory.items()}
    waits = [1e3 * (one.ended_s - one.asked_s) for one in traffic.tries if one.asked_s >= began_s + WARM_SHARE * chosen.minutes * 60.0]
    half = len(waits) // 2
    first, second = (float(np.percentile(part, 99)) for part in (waits[:half], waits[half:]))
    broken = [one for one in traffic.tries if one.status != 200]
    figures = (
        Figure("steepest growth of memory", max(slopes.values()), 1.0, "MB/min"),
        Figure("requests that failed, asked once", float(len(broken)), 0.0, ""),
        Figure("requests that failed through the client", float(len(traffic.failed)), 0.0, ""),
        Figure("p99 of the second half beside that of the first", second / first, MOST_SLOWER, ""),
        Figure(
            "acknowledged and lost, or kept twice", float(len(findings.lost) + len(findings.doubled) + len(findings.differing)), 0.0, ""
        ),
        Figure("processes that did not live through it", float(len(gone)), 0.0, ""),
    )
    notes = [
        f"{traffic.asked + len(traffic.tries)} requests in {chosen.minutes:g} min",
        f"p99 of what was asked once: {first:.1f} ms in the first half, {second:.1f} ms in the second",
        *(
            f"{name}: {points[0][1]:.0f} MB at first, {points[-1][1]:.0f} MB at last, {slopes[name]:+.2f} MB/min"
            for name, points in memory.items()
        ),
        "memory is what a process holds for itself (resident, without the pages of files that it shares, such as the journal's)",
        *(f"failed: {one.status} {one.said}" for one in broken[:3]),
        *traffic.failed[:3],
    ]
    return Measurement("R18", figures, tuple(notes))


def slope(points: Sequence[tuple[float, float]], warm: float) -> float:
    """Least-squares slope of (minute, megabytes) points behind the first `warm` minutes.

    Example:
        >>> slope([(0.0, 900.0), (1.0, 10.0), (2.0, 12.0), (3.0, 14.0)], 1.0)
        2.0
    """
    kept = [point for point in points if point[0] >= warm]
    minutes, megabytes = np.array([point[0] for point in kept]), np.array([point[1] for point in kept])
    return round(float(np.polyfit(minutes, megabytes, 1)[0]), 6) if len(kept) > 1 else 0.0


def _resident_mb(process: psutil.Process) -> float:
    try:
        found = process.memory_info()
    except psutil.NoSuchProcess:
        return 0.0
    return float(found.rss - found.shared) / 2**20
