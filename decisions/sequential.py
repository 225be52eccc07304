"""Bounds that hold at every look at once: an experiment may be looked at whenever one likes, and ended at any look, without being fooled.

They are asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and
asymptotic confidence sequences"), on the scale of information: how many independent decisions would say as much. On that scale an estimate
gathers independent increments, also where the same entities come back day after day (Jennison and Turnbull 1997, "Group-sequential
analysis incorporating covariate information").
"""

import math
from collections.abc import Callable
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


def share_bounds(count: int, total: int, confidence: float) -> Bounds:
    """Between them a share lies of which `count` of `total` were seen, at all looks at once.

    The share p is left out once the evidence against it, the likelihood under a mixture over that under p, has reached
    1 / (1 − confidence): by Ville's inequality that happens to the true share with a chance of at most 1 − confidence, however often one
    looks (Robbins 1970, "Statistical methods related to the law of the iterated logarithm"; with a Beta mixture it is the
    prior-posterior ratio of Waudby-Smith and Ramdas 2020, "Confidence sequences for sampling without replacement", section 2). The
    mixture is `MIXTURE`, so the bounds are tightest for shares of some hundredths.

    Example:
        >>> found = share_bounds(5, 100, 0.99)
        >>> round(found.low, 3), round(found.high, 3)
        (0.007, 0.161)
    """
    if not total:
        return Bounds(0.0, 1.0)
    found, tolerable = count / total, -math.log(1.0 - confidence)
    low = _crossing(0.0, found, lambda share: _against(share, count, total) >= tolerable) if count else 0.0
    high = _crossing(1.0, found, lambda share: _against(share, count, total) >= tolerable) if count < total else 1.0
    return Bounds(low, high)


MIXTURE = 0.5, 10.0
"""The Beta distribution over which `share_bounds` mixes."""


def _against(share: float, count: int, total: int) -> float:
    """Logarithm of the evidence against a share within (0, 1)."""
    a, b = MIXTURE
    mixed = _log_beta(a + count, b + total - count) - _log_beta(a, b)
    return mixed - count * math.log(share) - (total - count) * math.log1p(-share)


def _crossing(outside: float, inside: float, refuted: Callable[[float], bool]) -> float:
    """Where shares begin to be refuted, between one that is and one that is not; rather too far out, so that no bound is too tight."""
    for _ in range(50):
        between = (outside + inside) / 2.0
        # why: where nothing short of an end of [0, 1] is refuted, there is no number between it and the end at last
        if between in (outside, inside):
            break
        if refuted(between):
            outside = between
        else:
            inside = between
    return outside


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
