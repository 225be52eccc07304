"""What a policy's own choices do to what it may show next: a walk through the log in which it, and not the log, keeps the cool-downs."""

import numpy as np
import polars as pl

from decisions.eligibility import Eligibility
from decisions.matrix import Floats
from decisions.policies import Policy, probability_matrix
from training.dataset import Bools, Ints, TrainingSet

NEVER_US = -(2**62)


def rules_allow(training_set: TrainingSet) -> Bools:
    """(n, K) what rules and dates allowed at each decision, whatever had been shown before."""
    use_case = training_set.use_case
    eligibility = Eligibility(use_case.catalogue, use_case.feature_set, use_case.baseline)
    return eligibility.by_rules(training_set.features, training_set.rows["decided_at"].to_numpy()) | training_set.eligible


def cooled_shares(
    training_set: TrainingSet, policy: Policy, scores: Floats, q: Floats, allowed: Bools, q_target: Floats, *, seed: int
) -> Floats:
    """(m,) what is left of a policy's value, in each of the m randomised rows, once its own choices cool down; 1 where nothing cools down.

    One factor for all rows of a release: what the log had cooled down depends on which policy made it.

    Args:
        training_set: the data.
        policy: that is foreseen. `scores`: (n, K) that it goes by.
        scores: see there.
        q: (n, K) estimated rewards. `allowed`: (n, K) see `rules_allow`.
        allowed: see there.
        q_target: (m,) estimated rewards under the policy, where the log had cooled down what it had.
        seed: of its draws.
    """
    use = training_set.randomised
    if not any(training_set.use_case.catalogue.cooldowns_us):
        return np.ones(len(q_target))
    own = walk(training_set, policy, scores, q, allowed, use, seed=seed)[use]
    release = training_set.rows.filter(pl.Series(use))["release_id"].rank("dense").to_numpy().astype(np.int64) - 1
    usual, left = np.bincount(release, q_target), np.bincount(release, own)
    return np.asarray(np.divide(left, usual, out=np.ones(len(usual)), where=usual > 0.0)[release])


def walk(training_set: TrainingSet, policy: Policy, scores: Floats, q: Floats, allowed: Bools, rows: Bools, *, seed: int) -> Floats:
    """(n,) estimated reward of each decision had the policy made all those before it; NaN for the others.

    A log of other choices shows what a policy could do with candidates fresh, and forgets that what it likes best it has just shown. So the
    decisions of each entity are gone through in order, the policy's own draws cool down, and only what is left is chosen from.

    Args:
        training_set: the data.
        policy: that is foreseen.
        scores: (n, K) that it goes by, finite wherever allowed. `q`: (n, K) estimated rewards, likewise.
        q: see there.
        allowed: (n, K) see `rules_allow`.
        rows: (n,) decisions to walk through.
        seed: of its draws.
    """
    cooldown_us = np.array(training_set.use_case.catalogue.cooldowns_us, dtype=np.int64)
    decided_at, entity = training_set.rows["decided_at"].to_numpy(), training_set.entity
    value = np.full(len(training_set), np.nan)
    shown_us = np.full((int(entity.max()) + 1, len(cooldown_us)), NEVER_US, dtype=np.int64)
    always = cooldown_us == 0
    generator = np.random.default_rng(seed)
    for now in _turns(entity, rows):
        who, at_us = entity[now], decided_at[now]
        rested = always | (at_us[:, None] - shown_us[who] >= cooldown_us)
        possible = allowed[now] & rested
        probabilities = probability_matrix(policy, np.where(possible, scores[now], -np.inf), possible)
        value[now] = (probabilities * np.where(possible, q[now], 0.0)).sum(axis=1)
        drawn = (probabilities.cumsum(axis=1) > generator.random((len(now), 1)) * (1.0 - 1e-12)).argmax(axis=1)
        shown_us[who, drawn] = at_us
    return value


def _turns(entity: Ints, rows: Bools) -> list[Ints]:
    """Positions of the first decision of every entity, of the second, and so on; rows are in order of time."""
    picked = np.flatnonzero(rows)
    order = picked[np.argsort(entity[picked], kind="stable")]
    starts = np.r_[True, entity[order][1:] != entity[order][:-1]]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    turn = np.arange(len(order)) - first
    return [np.sort(order[turn == number]) for number in range(int(turn.max(initial=-1)) + 1)]
