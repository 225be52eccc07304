"""Off-policy estimators by name: each makes terms and sizes of a log, of which its value is `Σ terms / Σ sizes`.

All intervals, comparisons and slices are made from these two columns, so a new estimator brings nothing but its formula.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from contracts.errors import DataRefused
from decisions.value import Clusters, Estimate, Floats, Numbers, doubly_robust_terms, importance_weights, ratio

EstimatorName: TypeAlias = Literal["ips", "clipped_ips", "snips", "dm", "dr", "switch_dr"]

NAMES: tuple[EstimatorName, ...] = get_args(EstimatorName)
"""Inverse propensity score, the same clipped, self-normalised, direct method, doubly robust, switch doubly robust."""

MODELLED = frozenset({"dm", "dr", "switch_dr"})
"""Estimators that need a reward model."""

_CANDIDATES = 21


@dataclass(frozen=True, eq=False)
class Logged:
    """A log beside the policy to be valued; n decisions.

    Attributes:
        rewards: (n,) of the actions shown.
        propensity: (n,) probability with which they were shown.
        target: (n,) probability with which the policy to be valued would have shown them.
        q_logged: (n,) predicted reward of the action shown, by a model that has not seen the row's entity; None without a model.
        q_target: (n,) predicted reward under the policy, see `under`.
    """

    rewards: Floats
    propensity: Floats
    target: Floats
    q_logged: Floats | None = None
    q_target: Floats | None = None

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def weights(self) -> Floats:
        """(n,) `target / propensity`."""
        return importance_weights(self.propensity, self.target)

    @property
    def model(self) -> tuple[Floats, Floats]:
        """`q_logged` and `q_target`.

        Raises:
            DataRefused: there is no model.
        """
        if self.q_logged is None or self.q_target is None:
            raise DataRefused("decisions for off-policy value", ["this estimator needs a reward model, and there is none"])
        return self.q_logged, self.q_target


@dataclass(frozen=True, eq=False)
class Terms:
    """An estimator on a log.

    Attributes:
        name: of the estimator. `threshold`: beyond which it clips or switches; None where it does neither.
        terms: (n,).
        sizes: (n,), None for ones.
        weights: (n,) what the rewards are weighted with; None where they are not used at all.
    """

    name: EstimatorName
    terms: Floats
    sizes: Floats | None
    weights: Floats | None
    threshold: float | None = None

    @property
    def value(self) -> float:
        """The estimate alone."""
        return float(self.terms.sum()) / (len(self.terms) if self.sizes is None else float(self.sizes.sum()))

    def estimate(self, clusters: Clusters | None, *, confidence: float = 0.95) -> Estimate:
        """With its analytic interval, clustered by entity; see `decisions.value.ratio`."""
        return ratio(self.terms, self.sizes, clusters, confidence=confidence, weights=self.weights, corrected=True)


def under(probabilities: Floats, q: Floats) -> Floats:
    """(n,) `Σ_a probabilities(a|x)·q(x, a)`: predicted reward under a policy.

    Args:
        probabilities: (n, K) of the policy, 0 where a candidate could not be shown.
        q: (n, K) predicted rewards, finite everywhere.

    Example:
        >>> under(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([[2.0, 4.0], [9.0, 1.0]])).tolist()
        [3.0, 1.0]
    """
    return np.asarray(np.einsum("nk,nk->n", probabilities, q))


def terms_of(name: EstimatorName, log: Logged, *, threshold: float | None = None) -> Terms:
    """An estimator on a log.

    | name | value | source |
    |---|---|---|
    | `ips` | mean of `w·r` | Horvitz and Thompson 1952 |
    | `clipped_ips` | mean of `min(w, λ)·r`: too low for rewards ≥ 0, less noisy | Ionides 2008; Strehl et al. 2010 |
    | `snips` | `Σ w·r / Σ w` | Swaminathan and Joachims 2015, equation 10 |
    | `dm` | mean of `q_target`: as biased as the model | Dudík, Langford and Li 2011, section 2 |
    | `dr` | mean of `q_target + w·(r − q_logged)` | the same, equation 2 |
    | `switch_dr` | mean of `q_target + w·1{w ≤ τ}·(r − q_logged)` | Wang, Agarwal and Dudík 2017, section 3, around their DR |

    Args:
        name: which.
        log: the log, with a model for those in `MODELLED`.
        threshold: λ or τ. By default √n for clipping (Ionides 2008), and what `switch_threshold` finds for switching.

    Raises:
        DataRefused: probabilities are none, numbers are not finite, a model is missing, or a threshold is not positive.
    """
    if threshold is not None and not threshold > 0.0:
        raise DataRefused("decisions for off-policy value", [f"a threshold of {threshold} for weights; expected a positive number"])
    match name:
        case "ips":
            weights = log.weights
            return Terms(name, weights * log.rewards, None, weights)
        case "clipped_ips":
            most = float(np.sqrt(len(log))) if threshold is None else threshold
            weights = np.minimum(log.weights, most)
            return Terms(name, weights * log.rewards, None, weights, most)
        case "snips":
            weights = log.weights
            return Terms(name, weights * log.rewards, weights, weights)
        case "dm":
            return Terms(name, log.model[1], None, None)
        case "dr":
            q_logged, q_target = log.model
            return Terms(name, doubly_robust_terms(log.rewards, log.propensity, log.target, q_logged, q_target), None, log.weights)
        case "switch_dr":
            most = switch_threshold(log) if threshold is None else threshold
            q_logged, q_target = log.model
            weights = log.weights
            kept = np.where(weights <= most, weights, 0.0)
            return Terms(name, q_target + kept * (log.rewards - q_logged), None, kept, most)


def switch_threshold(log: Logged, *, candidates: Sequence[float] | None = None, most_error: float | None = None) -> float:
    """The τ with the least estimated mean squared error: variance of the terms over n, plus the squared bound of the bias.

    The bias is at most `R · E[target probability of actions with w > τ]` (Wang, Agarwal and Dudík 2017, section 4.2). That expectation is
    taken from the log itself, as the mean of `w·1{w > τ}`, which is unbiased for it. Ties go to the larger τ.

    Args:
        log: the log, with a model.
        candidates: thresholds to choose from; by default 21 in geometric order from the 5 % quantile of the positive weights to the largest
            one, which is DR itself.
        most_error: R, the most that the model may be wrong by; by default the largest error seen in the log.
    """
    q_logged, q_target = log.model
    weights, errors = log.weights, log.rewards - q_logged
    positive = weights[weights > 0.0]
    if not positive.size:
        return np.inf
    if candidates is None:
        least, largest = float(np.quantile(positive, 0.05)), float(positive.max())
        candidates = [*np.geomspace(least, largest, _CANDIDATES)[:-1].tolist(), largest]
    bound = float(np.abs(errors).max()) if most_error is None else most_error
    n = len(log)
    best, least_error = np.inf, np.inf
    for threshold in sorted(candidates, reverse=True):
        kept = weights <= threshold
        terms = q_target + np.where(kept, weights, 0.0) * errors
        bias = bound * float(weights[~kept].sum()) / n
        error = float(terms.var()) / n + bias * bias
        if error < least_error:
            best, least_error = threshold, error
    return best


def logged(
    rewards: Numbers,
    propensity: Numbers,
    action: Numbers,
    probabilities: Floats,
    q: Floats | None = None,
) -> Logged:
    """A log beside a policy and a model that are given as matrices.

    Args:
        rewards: (n,).
        propensity: (n,).
        action: (n,) column of the action that was shown.
        probabilities: (n, K) of the policy to be valued.
        q: (n, K) predicted rewards, finite, by models that have not seen the row's entity.
    """
    place = np.asarray(action, dtype=np.int64)
    row = np.arange(len(place))
    return Logged(
        rewards=np.asarray(rewards, dtype=np.float64),
        propensity=np.asarray(propensity, dtype=np.float64),
        target=probabilities[row, place],
        q_logged=None if q is None else q[row, place],
        q_target=None if q is None else under(probabilities, q),
    )
