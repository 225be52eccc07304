"""Planning an experiment: how much must come in to see a gain of a given size, and how long that takes."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from decisions.gain import Entities, foretold, information_of
from decisions.sequential import width
from decisions.value import Floats

LOOKS = 20
"""Looks that a plan reckons with: more of them change its power by less than one in a hundred."""

POINTS = 161
"""Points of the numerical integration."""

MOST = 1e12
"""Information beyond which nothing is planned."""

MOST_DAYS = 36_500.0
"""Days beyond which nothing is planned."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """How information comes in, of everybody outside control.

    Where the same entities come back, what differs between them for good is not averaged out by more of their decisions (Kish 1965,
    "Survey sampling", section 5.4): `information(days) = a_day · days / (1 + correlation · (repeats(days) − 1))`.

    Attributes:
        mean: reward a unit (a decision, or a player), in the unit that people read.
        deviation: standard deviation of a unit's reward.
        a_day: units.
        correlation: of two rewards of one entity, in [0, 1].
        repeats: units of an entity on the first day, as the units' entities have them; `growth` is h in `repeats(days) = repeats · days^h`:
            0 where every day brings others, 1 where it always is the same ones.
        reduction: share of the variance that features known beforehand take away.
    """

    mean: float
    deviation: float
    a_day: float
    correlation: float = 0.0
    repeats: float = 1.0
    growth: float = 0.0
    reduction: float = 0.0

    def information(self, days: float) -> float:
        """Independent units by the end of a day, as many as adjusted ones are worth."""
        repeated = max(self.repeats * days**self.growth, 1.0)
        return float(self.a_day * days / (1.0 + self.correlation * (repeated - 1.0)) / (1.0 - self.reduction))

    def days(self, information: float) -> float:
        """Days until so much has come; endless where it never does."""
        low, high = 0.0, MOST_DAYS
        if self.information(high) < information:
            return math.inf
        while high - low > 1e-9 * high:
            middle = (low + high) / 2.0
            low, high = (middle, high) if self.information(middle) < information else (low, middle)
        return high


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan.

    Attributes:
        gain: to be seen, in the unit that people read, a unit.
        information: independent units that are needed of everybody outside control.
        days: until then, at most: `expected_days` if the gain is real, since it may end at any look.
        power: the chance to ship within the days if the gain is real.
        fixed: information that a single look at the end, at a date fixed beforehand, would need.
    """

    gain: float
    information: float
    days: float
    expected_days: float
    power: float
    fixed: float


def traffic_of(entities: Entities, early: Entities, days: float, share: float = 1.0) -> Traffic:
    """How information comes in, from a log; a unit is a decision.

    Args:
        entities: rewards of the log's entities, with covariates where there are any: what they foretell is reckoned with.
        early: the same of the first half of its days, which tells how much the same entities come back; the same log again to reckon with
            others every day.
        days: of the log.
        share: of the entities outside control that the log is of.
    """
    decisions, repeated = float(entities.sizes.sum()), _repeats(entities)
    design = decisions / max(information_of(entities), 1.0)
    correlation = min(max((design - 1.0) / (repeated - 1.0), 0.0), 1.0) if repeated > 1.0 else 0.0
    growth = min(max(math.log2(repeated / _repeats(early)), 0.0), 1.0)
    deviation = math.sqrt(entities.independent_variance * decisions)
    first = repeated / days**growth
    return Traffic(entities.mean, deviation, decisions / share / days, correlation, first, growth, foretold(entities))


def plan(traffic: Traffic, gain: float, *, share: float = 0.5, power: float = 0.8, confidence: float = 0.95) -> Planned:
    """What it takes to see a gain.

    The gain's error is `σ · √((1 + gain/mean)²/share + 1/(1 − share)) / √information`, since a gain is taken to multiply rewards, and with
    them their deviation; the rest is `information_needed`.

    Args:
        traffic: what comes in.
        gain: absolute, above 0, a unit.
        share: of the entities outside control that the challenger gets.
        power: with which it is to be shipped.
        confidence: one-sided, of a gain above 0.

    Example:
        >>> small = plan(Traffic(mean=1.0, deviation=3.0, a_day=2_000), 0.1)
        >>> 40_000 < small.information < 50_000, small.expected_days < small.days
        (True, True)
    """
    effect = gain / _spread(traffic, gain, share)
    needed = information_needed(effect, power=power, confidence=confidence)
    chance, expected = shipped_by(effect, needed, confidence)
    normal = NormalDist()
    fixed = ((normal.inv_cdf(confidence) + normal.inv_cdf(power)) / effect) ** 2
    return Planned(gain, needed, traffic.days(needed), traffic.days(expected), chance, fixed)


def visible_gain(traffic: Traffic, days: float, *, share: float = 0.5, power: float = 0.8, confidence: float = 0.95) -> float:
    """The smallest gain, a unit, that is shipped within some days with a given power."""
    information = traffic.information(days)
    low, high = 1e-9, 1e3
    for _ in range(40):
        middle = math.sqrt(low * high)
        if shipped_by(middle / math.sqrt(information), information, confidence)[0] < power:
            low = middle
        else:
            high = middle
    effect = high / math.sqrt(information)
    gain = effect * _spread(traffic, 0.0, share)
    for _ in range(100):
        gain = effect * _spread(traffic, gain, share)
    return gain


def information_needed(effect: float, *, power: float = 0.8, confidence: float = 0.95) -> float:
    """Information by which an experiment that is looked at all the time ships a real gain with a given power.

    Args:
        effect: the gain over the standard deviation of its error at an information of 1.
        power: in (0, 1).
        confidence: one-sided.

    Returns:
        Information; `MOST` where more would be needed.
    """
    fixed = ((NormalDist().inv_cdf(confidence) + NormalDist().inv_cdf(power)) / effect) ** 2 if effect > 0.0 else MOST
    low, high = fixed, fixed * 8.0
    while high < MOST and shipped_by(effect, high, confidence)[0] < power:
        low, high = high, high * 4.0
    if high >= MOST:
        return MOST
    while high / low > 1.002:
        middle = math.sqrt(low * high)
        if shipped_by(effect, middle, confidence)[0] < power:
            low = middle
        else:
            high = middle
    return high


def shipped_by(effect: float, information: float, confidence: float, looks: int = LOOKS) -> tuple[float, float]:
    """The chance to ship by some information, and the information at which the experiment is expected to end, at the latest then.

    Between looks an estimate, times its information, moves like Brownian motion with a drift (Jennison and Turnbull 2000, "Group sequential
    methods", chapter 19); its density within the bounds is carried from look to look by numerical integration (Armitage, McPherson and
    Rowe 1969).

    Args:
        effect: see `information_needed`.
        information: at the last look; looks are evenly spaced on it.
        confidence: one-sided, of the bounds.
        looks: how many.

    Example:
        >>> chance, expected = shipped_by(0.0, 100_000, 0.95)
        >>> chance < 0.05, expected > 90_000
        (True, True)
    """
    step = information / looks
    deviation, drift = math.sqrt(step), effect * step
    shipped, expected = 0.0, 0.0
    points, density = np.zeros(1), np.ones(1)
    for look in range(1, looks + 1):
        known = step * look
        bound = math.sqrt(known) * width(known, confidence)
        upper = float(density @ _above((bound - points - drift) / deviation))
        lower = float(density @ _above((bound + points + drift) / deviation))
        shipped += upper
        expected += known * (upper + lower)
        following = np.linspace(-bound, bound, POINTS)
        gaps = (following[:, None] - points[None, :] - drift) / deviation
        density = np.exp(-0.5 * gaps**2) @ density * ((following[1] - following[0]) / (deviation * math.sqrt(2.0 * math.pi)))
        density[[0, -1]] *= 0.5
        points = following
    return shipped, expected + information * float(density.sum())


def _spread(traffic: Traffic, gain: float, share: float) -> float:
    """The standard deviation of the gain's error at an information of 1."""
    grown = 1.0 + gain / traffic.mean if traffic.mean > 0.0 else 1.0
    return traffic.deviation * math.sqrt(grown**2 / share + 1.0 / (1.0 - share))


def _repeats(entities: Entities) -> float:
    """Decisions of a decision's entity, on average."""
    return float((entities.sizes**2).sum() / entities.sizes.sum())


def _above(bounds: Floats) -> Floats:
    return np.array([0.5 * math.erfc(bound / math.sqrt(2.0)) for bound in bounds])
