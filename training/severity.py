"""How large a reward is once there is one: the mean by candidate, shrunk to that of all.

Rewards of promotions are mostly zero and, where they are not, of very different size. Which candidate works is seen in who buys at all; the
sizes mostly add noise. So a model is trained on rewards whose size is replaced by its expectation given the candidate.
"""

import numpy as np

from decisions.matrix import Floats
from training.dataset import Ints


def expected_sizes(rewards: Floats, actions: Ints, candidates: int) -> Floats:
    """(candidates,) expected reward of each candidate where there is one.

    The means of the logarithms are shrunk by empirical Bayes with the method of moments (DerSimonian and Laird 1986), but only as far as
    candidates differ beyond what chance gives in 99 of 100 cases: a few otherwise seem different when they are not. The less they
    differ, and the fewer rewards a candidate has, the nearer to the mean of all. Then scaled so that the sizes of what was shown sum to
    what was earned.

    Args:
        rewards: (n,) ≥ 0.
        actions: (n,) positions of what was shown.
        candidates: how many there are.

    Example:
        >>> expected_sizes(np.array([0.0, 4.0, 4.0, 0.0]), np.array([0, 0, 1, 1]), 2).tolist()
        [4.0, 4.0]
    """
    positive = rewards > 0.0
    if not positive.any():
        return np.ones(candidates)
    logs, shown = np.log(rewards[positive]), actions[positive]
    count = np.bincount(shown, minlength=candidates).astype(np.float64)
    mean = np.bincount(shown, logs, minlength=candidates) / np.maximum(count, 1.0)
    freedom = max(1.0, count.sum() - np.count_nonzero(count))
    within = float(((logs - mean[shown]) ** 2).sum()) / freedom
    centre = float(logs.mean())
    between = _between(mean, count, within, centre)
    trust = between / (between + within / np.maximum(count, 1e-9)) if between > 0.0 else np.zeros(candidates)
    size: Floats = np.exp(centre + trust * (mean - centre))
    return np.asarray(size * (rewards[positive].sum() / size[shown].sum()))


def smoothed(rewards: Floats, actions: Ints, sizes: Floats) -> Floats:
    """(n,) rewards with their sizes replaced by the expected ones.

    Example:
        >>> smoothed(np.array([0.0, 9.0]), np.array([0, 0]), np.array([5.0])).tolist()
        [0.0, 5.0]
    """
    return np.where(rewards > 0.0, sizes[actions], 0.0)


def _between(mean: Floats, count: Floats, within: float, centre: float) -> float:
    known = count > 0.0
    if known.sum() < 2:
        return 0.0
    n = count[known]
    spread = float((n * (mean[known] - centre) ** 2).sum())
    total = float(n.sum())
    return max(0.0, (spread - _by_chance(len(n) - 1) * within) / (total - float((n**2).sum()) / total))


def _by_chance(freedom: int) -> float:
    """0.99 quantile of χ² (Wilson and Hilferty 1931)."""
    part = 2.0 / (9.0 * freedom)
    return freedom * float((1.0 - part + 2.3263 * part**0.5) ** 3)
