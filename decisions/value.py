"""Off-policy value: what a policy would have earned a decision, from decisions that another one made.

All take one entry a decision, of randomised arms. Their intervals cluster by entity: an entity's decisions are not independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
    """

    value: float
    low: float
    high: float
    standard_error: float
    effective_n: float
    n: int
    clusters: int

    def lower(self, confidence: float) -> float:
        """One-sided lower bound: the truth is above it with this confidence."""
        return self.value - t_quantile(confidence, self.clusters - 1) * self.standard_error if self.clusters > 1 else -math.inf

    def confidence_above(self, threshold: float) -> float:
        """One-sided confidence, by the normal distribution, that the truth is above a threshold."""
        if self.clusters < 2 or math.isnan(self.standard_error):
            return 0.5
        if self.standard_error == 0.0:
            return 0.5 if self.value == threshold else float(self.value > threshold)
        return NormalDist().cdf((self.value - threshold) / self.standard_error)


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
    return mean(weights * _column("rewards", rewards), clusters, confidence=confidence, weights=weights)


def snips(rewards: Numbers, propensity: Numbers, target: Numbers, clusters: Clusters, *, confidence: float = 0.95) -> Estimate:
    """Self-normalised IPS: `Σ w·r / Σ w` (Swaminathan and Joachims 2015, equation 10); its error by linearisation of the ratio.

    Arguments and errors as for `ips`.
    """
    weights = importance_weights(propensity, target)
    return ratio(weights * _column("rewards", rewards), weights, clusters, confidence=confidence, weights=weights)


def direct(q_target: Numbers, clusters: Clusters, *, confidence: float = 0.95) -> Estimate:
    """Direct method: mean of `Σ_a target(a|x)·q(x, a)` (Dudík, Langford and Li 2011, section 2). As biased as the reward model `q`.

    Args:
        q_target: (n,) that inner sum for each decision, with `q` fitted on other rows.
        clusters: (n,) the entities.
        confidence: of the two-sided interval, which knows nothing of the model's own error.

    Raises:
        DataRefused: see `ips`.
    """
    return mean(_column("q_target", q_target), clusters, confidence=confidence)


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
    return mean(terms, clusters, confidence=confidence, weights=importance_weights(propensity, target))


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


def mean(terms: Numbers, clusters: Clusters, *, confidence: float = 0.95, weights: Floats | None = None) -> Estimate:
    """Mean of (n,) terms, with the cluster-robust variance `G/(G−1) · Σ_g (Σ_{i∈g} (x_i − x̄))² / n²` (Liang and Zeger 1986).

    The interval is Student's with G − 1 degrees of freedom, G the number of clusters; of one cluster it is unbounded.
    """
    return ratio(terms, None, clusters, confidence=confidence, weights=weights)


def ratio(terms: Numbers, sizes: Floats | None, clusters: Clusters, *, confidence: float, weights: Floats | None = None) -> Estimate:
    """`Σ x / Σ s`, with the cluster-robust variance of its linearisation `Σ_{i∈g} (x_i − ratio·s_i)`; sizes of one when none are given."""
    values = _column("terms", terms)
    codes = _codes(clusters)
    if not values.size or values.size != codes.size or (sizes is not None and sizes.size != values.size):
        raise DataRefused(
            "decisions for off-policy value", [f"{values.size} rows, {codes.size} entities; expected as many, and at least one"]
        )
    total = float(values.size) if sizes is None else float(sizes.sum())
    if total <= 0.0:
        raise DataRefused("decisions for off-policy value", ["the policy would have shown none of the actions that were shown"])
    centre = float(values.sum()) / total
    counts = np.bincount(codes)
    residuals = np.bincount(codes, values - centre if sizes is None else values - centre * sizes)
    groups = int(np.count_nonzero(counts))
    error = math.sqrt(float(residuals @ residuals) * groups / (groups - 1)) / total if groups > 1 else math.inf
    return estimate(centre, error, n=values.size, clusters=groups, effective_n=_effective(weights, values.size), confidence=confidence)


def difference(first: Estimate, second: Estimate, *, confidence: float = 0.95) -> Estimate:
    """`first − second` of disjoint entities: their variances add. For the same entities put the difference of their terms in `mean`."""
    error = math.hypot(first.standard_error, second.standard_error)
    clusters = first.clusters + second.clusters - 1 if min(first.clusters, second.clusters) > 1 else 1
    return estimate(
        first.value - second.value,
        error,
        n=first.n + second.n,
        clusters=clusters,
        effective_n=min(first.effective_n, second.effective_n),
        confidence=confidence,
    )


def estimate(value: float, error: float, *, n: int, clusters: int, effective_n: float, confidence: float) -> Estimate:
    """An estimate whose two-sided interval is Student's with `clusters − 1` degrees of freedom."""
    reach = t_quantile(0.5 + confidence / 2.0, clusters - 1) * error if clusters > 1 else math.inf
    return Estimate(value, value - reach, value + reach, error, effective_n, n, clusters)


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t: exact for 1 and 2 degrees of freedom, else by Cornish–Fisher (Abramowitz and Stegun 1964, 26.7.5).

    Example:
        >>> round(t_quantile(0.975, 30), 3), round(t_quantile(0.975, 10**9), 3)
        (2.042, 1.96)
    """
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
