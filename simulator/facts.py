"""How hard the world is: what is true of a game of some seed, played with random promotions. `python -m simulator.facts --help`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from contracts.clock import DAY_US, MINUTE_US
from simulator.people import Floats
from simulator.play import open_sessions, play_matches, settle
from simulator.settings import WorldSettings
from simulator.truth import Standing, standing
from simulator.world import World
from use_cases.game_promotion import USE_CASE

START_US = 20_000 * DAY_US
STEP_US = 30 * MINUTE_US


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of a world.

    Attributes:
        standing: of its decisions, every eligible candidate drawn alike.
        conversion_control, conversion_random, conversion_oracle: true chance of a purchase after showing nothing, anything, the best.
        spend_median, spend_mean, spend_p99: dollars of a purchase.
        taste_kept: correlation of players' likings (log) at the first and the last decision: slow drift makes it less than 1.
        days: logical days that the decisions took.
    """

    seed: int
    standing: Standing
    conversion_control: float
    conversion_random: float
    conversion_oracle: float
    spend_median: float
    spend_mean: float
    spend_p99: float
    taste_kept: float
    days: float

    @property
    def best_single_share(self) -> float:
        """How far always the best single candidate goes from control to the oracle."""
        return self.standing.share(self.standing.best_single)


def look(seed: int, decisions: int, settings: WorldSettings | None = None) -> Facts:
    """Play a world with random promotions and nobody to learn from them; no installation is needed."""
    world = World(USE_CASE.catalogue, seed, START_US, settings)
    draw = np.random.default_rng([seed, 3])
    now_us, made = START_US, 0
    expected, eligible, actions, chance, spent = [], [], [], [], []
    while made < decisions:
        now_us += STEP_US
        sessions = open_sessions(world, now_us)
        if not len(sessions):
            continue
        action = np.where(sessions.eligible, draw.random(sessions.eligible.shape), -1.0).argmax(axis=1)
        play_matches(world, sessions)
        bought = settle(world, sessions, action, sessions.moment_us)
        expected.append(sessions.chances.expected)
        eligible.append(sessions.eligible)
        actions.append(action)
        chance.append(sessions.chances.organic + sessions.chances.added)
        spent.append(bought.micros / 1e6)
        made += len(sessions)
    truth, possible, chances, purchases = np.concatenate(expected), np.concatenate(eligible), np.concatenate(chance), np.concatenate(spent)
    best = np.where(possible, truth, -np.inf).argmax(axis=1)
    return Facts(
        seed=seed,
        standing=standing(truth, possible, np.concatenate(actions), world.nothing),
        conversion_control=float(chances[:, world.nothing].mean()),
        conversion_random=float(chances[np.arange(made), np.concatenate(actions)].mean()),
        conversion_oracle=float(chances[np.arange(made), best].mean()),
        spend_median=float(np.median(purchases)),
        spend_mean=float(purchases.mean()),
        spend_p99=float(np.quantile(purchases, 0.99)),
        taste_kept=_kept(world, now_us),
        days=(now_us - START_US) / DAY_US,
    )


def _kept(world: World, now_us: int) -> float:
    first = _likings(world, world.people.segment, world.start_us)
    last = _likings(world, world.segment, now_us)
    return float(np.corrcoef(first.ravel(), last.ravel())[0, 1])


def _likings(world: World, segment: np.ndarray[tuple[int], np.dtype[np.int64]], now_us: int) -> Floats:
    return np.log(world.tastes.likings(segment, np.full(len(segment), now_us, dtype=np.int64)))


def main(arguments: Sequence[str]) -> int:
    """Print the facts of some seeds, a line each, and the last as JSON; 0 when every one of them is as hard as it should be."""
    parser = argparse.ArgumentParser(prog="python -m simulator.facts", description="How hard the simulated game is.")
    parser.add_argument("--seeds", default="1,2,3,4,5,6,7,8", help="comma-separated")
    parser.add_argument("--decisions", type=int, default=20_000, help="random ones, of each seed")
    options = parser.parse_args(arguments)
    names = ("seed", "control", "random", "single", "oracle", "single %", "buy: none", "random", "oracle", "eligible", "days")
    print("".join(f"{name:>10}" for name in names))
    found = [look(int(seed), options.decisions) for seed in options.seeds.split(",")]
    for facts in found:
        at = facts.standing
        print(
            f"{facts.seed:>10}{at.control:>10.3f}{at.uniform:>10.3f}{at.best_single:>10.3f}{at.oracle:>10.3f}{facts.best_single_share:>10.0%}"
            f"{facts.conversion_control:>10.1%}{facts.conversion_random:>10.1%}{facts.conversion_oracle:>10.1%}"
            f"{at.eligible:>10.1f}{facts.days:>10.1f}"
        )
    share = max(facts.best_single_share for facts in found)
    print(msgspec.json.encode({"best_single_share": round(share, 3), "at_most": 0.6, "ok": share <= 0.6}).decode())
    return 0 if share <= 0.6 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
