"""Q4: a thousand A/A tests, each looked at many times and ended at the first look that concludes; and the alarm of a wrong split.

Each test is a simulated log: entities come over two weeks and come back; few buy, some for a lot; those who bought before buy more often,
which a feature tells. Entities fall into arms by the product's own salted hash. The statistics at each look are summed up as the log grows;
verdicts on them are the product's own (a test holds them equal to `training.comparison.conclude` on tables).
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.rows import Figure, Measurement
from contracts.traffic import CHALLENGER, CHAMPION, CONTROL, Arm, TrafficPlan
from decisions.assignment import assign
from decisions.gain import Entities
from decisions.planning import plan as planned_for
from decisions.planning import traffic_of
from decisions.sample_ratio import ALARM, sample_ratio_so_far
from decisions.value import Floats
from decisions.verdict import Compared, Rules, Verdict, judge

DAYS = 14
SHARES = (0.5, 0.2, 0.1)
"""Shares of the challenger, test by test in turn."""

GAIN = 0.1
"""The real gain in the tests of power."""

PLANTED = 100_000
"""Entities of the planted split."""


@dataclass(frozen=True, eq=False)
class Log:
    """A simulated experiment of n decisions, in order of time.

    Attributes:
        arm: (E,) of each entity: 1 the challenger's, 0 the champion's, −1 control's.
        known: (E, 2) features of entities at their first decision.
        entity: (n,) whose decision. `day`: (n,) when. `reward`: (n,) what came of it.
        degraded: (n,) whether the answer was degraded.
    """

    arm: NDArray[np.int64]
    known: Floats
    entity: NDArray[np.int64]
    day: Floats
    reward: Floats
    degraded: NDArray[np.bool_]


def measure(options: Sequence[str]) -> Measurement:
    """Run the tests and count."""
    parser = argparse.ArgumentParser(prog="make target ROW=Q4 ARGS=…")
    parser.add_argument("--tests", type=int, default=1_000)
    parser.add_argument("--looks", type=int, default=DAYS, help="evenly spread over two weeks")
    parser.add_argument("--entities", type=int, default=5_000, help="of each test")
    parser.add_argument("--splits", type=int, default=100, help=f"planted splits of {PLANTED} entities, and as many even ones")
    parser.add_argument("--power-tests", type=int, default=100, help="tests of a real gain")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    rng = np.random.default_rng(chosen.seed)
    ended, fooled = [], 0
    for number in range(chosen.tests):
        share = SHARES[number % len(SHARES)]
        log = simulate(rng, chosen.entities, plan_of(share, f"{chosen.seed}:{number}"))
        verdict, once = ending(log, share, chosen.looks)
        ended.append((share, verdict))
        fooled += once
    wrong = [verdict for _, verdict in ended if verdict.cause == "better"]
    alarms = sum(verdict.cause == "sample ratio" for _, verdict in ended)
    noticed, false = splits(chosen.splits, chosen.seed)
    shipped, entities, planned = power(rng, chosen.power_tests, chosen.looks, chosen.seed)
    stopped = {cause: sum(verdict.cause == cause for _, verdict in ended) for cause in ("worse", "guard rail")}
    figures = (
        Figure("A/A tests that are promoted", len(wrong) / chosen.tests, 0.05, ""),
        Figure("false alarms of the sample ratio", (alarms + false) / (chosen.tests + chosen.splits), 0.005, ""),
        Figure("planted 52/48 splits that alarm", noticed / max(chosen.splits, 1), 1.0, "", at_most=False),
    )
    by_share = ", ".join(
        f"{share:.0%}: {sum(verdict.cause == 'better' for other, verdict in ended if other == share)}"
        f" of {sum(other == share for other, _ in ended)}"
        for share in SHARES
    )
    notes = [
        f"{chosen.tests} tests of {chosen.entities} entities, {chosen.looks} looks each, ended at the first that concludes",
        f"an ordinary 95 % bound, looked at as often, would have promoted {fooled / chosen.tests:.1%}",
        f"promoted by share of the challenger: {by_share}",
        f"ended otherwise: {stopped['worse']} as worse, {stopped['guard rail']} by a guard rail",
    ]
    if chosen.power_tests:
        notes.append(
            f"a real gain of {GAIN:.0%}, planned for with a power of {planned:.0%}: {shipped / chosen.power_tests:.0%}"
            f" of {chosen.power_tests} tests ship within the planned time ({entities} entities)"
        )
    return Measurement("Q4", figures, tuple(notes))


def plan_of(share: float, salt: str) -> TrafficPlan:
    """An experiment beside the champion, with a tenth of all entities in control."""
    arms = (Arm(CHAMPION, "r-1", 1.0 - share), Arm(CHALLENGER, "r-2", share))
    return TrafficPlan("bench", 2, 0.1, arms, salt, f"{salt}:control")


def simulate(rng: np.random.Generator, entities: int, plan: TrafficPlan, gain: float = 0.0) -> Log:
    """A log in which the challenger earns by so much more; 0 for an A/A test."""
    places = {CONTROL: -1, CHAMPION: 0, CHALLENGER: 1}
    arm = np.array([places[assign(plan, f"p{number}").arm] for number in range(entities)], dtype=np.int64)
    keenness = rng.gamma(0.5, 2.0, entities)
    bought = rng.poisson(2.0 * keenness)
    known = np.log1p(np.column_stack([bought, bought * rng.lognormal(0.0, 1.0, entities)]))
    times = 1 + rng.geometric(0.3, entities)
    entity = np.repeat(np.arange(entities), times)
    first = rng.uniform(0.0, DAYS, entities)
    day = first[entity] + rng.uniform(0.0, 1.0, entity.size) * (DAYS - first[entity])
    buys = rng.random(entity.size) < 0.04 * keenness[entity]
    reward = np.where(buys, rng.lognormal(1.0, 1.0, entity.size), 0.0) * np.where(arm[entity] == 1, 1.0 + gain, 1.0)
    order = np.argsort(day, kind="stable")
    return Log(arm, known, entity[order], day[order], reward[order], rng.random(entity.size) < 0.01)


def statistics(log: Log, share: float, looks: int) -> Iterator[Compared]:
    """What is known at each look, evenly spread over the two weeks."""
    arrived, seen = np.unique(log.entity, return_index=True)
    order = arrived[np.argsort(seen, kind="stable")]
    order_days = np.sort(log.day[seen])
    outside = log.arm[order] >= 0
    arrivals, arrival_days = log.arm[order][outside], order_days[outside]
    count = log.arm.size
    sums, sizes, squares, degraded = (np.zeros(count) for _ in range(4))
    start = 0
    for look in range(1, looks + 1):
        until = DAYS * look / looks
        end = int(np.searchsorted(log.day, until, side="right"))
        new, reward = log.entity[start:end], log.reward[start:end]
        for total, numbers in ((sums, reward), (sizes, None), (squares, reward**2), (degraded, log.degraded[start:end].astype(np.float64))):
            total += np.bincount(new, numbers, minlength=count)
        start = end
        parts = []
        for arm in (1, 0):
            own = (log.arm == arm) & (sizes > 0.0)
            earned = Entities(sums[own], sizes[own], squares[own], log.known[own])
            parts.append((earned, Entities(degraded[own], sizes[own], degraded[own])))
        (ours, ours_degraded), (theirs, theirs_degraded) = parts
        known = int(np.searchsorted(arrival_days, until, side="right"))
        ratio = sample_ratio_so_far(arrivals[:known], [1.0 - share, share])
        yield Compared(CHALLENGER, ours, theirs, until, ratio, {"degraded": (ours_degraded, theirs_degraded)})


def ending(log: Log, share: float, looks: int, rules: Rules | None = None) -> tuple[Verdict, bool]:
    """The verdict at the first look that concludes, or at the last one; and whether a bound of one look would have promoted by then.

    A wrong split that alarms once is an end, too.
    """
    rules, fooled = rules or Rules(), False
    for compared in statistics(log, share, looks):
        verdict = judge(compared, rules)
        judged = verdict.gain is not None and verdict.cause != "early"
        fooled = fooled or (judged and verdict.gain is not None and verdict.gain.plain.lower(rules.confidence) > 0.0)
        if verdict.step != "keep running" or verdict.cause == "sample ratio":
            break
    return verdict, fooled


def splits(count: int, seed: int) -> tuple[int, int]:
    """Of so many planted splits of 52 to 48 the number that alarm, and of as many even ones."""
    noticed = false = 0
    for number in range(count):
        for share in (0.48, 0.5):
            plan = TrafficPlan("bench", 2, 0.0, plan_of(share, "").arms, f"{seed}:split:{number}:{share}", "control")
            arrivals = np.array([assign(plan, f"p{entity}").arm == CHALLENGER for entity in range(PLANTED)], dtype=np.int64)
            alarm = sample_ratio_so_far(arrivals, [0.5, 0.5]) < ALARM
            noticed += alarm and share != 0.5
            false += alarm and share == 0.5
    return noticed, false


def power(rng: np.random.Generator, tests: int, looks: int, seed: int) -> tuple[int, int, float]:
    """Of tests of a real gain, as large as the planner says after a pilot, those that ship; their entities; the power planned for."""
    rules = Rules(gain=GAIN)
    if not tests:
        return 0, 0, rules.power
    pilot = simulate(rng, 40_000, plan_of(0.5, f"{seed}:pilot"))
    *_, last = statistics(pilot, 0.5, 1)
    traffic = traffic_of(last.theirs, last.theirs, DAYS, 0.5)
    planned = planned_for(traffic, GAIN * traffic.mean, power=rules.power, confidence=rules.confidence)
    # why: the planner reckons with days; here two weeks are given, and people are what is planned
    entities = math.ceil(40_000 * planned.information / traffic.information(DAYS))
    shipped = 0
    for number in range(tests):
        log = simulate(rng, entities, plan_of(0.5, f"{seed}:power:{number}"), GAIN)
        shipped += ending(log, 0.5, looks, rules)[0].cause == "better"
    return shipped, entities, rules.power
