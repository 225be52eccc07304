"""Off-policy value: what a policy would have earned a decision, from decisions that another one made.

All take one entry a decision, of randomised arms. Their intervals cluster by entity, since an entity's decisions are not independent, and
those of values (not of differences) are corrected for skewness, since a few purchases make the error of a mean far from symmetric, and have
no more degrees of freedom than the few entities that make the error give them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from contracts.errors import DataRefused

Floats: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[Any] | Sequence[float]
Clusters: TypeAlias = NDArray[Any] | Sequence[int] | Sequence[str]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: in the unit of the rewards, a decision (or an entity, where said).
        low: lower end of the two-sided interval; `high` the upper.
        standard_error: of the value.
        effective_n: decisions that would say as much without weights, (Σw)² / Σw² (Kish 1965).
        n: decisions it was made from.
        clusters: entities they belong to.
        skewness: of the value's own error, never beyond 1 in size; 0 where no correction is made.
        freedom: degrees of freedom of the standard error; None for those of the clusters, one less than they are.
    """

    value: float
    low: float
    high: float
    standard_error: float
    effective_n: float
    n: int
    clusters: int
    skewness: float = 0.0
    freedom: float | None = None

    def lower(self, confidence: float) -> float:
        """One-sided lower bound: the truth is above it with this confidence."""
        return self._bound(confidence)

    def confidence_above(self, threshold: float) -> float:
        """One-sided confidence that the truth is above a threshold: that of the lower bound which is the threshold, by the normal."""
        if self.clusters < 2 or math.isnan(self.standard_error):
            return 0.5
        if self.standard_error == 0.0:
            return 0.5 if self.value == threshold else float(self.value > threshold)
        return NormalDist().cdf(_symmetric((self.value - threshold) / self.standard_error, self.skewness))

    def _bound(self, confidence: float) -> float:
        if self.clusters < 2:
            return -math.inf if confidence >= 0.5 else math.inf
        freedom = self.clusters - 1 if self.freedom is None else self.freedom
        return self.value - _skewed(t_quantile(confidence, freedom), self.skewness) * self.standard_error


def ips(rewards: Numbers, propensity: Numbers, target: Numbers, clusters: Clusters, *, confidence: float = 0.95) -> Estimate:
    """Inverse propensity score: mean of `w·r` with `w = target / propensity` (Horvitz and Thompson 1952). Unbiased.

    Args:
        rewards: (n,) of the actions shown.
        propensity: (n,) `p_in_arm` with which they were shown.
        target: (n,) probability with which the policy to be valued would have shown them.
        clusters: (n,) the entities, as names or, faster, as small integers.
        confidence: of the two-sided interval.

    Raises:
        DataRefused: lengths differ, there is no row, a number is not finite, or a probability is none.
    """
    weights = importance_weights(propensity, target)
    return mean(weights * _column("rewards", rewards), clusters, confidence=confidence, weights=weights, corrected=True)


def snips(rewards: Numbers, propensity: Numbers, target: Numbers, clusters: Clusters, *, confidence: float = 0.95) -> Estimate:
    """Self-normalised IPS: `Σ w·r / Σ w` (Swaminathan and Joachims 2015, equation 10); its error by linearisation of the ratio.

    Arguments and errors as for `ips`.
    """
    weights = importance_weights(propensity, target)
    return ratio(weights * _column("rewards", rewards), weights, clusters, confidence=confidence, weights=weights, corrected=True)


def direct(q_target: Numbers, clusters: Clusters, *, confidence: float = 0.95) -> Estimate:
    """Direct method: mean of `Σ_a target(a|x)·q(x, a)` (Dudík, Langford and Li 2011, section 2). As biased as the reward model `q`.

    Args:
        q_target: (n,) that inner sum for each decision, with `q` fitted on other rows.
        clusters: (n,) the entities.
        confidence: of the two-sided interval, which knows nothing of the model's own error.

    Raises:
        DataRefused: see `ips`.
    """
    return mean(_column("q_target", q_target), clusters, confidence=confidence, corrected=True)


def doubly_robust(
    rewards: Numbers,
    propensity: Numbers,
    target: Numbers,
    q_logged: Numbers,
    q_target: Numbers,
    clusters: Clusters,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Doubly robust: mean of `Σ_a target(a|x)·q(x, a) + w·(r − q(x, a_logged))` (Dudík, Langford and Li 2011, equation 2).

    Unbiased when the propensities are right, whatever `q` is, if `q` was fitted on other entities' rows; the better `q`, the narrower.

    Args:
        rewards: (n,) of the actions shown.
        propensity: (n,) `p_in_arm` with which they were shown.
        target: (n,) probability with which the policy to be valued would have shown them.
        q_logged: (n,) predicted reward of the action shown.
        q_target: (n,) predicted reward under the policy to be valued, `Σ_a target(a|x)·q(x, a)`.
        clusters: (n,) the entities.
        confidence: of the two-sided interval.

    Raises:
        DataRefused: see `ips`.
    """
    terms = doubly_robust_terms(rewards, propensity, target, q_logged, q_target)
    return mean(terms, clusters, confidence=confidence, weights=importance_weights(propensity, target), corrected=True)


def doubly_robust_terms(rewards: Numbers, propensity: Numbers, target: Numbers, q_logged: Numbers, q_target: Numbers) -> Floats:
    """The (n,) terms whose mean `doubly_robust` is: the difference of two policies' terms, put in `mean`, is their paired comparison."""
    weights = importance_weights(propensity, target)
    return _column("q_target", q_target) + weights * (_column("rewards", rewards) - _column("q_logged", q_logged))


def importance_weights(propensity: Numbers, target: Numbers) -> Floats:
    """(n,) `target / propensity`.

    Raises:
        DataRefused: a propensity lies outside (0, 1], or a target probability outside [0, 1].
    """
    logged = _column("propensity", propensity)
    wanted = _column("target", target)
    if logged.size and (logged.min() <= 0.0 or logged.max() > 1.0 + 1e-9):
        raise DataRefused("decisions for off-policy value", [f"propensities lie in [{logged.min()}, {logged.max()}], expected in (0, 1]"])
    if wanted.size and (wanted.min() < 0.0 or wanted.max() > 1.0 + 1e-9):
        raise DataRefused(
            "decisions for off-policy value", [f"target probabilities lie in [{wanted.min()}, {wanted.max()}], expected in [0, 1]"]
        )
    if logged.size != wanted.size:
        raise DataRefused("decisions for off-policy value", [f"{logged.size} propensities, {wanted.size} target probabilities"])
    return wanted / logged


def mean(
    terms: Numbers, clusters: Clusters, *, confidence: float = 0.95, weights: Floats | None = None, corrected: bool = False
) -> Estimate:
    """Mean of (n,) terms, with the cluster-robust variance `G/(G−1) · Σ_g (Σ_{i∈g} (x_i − x̄))² / n²` (Liang and Zeger 1986).

    The interval is that of `estimate`, G the number of clusters; of one cluster it is unbounded. For `corrected` see `from_influence`.
    """
    return ratio(terms, None, clusters, confidence=confidence, weights=weights, corrected=corrected)


def ratio(
    terms: Numbers,
    sizes: Floats | None,
    clusters: Clusters | None,
    *,
    confidence: float = 0.95,
    weights: Floats | None = None,
    corrected: bool = False,
) -> Estimate:
    """`Σ x / Σ s`, with the cluster-robust variance of its linearisation `Σ_{i∈g} (x_i − ratio·s_i)`.

    Sizes are ones when none are given, and each row is a cluster of its own when no clusters are.
    """
    values = _column("terms", terms)
    codes = None if clusters is None else _codes(clusters)
    count = values.size if codes is None else codes.size
    if not values.size or values.size != count or (sizes is not None and sizes.size != values.size):
        raise DataRefused("decisions for off-policy value", [f"{values.size} rows, {count} entities; expected as many, and at least one"])
    total = float(values.size) if sizes is None else float(sizes.sum())
    if total <= 0.0:
        raise DataRefused("decisions for off-policy value", ["the policy would have shown none of the actions that were shown"])
    centre = float(values.sum()) / total
    influence = values - centre if sizes is None else values - centre * sizes
    groups = values.size
    if codes is not None:
        influence = sums_by(codes, influence)
        groups = int(np.count_nonzero(np.bincount(codes)))
    influence /= total
    effective = _effective(weights, values.size)
    return from_influence(
        centre, influence, n=values.size, clusters=groups, effective_n=effective, confidence=confidence, corrected=corrected
    )


def cluster_sums(terms: Floats, sizes: Floats | None, clusters: Clusters | None) -> tuple[Floats, Floats]:
    """Sums of terms and of sizes (ones, if none are given) of each entity that has a row, in no order that matters.

    Example:
        >>> sums, sizes = cluster_sums(np.array([1.0, 2.0, 4.0]), None, ["a", "b", "a"])
        >>> sums.tolist(), sizes.tolist()
        ([5.0, 2.0], [2.0, 1.0])
    """
    ones = np.ones(len(terms)) if sizes is None else sizes
    if clusters is None:
        return terms, ones
    codes = _codes(clusters)
    there = np.bincount(codes) > 0
    return sums_by(codes, terms)[there], sums_by(codes, ones)[there]


def sums_by(codes: NDArray[np.int64], numbers: Floats) -> Floats:
    """Sum of the numbers of each code 0, 1, …, in the order of the codes."""
    return np.asarray(np.bincount(codes, numbers), dtype=np.float64)


def from_influence(
    value: float, influence: Floats, *, n: int, clusters: int, effective_n: float, confidence: float = 0.95, corrected: bool = False
) -> Estimate:
    """An estimate that is, but for a constant, a sum of independent parts, one a cluster.

    Args:
        value: the estimate.
        influence: what each cluster adds to its error, summing to zero; further zeros do not matter.
        n: decisions it was made from.
        clusters: how many there are.
        effective_n: see `Estimate`.
        confidence: of the two-sided interval.
        corrected: for skewness, and for how few clusters make the error. Right for what rewards of one sign add up to. Wrong for
            differences: their true skewness is small, and that of a few purchases on either side is noise which leans the way the value
            errs: nothing would be taken for a gain.
    """
    largest = float(np.abs(influence).max(initial=0.0))
    parts = influence / largest if largest > 0.0 else influence
    squared = parts * parts
    squares = float(squared.sum())
    error = largest * math.sqrt(squares * clusters / (clusters - 1)) if clusters > 1 else math.inf
    skewness = float(squared @ parts) / squares**1.5 if corrected and squares > 0.0 else 0.0
    freedom = _freedom(squared, squares, clusters) if corrected and squares > 0.0 else None
    return estimate(
        value, error, n=n, clusters=clusters, effective_n=effective_n, confidence=confidence, skewness=skewness, freedom=freedom
    )


def difference(first: Estimate, second: Estimate, *, confidence: float = 0.95) -> Estimate:
    """`first − second` of disjoint entities: their variances add. For the same entities put the difference of their terms in `mean`."""
    return estimate(
        first.value - second.value,
        math.hypot(first.standard_error, second.standard_error),
        n=first.n + second.n,
        clusters=first.clusters + second.clusters - 1 if min(first.clusters, second.clusters) > 1 else 1,
        effective_n=min(first.effective_n, second.effective_n),
        confidence=confidence,
    )


def estimate(
    value: float,
    error: float,
    *,
    n: int,
    clusters: int,
    effective_n: float,
    confidence: float,
    skewness: float = 0.0,
    freedom: float | None = None,
) -> Estimate:
    """An estimate with its two-sided interval: Student's with `freedom` or else `clusters − 1` degrees, corrected for its error's skewness.

    The correction is Hall's monotone cubic transformation (1992, "On the removal of skewness by transformation", J. R. Statist. Soc. B):
    it removes the first term by which the studentised error departs from a symmetric one. Without skewness it changes nothing.
    """
    made = Estimate(value, -math.inf, math.inf, error, effective_n, n, clusters, skewness, freedom)
    tail = 0.5 + confidence / 2.0
    return replace(made, low=made._bound(tail), high=made._bound(1.0 - tail))


def t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t: exact for 1 and 2 degrees of freedom, else by Cornish–Fisher (Abramowitz and Stegun 1964, 26.7.5).

    Between 1 and 3 degrees it is interpolated.

    Example:
        >>> round(t_quantile(0.975, 30), 3), round(t_quantile(0.975, 10**9), 3)
        (2.042, 1.96)
    """
    if freedom < 3 and freedom != int(freedom):
        whole = int(freedom)
        low, high = t_quantile(probability, whole), t_quantile(probability, whole + 1)
        return low + (freedom - whole) * (high - low)
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2.0 * probability - 1.0) * math.sqrt(2.0 / (4.0 * probability * (1.0 - probability)))
    z = NormalDist().inv_cdf(probability)
    square = z * z
    return z * (
        1.0
        + (square + 1.0) / (4.0 * freedom)
        + (5.0 * square**2 + 16.0 * square + 3.0) / (96.0 * freedom**2)
        + (3.0 * square**3 + 19.0 * square**2 + 17.0 * square - 15.0) / (384.0 * freedom**3)
        + (79.0 * square**4 + 776.0 * square**3 + 1482.0 * square**2 - 1920.0 * square - 945.0) / (92160.0 * freedom**4)
    )


def _freedom(squared: Floats, squares: float, clusters: int) -> float:
    """Degrees of freedom with which the variance is known: Satterthwaite (1946), its own variance from the parts' kurtosis.

    A few purchases tell the variance no better than so many purchases can, however many clusters bring nothing.
    """
    if clusters < 4:
        return float(clusters - 1)
    excess = float(squared @ squared) / squares**2 - 1.0 / clusters
    return min(clusters - 1.0, max(2.0, 2.0 / excess)) if excess > 0.0 else clusters - 1.0


def _symmetric(error: float, skewness: float) -> float:
    return error + skewness * error**2 / 3.0 + skewness**2 * error**3 / 27.0 + skewness / 6.0


def _skewed(symmetric: float, skewness: float) -> float:
    # why: the exact inverse cancels digits where there is next to no skewness
    if abs(skewness) < 1e-6:
        return symmetric
    return 3.0 / skewness * (math.cbrt(1.0 + skewness * (symmetric - skewness / 6.0)) - 1.0)


def _column(name: str, numbers: Numbers) -> Floats:
    column = np.asarray(numbers, dtype=np.float64)
    if column.ndim != 1 or not np.isfinite(column).all():
        raise DataRefused("decisions for off-policy value", [f"`{name}` has numbers that are not finite, or is no single column"])
    return column


def _codes(clusters: Clusters) -> NDArray[np.int64]:
    names = np.asarray(clusters)
    if names.dtype.kind in "iu" and names.size and names.min() >= 0 and names.max() < 8 * names.size + 1_000:
        return names.astype(np.int64, copy=False)
    return np.unique(names, return_inverse=True)[1].astype(np.int64, copy=False)


def _effective(weights: Floats | None, count: int) -> float:
    if weights is None:
        return float(count)
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0
