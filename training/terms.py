"""A policy on the rows of a training set: what each row says of its value, how well, and how two policies compare."""

from dataclasses import dataclass

import numpy as np

from decisions.matrix import Floats
from decisions.value import Estimate, direct, doubly_robust_terms, estimate, from_influence, ips, ratio, snips
from training.dataset import Bools, Ints, TrainingSet

PERIODS = 8
"""Periods of time, of equally many decisions, within which a policy and what it is compared with must both have decisions."""


@dataclass(frozen=True, eq=False)
class Terms:
    """A policy on the randomised rows.

    Attributes:
        target: (n,) probability of the action that was shown. `q_target`: (n,) estimated reward under the policy.
        terms: (n,) doubly robust terms. `variance`: (n,) Σ_a target² / p, which says how noisy a row is.
    """

    target: Floats
    q_target: Floats
    terms: Floats
    variance: Floats


@dataclass(frozen=True, slots=True)
class Value:
    """A policy's value a decision by each estimator, in the unit that people read."""

    dr: Estimate
    snips: Estimate
    ips: Estimate
    direct: Estimate


def terms_of(training_set: TrainingSet, q: Floats, probabilities: Floats, use: Bools) -> Terms:
    """A policy on some rows.

    Args:
        training_set: the data.
        q: (n, K) estimated rewards by models that have not seen the row's entity.
        probabilities: (n, K) what the policy gives each candidate.
        use: (n,) randomised rows.
    """
    action, chosen = training_set.action[use], probabilities[use]
    known = np.where(training_set.eligible[use], q[use], 0.0)
    row = np.arange(len(action))
    target = np.where(action >= 0, chosen[row, action], 0.0)
    q_target = (chosen * known).sum(axis=1)
    propensity = training_set.propensity[use]
    terms = doubly_robust_terms(training_set.reward[use], propensity, target, known[row, action], q_target)
    return Terms(target, q_target, terms, _variance(training_set, chosen, use))


def _variance(training_set: TrainingSet, weights: Floats, use: Bools) -> Floats:
    shares = training_set.p_in_arm[use]
    return np.asarray(np.divide(weights**2, shares, out=np.zeros_like(shares), where=shares > 0.0).sum(axis=1))


def value_of(training_set: TrainingSet, terms: Terms, use: Bools) -> Value:
    """A policy's value by each estimator, from the rows that its terms are of."""
    rewards, propensity, entity = training_set.reward[use], training_set.propensity[use], training_set.entity[use]
    precision = _precision(training_set, terms.variance, use)
    return Value(
        dr=ratio(precision * terms.terms, precision, entity, weights=precision * terms.target / propensity, corrected=True),
        snips=snips(rewards, propensity, terms.target, entity),
        ips=ips(rewards, propensity, terms.target, entity),
        direct=direct(terms.q_target, entity),
    )


def _precision(training_set: TrainingSet, variance: Floats, use: Bools) -> Floats:
    """Weight of each row: the inverse of how noisy rows of its release and arm are, which their probabilities tell without any reward."""
    stratum = training_set.rows.filter(use).select("release_id", "arm").to_struct().rank("dense").to_numpy().astype(np.int64) - 1
    noise = np.bincount(stratum, variance) / np.bincount(stratum)
    weights: Floats = 1.0 / np.maximum(noise, max(1e-3, 0.01 * float(noise.max(initial=0.0))))
    return np.asarray(weights[stratum])


def periods_of(training_set: TrainingSet) -> Ints:
    """(n,) which of `PERIODS` each row lies in; all in one for data without time."""
    if training_set.use_case.split != "time":
        return np.zeros(len(training_set), dtype=np.int64)
    decided_at = training_set.rows["decided_at"].to_numpy()
    edges = np.quantile(decided_at, np.linspace(0.0, 1.0, PERIODS + 1)[1:-1])
    return np.searchsorted(edges, decided_at, side="right").astype(np.int64)


def gain_over(training_set: TrainingSet, terms: Terms, reference: Bools, period: Ints, rows: Bools | None = None) -> Estimate:
    """Value of a policy minus mean reward of reference rows, each period weighing alike in both; periods without both do not count.

    Args:
        training_set: the data.
        terms: of the policy, on its randomised rows.
        reference: (n,) rows whose mean reward it is compared with.
        period: (n,) see `periods_of`.
        rows: (n,) which rows count at all; by default all of them.
    """
    use = training_set.randomised
    n = len(training_set)
    precision, values = np.zeros(n), np.zeros(n)
    precision[use], values[use] = _precision(training_set, terms.variance, use), terms.terms
    if rows is not None:
        precision, reference = precision * rows, reference & rows
    mass = np.bincount(period, precision, minlength=PERIODS)
    there = np.bincount(period[reference], minlength=PERIODS)
    precision *= there[period] > 0
    share = np.divide(mass, there, out=np.zeros(PERIODS), where=there > 0)
    against = np.where(reference, share[period], 0.0)
    return contrast(values, precision, training_set.reward, against, training_set.entity)


def contrast(first: Floats, first_weights: Floats, second: Floats, second_weights: Floats, clusters: Ints) -> Estimate:
    """`Σ v·x / Σ v − Σ w·y / Σ w` over the same rows, with the cluster-robust variance of its linearisation.

    Rows and entities may stand in both means, in one, or (weight 0) in none.

    Example:
        >>> one = np.ones(4)
        >>> contrast(np.array([1.0, 3.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0]), np.zeros(4), one, np.arange(4)).value
        2.0
    """
    totals = float(first_weights.sum()), float(second_weights.sum())
    if min(totals) <= 0.0:
        return estimate(0.0, np.inf, n=0, clusters=1, effective_n=0.0, confidence=0.95)
    means = float(first_weights @ first) / totals[0], float(second_weights @ second) / totals[1]
    residuals = first_weights * (first - means[0]) / totals[0] - second_weights * (second - means[1]) / totals[1]
    used = (first_weights > 0.0) | (second_weights > 0.0)
    by_entity: Floats = np.bincount(clusters, weights=residuals).astype(np.float64)
    groups = len(np.unique(clusters[used]))
    effective = totals[0] ** 2 / float(first_weights @ first_weights)
    return from_influence(means[0] - means[1], by_entity, n=int(used.sum()), clusters=groups, effective_n=effective)


def paired(training_set: TrainingSet, first: Terms, second: Terms, difference: Floats, use: Bools, rows: Bools | None = None) -> Estimate:
    """Value of a policy minus that of another on the same rows.

    Args:
        training_set: the data.
        first: the one. `second`: the other, both on the rows of `use`.
        second: see there.
        difference: (n, K) of their probabilities.
        use: (n,) randomised rows.
        rows: (n,) which of them count; by default all.
    """
    precision = _precision(training_set, _variance(training_set, difference[use], use), use)
    gain, entity = first.terms - second.terms, training_set.entity[use]
    if rows is not None:
        precision, gain, entity = precision[rows[use]], gain[rows[use]], entity[rows[use]]
    return ratio(precision * gain, precision, entity)
