"""Whether entities fell into arms as planned. Where they did not, assignment or logging is broken and no comparison is to be believed."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

ALARM = 0.001
"""The probability below which it is an alarm."""

PRIOR = 1_000.0
"""Weight of the prior on the planned shares: deviations of one or two entities in a hundred are what it looks for."""


def sample_ratio(entities: Mapping[str, int], probabilities: Mapping[str, float]) -> float:
    """Pearson's chi-squared test that entities fell into arms as planned: its p-value, near 0 where they did not. For one look.

    A tiny one means that assignment or logging is broken (Fabijan et al. 2019, "Diagnosing sample ratio mismatch").

    Args:
        entities: how many each arm has, each entity once.
        probabilities: `arm_probability` of each arm; of arms compared, not necessarily all.

    Example:
        >>> sample_ratio({"a": 500, "b": 500}, {"a": 0.5, "b": 0.5})
        1.0
        >>> sample_ratio({"a": 52_000, "b": 48_000}, {"a": 0.5, "b": 0.5}) < 1e-30
        True
    """
    arms = sorted(name for name, probability in probabilities.items() if probability > 0.0)
    seen = sum(entities.get(arm, 0) for arm in arms)
    planned = sum(probabilities[arm] for arm in arms)
    if len(arms) < 2 or seen == 0:
        return 1.0
    expected = {arm: seen * probabilities[arm] / planned for arm in arms}
    statistic = sum((entities.get(arm, 0) - expected[arm]) ** 2 / expected[arm] for arm in arms)
    return _chi_squared_above(statistic, len(arms) - 1)


def sample_ratio_so_far(arrivals: NDArray[np.int64], shares: Sequence[float]) -> float:
    """The same for any number of looks: a bound on the chance, if all is well, that arms are ever as uneven as they have been by now.

    The smallest inverse, so far, of the Bayes factor of a Dirichlet–multinomial against the planned shares (Lindon and Malek 2022,
    "Anytime-valid inference for multinomial count data"). It is taken after each entity, so it does not depend on when people look.

    Args:
        arrivals: (n,) the position in `shares` of each entity's arm, in the order in which entities were first seen.
        shares: of the arms compared; they need not sum to one, and none may be 0.

    Returns:
        A probability that never grows as entities come; 1 without any.

    Example:
        >>> even = np.arange(100_000) % 2
        >>> sample_ratio_so_far(even, [0.5, 0.5])
        1.0
        >>> sample_ratio_so_far((np.arange(100_000) % 100 < 48).astype(np.int64), [0.5, 0.5]) < 1e-12
        True
    """
    if len(shares) < 2 or not arrivals.size:
        return 1.0
    planned = np.asarray(shares, dtype=np.float64) / sum(shares)
    before = np.zeros(arrivals.size)
    for arm in range(len(planned)):
        own = arrivals == arm
        before[own] = np.arange(int(own.sum()))
    expected = (PRIOR * planned[arrivals] + before) / (PRIOR + np.arange(arrivals.size))
    evidence = np.cumsum(np.log(expected) - np.log(planned[arrivals]))
    return math.exp(-max(float(evidence.max()), 0.0))


def _chi_squared_above(statistic: float, freedom: int) -> float:
    # why: the regularised incomplete gamma has closed forms at halves and wholes (Abramowitz and Stegun 6.5.22), so scipy is not needed
    half = statistic / 2.0
    shape = 0.5 if freedom % 2 else 1.0
    above = math.erfc(math.sqrt(half)) if freedom % 2 else math.exp(-half)
    while shape < freedom / 2.0:
        above += math.exp(shape * math.log(half) - half - math.lgamma(shape + 1.0)) if half > 0.0 else 0.0
        shape += 1.0
    return min(1.0, above)
