"""Q2: how often the 95 % interval of an off-policy value holds the truth, over thousands of simulated logs.

Entities have several decisions each, alike within an entity: some buy more often than others, and spend more. Purchases are rare, their
sizes log-normal. The truth is not simulated, it is summed up: the frailty of an entity is 1 on average, and so are its sizes.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.rows import Figure, Measurement
from decisions.estimators import EstimatorName, Logged, terms_of, under
from decisions.interval import Method, interval

ACTIONS = 6
SEGMENTS = 3
ESTIMATORS: tuple[EstimatorName, ...] = ("ips", "snips", "dr", "switch_dr")
SPREAD = 1.0
"""Standard deviation of the logarithm of a purchase."""

FRAILTY = np.array([0.4, 1.6])
"""Of an entity's purchases and their sizes, each half the entities."""


@dataclass(frozen=True, eq=False)
class World:
    """What is true; S segments of the moment, K actions.

    Attributes:
        chance: (S, K) of a purchase. `q`: (S, K) what a model says of its value, wrong by a fifth and more.
        logging: (S, K) probabilities of the log. `target`: (S, K) of the policy to be valued.
    """

    chance: NDArray[np.float64]
    q: NDArray[np.float64]
    logging: NDArray[np.float64]
    target: NDArray[np.float64]

    @property
    def truth(self) -> float:
        """Value of the policy a decision: of purchases and sizes that share a frailty."""
        return float((self.target * self.chance).sum(axis=1).mean()) * float((FRAILTY**2).mean()) * math.exp(SPREAD**2 / 2.0)

    def run(self, random: np.random.Generator, entities: int) -> tuple[Logged, NDArray[np.int64]]:
        """A log of so many entities, one to seven decisions each, and whose each decision is."""
        entity = np.repeat(np.arange(entities), random.integers(1, 8, entities))
        frailty = FRAILTY[random.integers(0, 2, entities)][entity]
        segment = random.integers(0, SEGMENTS, len(entity))
        reached = self.logging.cumsum(axis=1)[segment]
        action = np.minimum((reached < random.random((len(entity), 1))).sum(axis=1), ACTIONS - 1)
        bought = random.random(len(entity)) < self.chance[segment, action] * frailty
        rewards = np.zeros(len(entity))
        rewards[bought] = frailty[bought] * np.exp(random.normal(0.0, SPREAD, int(bought.sum())))
        log = Logged(
            rewards=rewards,
            propensity=self.logging[segment, action],
            target=self.target[segment, action],
            q_logged=self.q[segment, action],
            q_target=under(self.target, self.q)[segment],
        )
        return log, entity


def worlds(seed: int) -> Mapping[str, World]:
    """Logs drawn uniformly, and by an ε-greedy policy that mostly does something else than the policy to be valued."""
    random = np.random.default_rng(seed)
    chance = random.uniform(0.05, 0.15, (SEGMENTS, ACTIONS))
    best, second = np.argsort(-chance, axis=1)[:, :2].T
    row = np.arange(SEGMENTS)
    target = np.full((SEGMENTS, ACTIONS), 0.1 / ACTIONS)
    target[row, best] += 0.9
    greedy = np.full((SEGMENTS, ACTIONS), 0.5 / ACTIONS)
    greedy[row, np.where(row > 0, second, best)] += 0.5
    uniform = np.full((SEGMENTS, ACTIONS), 1.0 / ACTIONS)
    q = chance * math.exp(SPREAD**2 / 2.0) * random.uniform(0.6, 1.2, chance.shape)
    return {"uniform": World(chance, q, uniform, target), "ε-greedy": World(chance, q, greedy, target)}


def held(world: World, entities: int, runs: int, seed: int, method: Method | None) -> Mapping[str, float]:
    """Share of runs whose interval holds the truth, by estimator; switch-DR beyond all weights, where it is unbiased."""
    random = np.random.default_rng(seed)
    beyond = float((world.target / world.logging).max())
    counts = dict.fromkeys(ESTIMATORS, 0)
    for number in range(runs):
        log, entity = world.run(random, entities)
        for name in ESTIMATORS:
            terms = terms_of(name, log, threshold=beyond if name == "switch_dr" else None)
            made = interval(terms, entity, method=method, seed=number).estimate
            counts[name] += made.low <= world.truth <= made.high
    return {name: count / runs for name, count in counts.items()}


def measure(options: Sequence[str]) -> Measurement:
    """Count how often the product's interval holds the truth."""
    parser = argparse.ArgumentParser(prog="make target ROW=Q2 ARGS=…")
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--entities", type=int, nargs="+", default=[500, 1_000, 5_000])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--method", choices=["analytic", "bootstrap", "bernstein"], help="always this one, not what the product picks")
    chosen = parser.parse_args(options)
    shares: dict[str, float] = {}
    notes = [
        f"{chosen.runs} runs each, seed {chosen.seed}; a share is known to ±{1.96 * math.sqrt(0.05 * 0.95 / chosen.runs):.3f}",
        "entities with 1 to 7 decisions, frail alike; purchases in 5 to 15 of 100 decisions, sizes log-normal with spread 1",
    ]
    for log, world in worlds(chosen.seed).items():
        for entities in chosen.entities:
            found = held(world, entities, chosen.runs, chosen.seed + entities, chosen.method)
            shares |= {f"{name}, {log} log, {entities} entities": share for name, share in found.items()}
            notes.append(f"{log} log, {entities:,} entities: " + ", ".join(f"{name} {share:.2%}" for name, share in found.items()))
    least, most = min(shares, key=lambda name: shares[name]), max(shares, key=lambda name: shares[name])
    notes.append(f"least: {least}; greatest: {most}")
    notes.append("of 300 entities (--entities 300), with some ten purchases that count, it may be a little more or less than 93 to 97 %")
    return Measurement(
        "Q2",
        (
            Figure("least coverage of the 95 % interval", shares[least], 0.93, "", at_most=False),
            Figure("greatest coverage of the 95 % interval", shares[most], 0.97, ""),
        ),
        tuple(notes),
    )
