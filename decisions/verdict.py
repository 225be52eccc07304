"""The verdict on an arm that is compared with the champion: ship it, stop it, or keep running; in words and numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from decisions.gain import Entities, Gain, gain
from decisions.guard_rails import DEFAULTS, GuardRail, Watched, engagement, refunds, watch
from decisions.planning import information_needed
from decisions.sample_ratio import ALARM
from decisions.sequential import shared

Step: TypeAlias = Literal["ship", "stop", "keep running"]

Cause: TypeAlias = Literal["better", "worse", "guard rail", "spent", "open", "early", "sample ratio"]

LEAST_DAYS = 2
"""Money is judged after so many whole days: people differ by the hour. Guard rails stop an arm at any time."""

LEAST_REWARDED = 50
"""Entities with a reward that each arm must have. Of a few purchases nobody can tell how far their mean may err: an arm in which nobody has
bought for a lot yet looks poor and sure of it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What an experiment is judged by.

    Attributes:
        confidence: one-sided, of being better or worse than the champion, over all arms that are compared at once.
        gain: the relative gain that is planned for: what one would be sorry to miss.
        power: the chance with which it is to be seen within what is planned.
        guard_rails: what must not become worse.
    """

    confidence: float = 0.95
    gain: float = 0.05
    power: float = 0.8
    guard_rails: Sequence[GuardRail] = DEFAULTS


@dataclass(frozen=True, eq=False)
class Compared:
    """An arm beside the champion, as of one look: the statistics that a verdict is made of.

    Attributes:
        ours: rewards of the arm's entities, in the unit that people read; `theirs` of the champion's.
        metrics: for each guard rail's metric that a decision has, the same two.
        days: matured days since it began.
        sample_ratio: probability that entities fall into arms as unevenly as they did.
    """

    arm: str
    ours: Entities
    theirs: Entities
    days: float
    sample_ratio: float
    metrics: "dict[str, tuple[Entities, Entities]]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with an arm, and why.

    Attributes:
        cause: what it rests on. `spent`: all that was planned has come, and the arm is still not told apart from the champion. `early`:
            there is too little to judge by. `sample ratio`: the arms were not filled as planned.
        reason: in words and numbers.
        gain: over the champion a decision; None before both arms have decisions.
        watched: the guard rails.
    """

    arm: str
    step: Step
    cause: Cause
    reason: str
    gain: Gain | None
    watched: tuple[Watched, ...] = ()


def judge(compared: Compared, rules: Rules, *, arms: int = 1, planned: float | None = None, unit: str = "") -> Verdict:
    """The verdict on an arm. It may be asked for at any time and as often as one likes: its bounds hold at all looks at once.

    Args:
        compared: the statistics.
        rules: what it is judged by.
        arms: how many are compared with the champion at once, which share the chance of a wrong verdict (Bonferroni).
        planned: information at which the experiment ends, decided or not; None to go on for ever. See `planned_information`.
        unit: of the rewards, for the words.
    """
    ours, theirs = compared.ours, compared.theirs
    days = f"{max(compared.days, 0.0):.1f} matured days of {LEAST_DAYS}"
    if not (len(ours) and len(theirs)):
        return Verdict(compared.arm, "keep running", "early", days, None)
    found = gain(ours, theirs)
    watched = _watch(compared, rules, arms)
    best, error = found.best, found.error(shared(rules.confidence, arms))

    def say(step: Step, cause: Cause, reason: str) -> Verdict:
        return Verdict(compared.arm, step, cause, reason, found, watched)

    said = _words(found, error, unit)
    percent = f"with {rules.confidence:.0%} confidence, whenever one looks"
    if compared.sample_ratio < ALARM:
        counted = f"{len(theirs)} in the champion's arm, {len(ours)} in this one"
        reason = f"entities did not fall into the arms as planned (p = {compared.sample_ratio:.1e}; {counted}): nothing is concluded"
        return say("keep running", "sample ratio", reason)
    for seen in watched:
        if seen.state == "breached":
            return say("stop", "guard rail", f"guard rail: {rail_words(seen)}")
    if compared.days < LEAST_DAYS:
        return say("keep running", "early", days)
    rewarded = min(ours.rewarded, theirs.rewarded)
    if rewarded < LEAST_REWARDED:
        return say("keep running", "early", f"{said}: {rewarded} entities with a reward in an arm; {LEAST_REWARDED} are needed to judge")
    if best.value - error > 0.0:
        return say("ship", "better", f"{said}: better {percent}")
    if best.value + error < 0.0:
        return say("stop", "worse", f"{said}: worse {percent}")
    if planned is not None and found.information >= planned:
        reason = f"{said}: all that was planned has come, and it is not told apart from the champion, which stays"
        return say("stop", "spent", reason)
    return say("keep running", "open", f"{said}: not decided yet")


def planned_information(compared: Compared, rules: Rules, *, arms: int = 1) -> float | None:
    """The information by which the gain that is planned for would be shipped with the planned power; None before that can be said.

    It follows from the champion's mean reward and from how much an estimate of the gain has erred so far (see `decisions.planning`).
    """
    if not (len(compared.ours) and len(compared.theirs)):
        return None
    found = gain(compared.ours, compared.theirs)
    error, wanted = found.best.standard_error, rules.gain * compared.theirs.mean
    if wanted <= 0.0 or not 0.0 < error < math.inf or found.information <= 0.0:
        return None
    effect = wanted / (error * math.sqrt(found.information))
    return information_needed(effect, power=rules.power, confidence=shared(rules.confidence, arms))


def rail_words(seen: Watched) -> str:
    """A guard rail's figures in words."""
    name = {
        "degraded": "share of degraded answers",
        "none": "share of decisions that show nothing",
        "decisions": "decisions an entity",
        "refunds": "paid back of what was earned",
    }
    said = name.get(seen.rail.metric, f"{seen.rail.metric} a decision")
    figures = f"{seen.ours:.4g} beside {seen.theirs:.4g}"
    return f"{said} {figures}, worse by {seen.worse_by:.4g} [{seen.low:.4g}, {seen.high:.4g}], tolerated {seen.tolerated:.4g}"


def _words(found: Gain, error: float, unit: str) -> str:
    best = found.best
    adjusted = f", adjusted for what was known before (variance −{found.reduction:.0%})" if found.adjusted is not None else ""
    return f"{best.value:+.4f} [{best.value - error:+.4f}, {best.value + error:+.4f}] {unit} a decision, from {best.n}{adjusted}"


def _watch(compared: Compared, rules: Rules, arms: int) -> tuple[Watched, ...]:
    watched = []
    confidence = shared(rules.confidence, arms * max(len(rules.guard_rails), 1))
    for rail in rules.guard_rails:
        ours: Entities | None
        theirs: Entities | None
        if rail.metric == "decisions":
            ours, theirs = engagement(compared.ours), engagement(compared.theirs)
        elif rail.metric not in compared.metrics:
            continue
        else:
            ours, theirs = compared.metrics[rail.metric]
            if rail.metric == "refunds":
                ours, theirs = refunds(compared.ours, ours), refunds(compared.theirs, theirs)
        if ours is not None and theirs is not None:
            watched.append(watch(rail, ours, theirs, confidence))
    return tuple(watched)
