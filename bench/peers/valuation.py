"""One way to value a policy from a log, in a process of its own: it times itself, without start and reading, and tells its peak memory."""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np

from bench.peers.job import peak_mb

T = TypeVar("T")

ARRAYS = ("rewards", "propensity", "action", "probabilities", "q")


@dataclass(frozen=True, eq=False)
class Arrays:
    """A log, a policy and a model; n decisions, K actions: `probabilities` and `q` are (n, K), the others (n,)."""

    rewards: np.ndarray
    propensity: np.ndarray
    action: np.ndarray
    probabilities: np.ndarray
    q: np.ndarray

    def write(self, folder: Path) -> None:
        """One file an array."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def read(cls, folder: Path) -> "Arrays":
        """What `write` wrote."""
        return cls(*(np.load(folder / f"{name}.npy") for name in ARRAYS))


Point = Callable[[Arrays, float], float]
"""Value of the policy; the number is the threshold of switch-DR."""

Ends = Callable[[Arrays, int, int], tuple[float, float]]
"""Ends of its 95 % interval, by so many resamples with this seed."""


def main(points: Mapping[str, Point], intervals: Mapping[str, Ends]) -> None:
    """Value the log that the command line names; the last line printed is its JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", type=Path, nargs="+", required=True, help="folders of `Arrays.write`")
    parser.add_argument("--threshold", type=float, default=10.0)
    parser.add_argument("--resamples", type=int, default=0, help="0: no intervals")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--times", type=int, default=1)
    asked = parser.parse_args()
    said = [_value(Arrays.read(log), points, intervals, asked) for log in asked.log]
    print(json.dumps({"logs": said, "peak_mb": peak_mb()}, default=float))


def _value(
    arrays: Arrays, points: Mapping[str, Point], intervals: Mapping[str, Ends], asked: argparse.Namespace
) -> Mapping[str, Mapping[str, object]]:
    values: dict[str, float] = {}
    seconds: dict[str, float] = {}
    ends: dict[str, list[float]] = {}
    interval_seconds: dict[str, float] = {}
    for name, point in points.items():
        values[name], seconds[name] = _timed(partial(point, arrays, asked.threshold), asked.times)
    for name, interval in intervals.items() if asked.resamples else ():
        found, interval_seconds[name] = _timed(partial(interval, arrays, asked.resamples, asked.seed), 1)
        ends[name] = list(found)
    return {"values": values, "seconds": seconds, "intervals": ends, "interval_seconds": interval_seconds}


def _timed(work: Callable[[], T], times: int) -> tuple[T, float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        found = work()
        taken.append(time.perf_counter() - began)
    return found, median(taken)
