"""What a policy would have earned on a log: every estimator with its interval, what the log knows of the policy, and for whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from contracts.errors import InvalidInput
from decisions.estimators import MODELLED, NAMES, EstimatorName, Logged, Terms, terms_of, under
from decisions.interval import Interval, Method, interval
from decisions.matrix import Floats
from decisions.overlap import Limits, Overlap, overlap
from decisions.slices import Slice, by_slice, categories, quantile_bins
from decisions.value import Clusters, Estimate, ratio
from training.cross_fit import cross_fit
from training.log_policy import Target, target_of
from training.plain_log import FEATURE, PlainLog

WEIGHTS = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0)
"""Where classes of weights begin; the first is 0 alone."""

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Decisions of which the model predicts about the same.

    Attributes:
        n: decisions. `predicted`: mean predicted reward of what was shown. `seen`: mean reward, with its interval.
    """

    n: int
    predicted: float
    seen: Estimate


@dataclass(frozen=True, slots=True)
class LogValue:
    """What a log says of a policy.

    Attributes:
        policy: in words. `log`: name of the file.
        n: decisions. `entities`: None where each row stands for itself. `actions`: how many.
        logged: what the log itself earned a decision.
        estimator: which one is to be believed. `values`: of each estimator; empty where the value is refused.
        gain: over the log itself, on the same rows, by that estimator; None where refused.
        overlap: what the log knows of the policy; its refusals are the reasons why there are no values.
        weights: classes of the weights' size, with the share of decisions in each.
        reliability: of the model, by what it predicts; empty without one.
        slices: of the column that was asked for.
    """

    policy: str
    log: str
    n: int
    entities: int | None
    actions: int
    logged: Estimate
    estimator: EstimatorName
    values: dict[EstimatorName, Interval]
    gain: Estimate | None
    overlap: Overlap
    weights: tuple[tuple[str, float], ...]
    reliability: tuple[Bin, ...]
    slices: tuple[Slice, ...]

    @property
    def refused(self) -> bool:
        """Whether the log cannot value the policy."""
        return not self.overlap.enough


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a log shall value a policy.

    Attributes:
        policy: in the words of `training.log_policy`.
        estimator: to be believed; by default doubly robust, with a model, else self-normalised.
        confidence: of the intervals. `method`: of them; by default what `decisions.interval` picks.
        by: a column of the log, for slices.
        model: whether to fit one. `seed`: of its folds, and of the bootstrap. `threads`: models fitted side by side.
        limits: of overlap; by default those of `decisions.overlap`.
    """

    policy: str
    estimator: EstimatorName | None = None
    confidence: float = 0.95
    method: Method | None = None
    by: str | None = None
    model: bool = True
    seed: int = 1
    threads: int = 2
    limits: Limits | None = None


def value_log(log: PlainLog, wanted: Wanted) -> LogValue:
    """Value a policy on a log.

    Raises:
        DataRefused: see `training.log_policy`.
        InvalidInput: the estimator needs a model and there is to be none, or there is no such column.
    """
    if wanted.estimator in MODELLED and not wanted.model:
        raise InvalidInput("estimator", f"`{wanted.estimator}` needs a model", f"one of {', '.join(n for n in NAMES if n not in MODELLED)}")
    labels = None if wanted.by is None else labels_of(log, wanted.by)
    q = None
    if wanted.model:
        data = log.training_set()
        q = cross_fit(data, data.eligible, seed=wanted.seed, threads=wanted.threads).q
    target = target_of(wanted.policy, log, q)
    shown = np.bincount(log.action, minlength=len(log.actions)) > 0
    logged = logged_of(log.rewards, log.propensity, log.action, target, q)
    found = overlap(
        logged.weights, log.entity, probabilities=target.probabilities, p_in_arm=log.p_in_arm, shown=shown, limits=wanted.limits
    )
    entities = None if log.entity is None else int(log.entity.max()) + 1
    return assemble(log.name, logged, log.entity, found, wanted, labels, entities=entities, actions=len(log.actions))


def logged_of(rewards: Floats, propensity: Floats, action: Sequence[int] | np.ndarray, target: Target, q: Floats | None) -> Logged:
    """A log beside a policy and a cross-fitted model, whose −inf mean what could not be shown."""
    if q is None:
        return Logged(rewards, propensity, target.shown)
    known = np.where(np.isfinite(q), q, 0.0)
    q_logged = known[np.arange(len(rewards)), np.asarray(action)]
    return Logged(
        rewards, propensity, target.shown, q_logged, q_logged if target.probabilities is None else under(target.probabilities, known)
    )


def assemble(
    name: str,
    logged: Logged,
    clusters: Clusters | None,
    found: Overlap,
    wanted: Wanted,
    labels: Sequence[str] | None,
    *,
    entities: int | None,
    actions: int,
) -> LogValue:
    """Everything that is told of a policy, from a log beside it; nothing of its value where overlap does not suffice."""
    chosen: EstimatorName = wanted.estimator or ("snips" if logged.q_logged is None else "dr")
    all_terms = (
        {} if not found.enough else {each: terms_of(each, logged) for each in NAMES if logged.q_logged is not None or each not in MODELLED}
    )
    return LogValue(
        policy=wanted.policy,
        log=name,
        n=len(logged),
        entities=entities,
        actions=actions,
        logged=ratio(logged.rewards, None, clusters, confidence=wanted.confidence, corrected=True),
        estimator=chosen,
        values={
            each: interval(terms, clusters, confidence=wanted.confidence, method=wanted.method, seed=wanted.seed)
            for each, terms in all_terms.items()
        },
        gain=_gain(all_terms[chosen], logged.rewards, clusters, wanted.confidence) if found.enough else None,
        overlap=found,
        weights=_classes(logged.weights),
        reliability=() if logged.q_logged is None else _reliability(logged.q_logged, logged.rewards, clusters, wanted.confidence),
        slices=() if labels is None or not found.enough else by_slice(all_terms[chosen], clusters, labels, confidence=wanted.confidence),
    )


def labels_of(log: PlainLog, column: str) -> list[str]:
    """Names of the slices of a column: of categories each, of more than ten different numbers their fifths.

    Raises:
        InvalidInput: the log has no such column.
    """
    features = list(log.categories)
    name = column if column in features or f"{FEATURE}{column}" not in features else f"{FEATURE}{column}"
    if name in features:
        numbers, names = log.features[:, features.index(name)], log.categories[name]
        if names:
            return categories([None if np.isnan(code) else names[int(code)] if code >= 0 else "other" for code in numbers])
        if len(np.unique(numbers[np.isfinite(numbers)])) > BINS:
            return quantile_bins(numbers)
        return categories([None if np.isnan(number) else f"{number:g}" for number in numbers])
    if column in ("action", "entity_id") and log.rows[column].null_count() == 0:
        return categories(log.rows[column].to_list())
    raise InvalidInput("by", f"is {column!r}, which is no column of the log", f"one of {', '.join([*features, 'action'])}")


def _gain(terms: Terms, rewards: Floats, clusters: Clusters | None, confidence: float) -> Estimate:
    """Value minus what the log earned, both of the same rows: the difference of their linearisations."""
    sizes = np.ones(len(rewards)) if terms.sizes is None else terms.sizes
    value, earned = terms.value, float(rewards.mean())
    n = len(rewards)
    influence = (terms.terms - value * sizes) * (n / float(sizes.sum())) - (rewards - earned)
    return ratio(influence + (value - earned), None, clusters, confidence=confidence, weights=terms.weights)


def _classes(weights: Floats) -> tuple[tuple[str, float], ...]:
    edges = [*WEIGHTS, np.inf]
    named = [("0", float((weights == 0.0).mean()))]
    for low, high in pairwise(edges):
        within = (weights > low) & (weights <= high)
        named.append((f"to {high:g}" if np.isfinite(high) else f"above {low:g}", float(within.mean())))
    return tuple(named)


def _reliability(predicted: Floats, rewards: Floats, clusters: Clusters | None, confidence: float) -> tuple[Bin, ...]:
    place = np.unique(pl.Series(predicted).rank("ordinal").to_numpy() * BINS // (len(predicted) + 1), return_inverse=True)[1]
    found = []
    for number in range(int(place.max()) + 1):
        within = place == number
        own = None if clusters is None else np.unique(np.asarray(clusters)[within], return_inverse=True)[1]
        seen = ratio(rewards[within], None, own, confidence=confidence, corrected=True)
        found.append(Bin(int(within.sum()), float(predicted[within].mean()), seen))
    return tuple(found)
