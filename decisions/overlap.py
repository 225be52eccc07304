"""Whether a log can value a policy at all: how much of what the policy would do was really done, and on how few rows the value rests."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decisions.value import Clusters, Estimate, Floats, cluster_sums, ratio


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond which a value is refused.

    Attributes:
        least_effective: effective decisions, (Σw)² / Σw².
        most_of_one: share of all weight that one entity may have.
        most_unseen: share of the policy's probability that may lie on actions which the log never shows.
        sure: two-sided confidence of the interval of the mean weight, which must hold what support says it is.
        rare: probability below which an action counts as hardly shown.
        rounding: by how much the mean weight may be off besides, as where propensities were written with few digits.
    """

    least_effective: float = 100.0
    most_of_one: float = 0.1
    most_unseen: float = 0.01
    sure: float = 0.999
    rare: float = 0.01
    rounding: float = 0.002


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a log knows of a policy.

    Attributes:
        n: decisions. `clusters`: entities.
        effective_n: decisions that would say as much without weights (Kish 1965).
        largest_weight: of a decision. `largest_share`: of all weight, what one entity has.
        mean_weight: near `1 − unseen` when the propensities are right; with its interval at the limits' `sure`.
        unseen: share of the policy's probability on actions that the log could never show.
        hardly: the same for those that it shows with a probability below the limits' `rare`.
        refusals: why the value is not to be believed, in words and numbers; empty if it is.
    """

    n: int
    clusters: int
    effective_n: float
    largest_weight: float
    largest_share: float
    mean_weight: Estimate
    unseen: float
    hardly: float
    refusals: tuple[str, ...]

    @property
    def enough(self) -> bool:
        """Whether the log can value the policy."""
        return not self.refusals


def overlap(
    weights: Floats,
    clusters: Clusters | None,
    *,
    probabilities: Floats | None = None,
    p_in_arm: Floats | None = None,
    shown: NDArray[np.bool_] | None = None,
    limits: Limits | None = None,
) -> Overlap:
    """What a log knows of a policy.

    Args:
        weights: (n,) `target / propensity` of the actions that were shown.
        clusters: (n,) the entities; None where each row is one of its own.
        probabilities: (n, K) of the policy. Without them, what is unseen and hardly seen is taken to be nothing.
        p_in_arm: (n, K) of the log; 0 where an action could not be shown. Where the log does not tell, `shown` stands for it.
        shown: (K,) whether the log shows an action at all.
        limits: by default those of `Limits`.
    """
    bound = limits or Limits()
    unseen, hardly = _support(probabilities, p_in_arm, shown, bound)
    mean_weight = ratio(weights, None, clusters, confidence=bound.sure, corrected=True)
    by_cluster = cluster_sums(weights, None, clusters)[0]
    total, squares = float(weights.sum()), float(weights @ weights)
    found = Overlap(
        n=len(weights),
        clusters=mean_weight.clusters,
        effective_n=total * total / squares if squares > 0.0 else 0.0,
        largest_weight=float(weights.max(initial=0.0)),
        largest_share=float(by_cluster.max(initial=0.0)) / total if total > 0.0 else 1.0,
        mean_weight=mean_weight,
        unseen=unseen,
        hardly=hardly,
        refusals=(),
    )
    return replace(found, refusals=_refusals(found, bound))


def _support(probabilities: Floats | None, p_in_arm: Floats | None, shown: NDArray[np.bool_] | None, limits: Limits) -> tuple[float, float]:
    if probabilities is None:
        return 0.0, 0.0
    if p_in_arm is not None:
        never, rarely = p_in_arm <= 0.0, (p_in_arm > 0.0) & (p_in_arm < limits.rare)
        return _share(probabilities, never), _share(probabilities, rarely)
    if shown is not None:
        return float(probabilities[:, ~shown].sum(axis=1).mean()), 0.0
    return 0.0, 0.0


def _share(probabilities: Floats, of: NDArray[np.bool_]) -> float:
    return float(np.where(of, probabilities, 0.0).sum(axis=1).mean())


def _refusals(found: Overlap, limits: Limits) -> tuple[str, ...]:
    expected = 1.0 - found.unseen
    weight = found.mean_weight
    off = not weight.low - limits.rounding <= expected <= weight.high + limits.rounding
    reasons = [
        (
            found.unseen > limits.most_unseen,
            f"{found.unseen:.1%} of what the policy would show, the log could never show; at most {limits.most_unseen:.1%} may be",
        ),
        (
            found.effective_n < limits.least_effective,
            f"{found.n} decisions say as much of this policy as {found.effective_n:.0f} unweighted ones; {limits.least_effective:.0f} are"
            " needed",
        ),
        (
            found.largest_share > limits.most_of_one,
            f"one entity has {found.largest_share:.1%} of all weight (the largest weight of a decision is {found.largest_weight:.4g});"
            f" at most {limits.most_of_one:.0%} may be",
        ),
        (
            off,
            f"the mean weight is {weight.value:.4f} [{weight.low:.4f}, {weight.high:.4f}] where {expected:.4f} is expected: the"
            " propensities are not those that the log was made with",
        ),
    ]
    return tuple(text for wrong, text in reasons if wrong)
