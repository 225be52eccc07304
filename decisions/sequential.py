"""Bounds that hold at every look at once: an experiment may be looked at whenever one likes, and ended at any look, without being fooled.

They are asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and
asymptotic confidence sequences"), on the scale of information: how many independent decisions would say as much. On that scale an estimate
gathers independent increments, also where the same entities come back day after day (Jennison and Turnbull 1997, "Group-sequential
analysis incorporating covariate information").
"""

import math
from dataclasses import dataclass

TIGHTEST_AT = 25_000.0
"""Information, in independent decisions, at which bounds are tightest. They hold whatever it is, and it matters little: from a third to ten
times as much they are at most a tenth wider, counted in standard errors."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between them the truth lies, at all looks at once."""

    low: float
    high: float


def width(information: float, confidence: float) -> float:
    """How many standard errors the truth may be from an estimate on one side, at all times at once.

    `√((V + r) / V · 2 · ln(1 + √((V + r) / r) / (2α)))`, the one-sided sequence of Waudby-Smith et al. 2024, appendix B, with V the
    information, α one minus the confidence and r = 1/ρ² chosen after their appendix on ρ, so that it is tightest near `TIGHTEST_AT`.

    Args:
        information: of the estimate, in independent decisions; growing from look to look.
        confidence: one-sided, above ½.

    Example:
        >>> round(width(25_000, 0.95), 2), round(width(250_000, 0.95), 2)
        (2.78, 2.99)
    """
    if information <= 0.0:
        return math.inf
    alpha = 1.0 - confidence
    start = origin(confidence)
    grown = (information + start) / start
    return math.sqrt((information + start) / information * 2.0 * math.log1p(math.sqrt(grown) / (2.0 * alpha)))


def origin(confidence: float) -> float:
    """The `r` of `width`: information that is added to what has come, as if an experiment had begun before its first decision."""
    # why: towards a confidence of one half, of which nobody should conclude anything, the formula has no answer
    spread = max(-2.0 * math.log(2.0 * (1.0 - confidence)), 1.0)
    return TIGHTEST_AT / (spread + math.log1p(spread))


def bounds(value: float, standard_error: float, information: float, confidence: float) -> Bounds:
    """Two-sided bounds around an estimate, by each side's `width`; without end before there is anything to go by.

    Example:
        >>> bounds(1.0, 0.1, 25_000, 0.9)
        Bounds(low=0.722..., high=1.277...)
    """
    error = standard_error * width(information, 0.5 + confidence / 2.0) if math.isfinite(standard_error) else math.inf
    return Bounds(value - error, value + error)


def shared(confidence: float, tests: int) -> float:
    """The confidence that each of several tests needs for all of them together to have this one (Bonferroni).

    Example:
        >>> shared(0.95, 2)
        0.975
    """
    return 1.0 - (1.0 - confidence) / max(tests, 1)
