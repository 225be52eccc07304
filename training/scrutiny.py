"""Features that cannot have been known at the decision: they betray themselves by what they know of it."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from decisions.matrix import Floats
from training.dataset import Bools, TrainingSet

MOST_ROWS = 60_000
FALSE_ALARM = 1e-6
"""Probability, over all features and candidates together, of an alarm where nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A feature that knows what it cannot.

    Attributes:
        z: how many standard errors it differs between those who were shown a candidate and those who might have been.
        candidate: that candidate. `auc`: how well it tells, alone, the decisions that were rewarded.
    """

    feature: str
    candidate: str
    z: float
    auc: float


def leaks(training_set: TrainingSet) -> tuple[Leak, ...]:
    """Features that depend on what was drawn, or tell the reward nearly by themselves.

    A candidate is drawn with known probabilities and nothing else, so whatever was known before has, among those who got it, the mean that
    the probabilities foretell. A feature that does not was made afterwards: `Σ (1{a} − p)·f` has mean 0 and variance `Σ p(1 − p)·f²`, which
    bounds it by the normal (a randomisation test; Fisher 1935, The Design of Experiments). Ranks stand for the values, since those may have
    any size.

    Args:
        training_set: randomised rows of it are looked at, `MOST_ROWS` of them.
    """
    rows = _sample(training_set.randomised & (training_set.action >= 0))
    if len(rows) < 100:
        return ()
    use_case = training_set.use_case
    ranks = np.column_stack([_ranks(column) for column in training_set.features[rows].T])
    shares = training_set.p_in_arm[rows]
    drawn = np.zeros_like(shares)
    drawn[np.arange(len(rows)), training_set.action[rows]] = 1.0
    noise = np.sqrt((ranks**2).T @ (shares * (1.0 - shares)))
    z = np.divide(ranks.T @ (drawn - shares), noise, out=np.zeros_like(noise), where=noise > 0.0)
    rewarded = training_set.reward[rows] > 0.0
    limit = _quantile(FALSE_ALARM / z.size)
    found = []
    for place, name in enumerate(use_case.feature_set.names):
        at = int(np.abs(z[place]).argmax())
        auc = _auc(ranks[:, place], rewarded)
        if abs(z[place, at]) > limit or max(auc, 1.0 - auc) > use_case.gate.too_good:
            found.append(Leak(name, use_case.catalogue.candidates[at].candidate_id, float(z[place, at]), auc))
    return tuple(found)


def _sample(rows: Bools) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    picked = np.flatnonzero(rows)
    return picked[:: max(1, -(-len(picked) // MOST_ROWS))]


def _ranks(column: Floats) -> Floats:
    """Ranks from −1 to 1, equal values alike; absent ones last."""
    _, place, count = np.unique(column, return_inverse=True, return_counts=True)
    middle = count.cumsum() - count / 2.0
    return np.asarray(2.0 * middle[place] / len(column) - 1.0)


def _auc(ranks: Floats, rewarded: Bools) -> float:
    """Probability that a rewarded decision ranks above another (Mann and Whitney 1947), ties by half."""
    many = int(rewarded.sum())
    if not 10 <= many <= len(ranks) - 10:
        return 0.5
    places = (ranks + 1.0) / 2.0 * len(ranks) + 0.5
    return float((places[rewarded].sum() - many * (many + 1) / 2.0) / (many * (len(ranks) - many)))


def _quantile(tail: float) -> float:
    return -NormalDist().inv_cdf(tail / 2.0)
