"""What a release in the shadow would have earned at decisions that the champion answered."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decisions.value import Estimate, Floats, doubly_robust_terms, importance_weights, mean, snips

PRIOR = 20.0
"""Decisions of the mean reward that each action's mean begins with."""

LEAST = 100
"""Decisions below which nothing is said."""


@dataclass(frozen=True, slots=True)
class ShadowValue:
    """The value of a release in the shadow, a decision, in the unit of the rewards.

    Attributes:
        decisions: matured ones of the champion that it scored.
        dr: doubly robust, with mean rewards of actions as the model; `snips`: self-normalised, None where it would have
            shown nothing of what was shown.
        gain: over the champion, on the same decisions.
        covered: the share of its choices that the champion could have made too. What it would have shown beside those nobody has seen:
            below 1 the value leaves that out.
        largest_weight: how much more probable it made an action than the champion did, at most.
    """

    decisions: int
    dr: Estimate
    snips: Estimate | None
    gain: Estimate
    covered: float
    largest_weight: float


def shadow_value(rewards: pl.DataFrame, scores: pl.DataFrame) -> ShadowValue | None:
    """Value a release in the shadow by what the champion's decisions earned; None with too few of them.

    Its model for the doubly robust terms is the mean reward of each action among the other half of the entities (cross-fitting as in
    Chernozhukov et al. 2018, "Double/debiased machine learning"). The intervals are those of a single look.

    Args:
        rewards: matured decisions of the champion's arm, with `decision_id, entity_id, action, propensity, candidate_ids, p_in_arm` and
            `reward`.
        scores: of the one release, with `decision_id, candidate_ids, p_in_arm`.

    Raises:
        DataRefused: a probability is none.
    """
    ours = scores.select("decision_id", wanted="candidate_ids", wanted_p="p_in_arm").unique("decision_id", keep="first")
    rows = rewards.join(ours, on="decision_id").sort("decision_id")
    if rows.height < LEAST:
        return None
    names = sorted({*rows["candidate_ids"].explode().unique().to_list(), *rows["wanted"].explode().unique().to_list()})
    logged = _matrix(rows["candidate_ids"], rows["p_in_arm"], names)
    target = _matrix(rows["wanted"], rows["wanted_p"], names)
    action = rows["action"].replace_strict({name: place for place, name in enumerate(names)}, return_dtype=pl.Int64).to_numpy()
    reward = rows["reward"].to_numpy().astype(np.float64)
    entity = rows["entity_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    propensity = rows["propensity"].to_numpy()
    shown = target[np.arange(rows.height), action]
    half = np.random.default_rng(0).integers(0, 2, int(entity.max()) + 1)[entity]
    q = np.stack([_means(action[half != part], reward[half != part], len(names)) for part in (0, 1)])[half]
    expected = q[np.arange(rows.height), action]
    terms = doubly_robust_terms(reward, propensity, shown, expected, (target * q).sum(axis=1))
    champion = doubly_robust_terms(reward, propensity, propensity, expected, (logged * q).sum(axis=1))
    weights = importance_weights(propensity, shown)
    return ShadowValue(
        decisions=rows.height,
        dr=mean(terms, entity, weights=weights, corrected=True),
        snips=snips(reward, propensity, shown, entity) if shown.any() else None,
        gain=mean(terms - champion, entity, weights=weights),
        covered=float((target * (logged > 0.0)).sum() / target.sum()),
        largest_weight=float(weights.max()),
    )


def _matrix(candidates: pl.Series, probabilities: pl.Series, names: list[str]) -> Floats:
    """(n, K) probabilities over all candidates, 0 where one is not listed."""
    places = {name: place for place, name in enumerate(names)}
    matrix = np.zeros((candidates.len(), len(names)))
    row = np.repeat(np.arange(candidates.len()), candidates.list.len().to_numpy())
    matrix[row, candidates.explode().replace_strict(places, return_dtype=pl.Int64).to_numpy()] = probabilities.explode().to_numpy()
    return matrix


def _means(action: NDArray[np.int64], reward: Floats, width: int) -> Floats:
    overall = float(reward.mean()) if reward.size else 0.0
    sums, counts = np.bincount(action, reward, minlength=width), np.bincount(action, minlength=width)
    return np.asarray((sums + PRIOR * overall) / (counts + PRIOR))
