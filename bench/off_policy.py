"""P13: the value of a policy from a million logged decisions, and its interval, beside the Open Bandit Pipeline."""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from bench import peers
from bench.peers.valuation import Arrays
from bench.rounds import in_turn, ratio
from bench.rows import Figure, Measurement
from contracts.errors import ToolMissing

RESAMPLES = 10_000
INTERVALS = ("ips", "dr")


def measure(options: Sequence[str]) -> Measurement:
    """Value the same log with both, in turn, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="make target ROW=P13 ARGS=…")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--actions", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--peer-resamples", type=int, default=400, help=f"of the peer, its time scaled to {RESAMPLES:,}, which are counted for ours"
    )
    chosen = parser.parse_args(options)
    interpreter = peers.python()
    if interpreter is None:
        raise ToolMissing("the Open Bandit Pipeline", "tools/setup peers makes the environment that has it.")
    with tempfile.TemporaryDirectory(prefix="offerloop-p13-") as name:
        folder = Path(name)
        made(chosen.rows, chosen.actions, chosen.seed).write(folder)
        seeds = iter(range(1, 1_000))

        def job(script: str, resamples: int, python: Path | None) -> Mapping[str, Any]:
            options = ("--log", str(folder), "--resamples", str(resamples), "--seed", str(next(seeds)), "--times", "3")
            said = peers.run(script, *options, interpreter=python)
            return {**said["logs"][0], "peak_mb": said["peak_mb"]}

        found = in_turn(
            {
                "ours": partial(job, "own_valuation", RESAMPLES, None),
                "theirs": partial(job, "open_bandit_pipeline", chosen.peer_resamples, interpreter),
            },
            chosen.rounds,
        )
    ours, theirs = found["ours"], found["theirs"]
    scale = RESAMPLES / chosen.peer_resamples
    figures, notes = [], [f"{chosen.rows:,} decisions, {chosen.actions} actions, seed {chosen.seed}, {chosen.rounds} rounds"]
    apart = max(
        abs(mine["values"][name] - other["values"][name]) / max(1.0, abs(other["values"][name]))
        for mine, other in zip(ours, theirs, strict=True)
        for name in mine["values"]
    )
    for name in INTERVALS:
        mine, other = ([one["seconds"][name] for one in given] for given in (ours, theirs))
        share, spread = ratio(mine, other)
        figures.append(Figure(f"{name}: time beside the peer's", share, 1.0, "×"))
        notes.append(f"{name}: {1e3 * median(mine):.0f} ms beside {1e3 * median(other):.0f} ms, ratio {spread}")
    figures.append(Figure("values, greatest difference", apart, 1e-9, ""))
    for name in INTERVALS:
        mine = [one["interval_seconds"][name] for one in ours]
        other = [scale * one["interval_seconds"][name] for one in theirs]
        times, spread = ratio(other, mine)
        low, high, their_low, their_high = (
            fmean(one["intervals"][name][end] for one in given) for given in (ours, theirs) for end in (0, 1)
        )
        off = max(abs(low - their_low), abs(high - their_high)) / (their_high - their_low)
        figures.append(Figure(f"{name}: interval of {RESAMPLES:,} resamples, times faster", times, 100.0, "×", at_most=False))
        figures.append(Figure(f"{name}: ends of the interval apart, share of its width", off, 0.05, ""))
        notes.append(
            f"{name}: {median(mine):.2f} s beside {median(other):.0f} s (measured with {chosen.peer_resamples} resamples and scaled), ratio"
            f" {spread}; mean ends [{low:.6f}, {high:.6f}] beside [{their_low:.6f}, {their_high:.6f}]"
        )
    notes.append(f"peak memory {median(one['peak_mb'] for one in ours):.0f} MB beside {median(one['peak_mb'] for one in theirs):.0f} MB")
    notes.append(f"all of {', '.join(ours[0]['values'])} are equal to the difference above")
    return Measurement("P13", tuple(figures), tuple(notes))


def made(rows: int, actions: int, seed: int) -> Arrays:
    """A log of rare purchases of skewed size, drawn by a policy that prefers some actions, and a policy that prefers others."""
    random = np.random.default_rng(seed)

    def shares() -> np.ndarray:
        drawn = random.exponential(size=(rows, actions)) + 0.05
        return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))

    logging, probabilities = shares(), shares()
    reached = logging.cumsum(axis=1)
    action = np.minimum((reached < random.random((rows, 1))).sum(axis=1), actions - 1)
    chance = 0.02 + 0.04 * random.random(actions)
    rewards = (random.random(rows) < chance[action]) * np.exp(random.normal(1.5, 1.0, rows))
    q = 5.0 * chance + 0.1 * random.random((rows, actions))
    return Arrays(rewards, logging[np.arange(rows), action], action, probabilities, q)
