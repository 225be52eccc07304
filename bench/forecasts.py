"""Q7: what the gate foresaw of each release on simulated games, beside what was seen of it later."""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np

from bench.rows import Figure, Measurement
from simulator.campaign import campaign
from use_cases.game_promotion import USE_CASE


@dataclass(frozen=True, slots=True)
class Forecast:
    """A release's forecast and its interval, and what came, in dollars a decision; `true` is what was seen without its luck."""

    value: float
    low: float
    high: float
    seen: float
    true: float

    @property
    def met(self) -> bool:
        """Whether what was seen lies within the interval."""
        return self.low <= self.seen <= self.high


def measure(options: Sequence[str]) -> Measurement:
    """Play games of several seeds, with a training and a release after each phase."""
    parser = argparse.ArgumentParser(prog="make target ROW=Q7 ARGS=…")
    parser.add_argument("--seeds", type=int, default=20, help="how many games")
    parser.add_argument("--seed", type=int, default=1, help="the first")
    parser.add_argument("--random", type=int, default=20_000, help="decisions before the first training")
    parser.add_argument("--decisions", type=int, default=20_000, help="after each training")
    parser.add_argument("--trainings", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args(options)
    lengths = (chosen.random, *[chosen.decisions] * chosen.trainings)
    with ProcessPoolExecutor(chosen.processes, mp_context=get_context("spawn")) as pool:
        games = list(pool.map(partial(one_game, lengths=lengths), range(chosen.seed, chosen.seed + chosen.seeds)))
    found = [forecast for game in games for forecast in game]
    if not found:
        return Measurement("Q7", (Figure("releases that answered", 0.0, 1.0, "", at_most=False),))
    error = np.array([forecast.seen / forecast.value - 1.0 for forecast in found])
    width = np.mean([(forecast.high - forecast.low) / forecast.value for forecast in found])
    figures = (
        Figure(
            "releases whose later value lies within the forecast's interval", float(np.mean([f.met for f in found])), 0.9, "", at_most=False
        ),
    )
    notes = [
        f"{len(found)} releases of {len(games)} games; interval {width:.0%} of the forecast wide on average",
        f"seen over foreseen: {1 + error.mean():.3f} ± {error.std():.3f}, from {1 + error.min():.2f} to {1 + error.max():.2f}",
        f"without the luck of what was seen: {np.mean([f.low <= f.true <= f.high for f in found]):.0%} within",
    ]
    return Measurement("Q7", figures, tuple(notes))


def one_game(seed: int, lengths: tuple[int, ...]) -> list[Forecast]:
    """The forecasts of one game's releases, and what came."""
    _, phases = campaign(USE_CASE, seed, lengths)
    found = []
    for phase in phases[1:]:
        if phase.candidate is not None and phase.arm:
            foreseen = phase.candidate.verdict.forecast
            found.append(Forecast(foreseen.value, foreseen.low, foreseen.high, phase.seen.value, phase.standing.logged))
    told = "; ".join(f"{f.value:.3f} [{f.low:.3f}, {f.high:.3f}] saw {f.seen:.3f} ({f.true:.3f})" for f in found)
    print(f"seed {seed}: {told}", flush=True)
    return found
