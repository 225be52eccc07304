"""The revenue model: one LightGBM model over (features, candidate), and the best single candidate as a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import lightgbm as lgb
import numpy as np

from contracts.catalogue import Catalogue
from decisions.linear import LINEAR_FILE, LinearScorer, encode_linear
from decisions.matrix import Floats, ModelColumns, paired_rows
from decisions.scorer import MODEL_FILE
from training.dataset import Bools, Ints, TrainingSet
from training.linear import fit_linear
from training.severity import expected_sizes, smoothed
from use_cases.definition import Learner

DEFAULTS: Mapping[str, float | int | str] = {
    "objective": "poisson",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "min_sum_hessian_in_leaf": 30.0,
    "lambda_l2": 1.0,
    "feature_fraction_bynode": 0.5,
    "cat_smooth": 20.0,
    "min_data_per_group": 100,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
    "num_threads": 1,
}
"""A log link, since what a candidate adds multiplies with what a person spends anyway; a leaf must hold some 15 purchases (the
hessian of a row is about twice the purchases expected of it), however rare they are. One thread,
since threads that wait for each other at every split cost many times the work on a busy machine: folds are fitted side by side instead."""

MOST_NEGATIVE = 0.05
"""Share of all that was earned which refunds may undo before the model is fitted to rewards as they are, by least squares."""

_CHUNK = 2**16


@dataclass(frozen=True, eq=False)
class Boosted:
    """A fitted LightGBM model, and what its columns are."""

    booster: lgb.Booster
    columns: ModelColumns

    @property
    def kind(self) -> str:
        """Of the scorer that serves it."""
        return "lightgbm"

    @property
    def files(self) -> Mapping[str, bytes]:
        """Of that scorer: LightGBM's own text."""
        return {MODEL_FILE: str(self.booster.model_to_string()).encode()}

    def scores(self, features: Floats, places: Ints) -> Floats:
        """(m,) scores of the candidates at (m,) places, for the (m, F) features beside them."""
        return np.asarray(self.booster.predict(paired_rows(features, self.columns, places), num_threads=1))


@dataclass(frozen=True, eq=False)
class Linear:
    """A fitted linear model."""

    scorer: LinearScorer
    catalogue: Catalogue

    @property
    def kind(self) -> str:
        """See `Boosted.kind`."""
        return "linear"

    @property
    def files(self) -> Mapping[str, bytes]:
        """See `Boosted.files`."""
        return {LINEAR_FILE: encode_linear(self.scorer, self.catalogue)}

    def scores(self, features: Floats, places: Ints) -> Floats:
        """See `Boosted.scores`."""
        return np.asarray(self.scorer.matrix(features)[np.arange(len(places)), places])


Model: TypeAlias = Boosted | Linear


def fit(training_set: TrainingSet, rows: Bools, learner: Learner, *, seed: int) -> Model:
    """Fit the revenue model to some rows; the same rows and seed give the same model. Its scores are in the unit that people read.

    Args:
        training_set: the data.
        rows: (n,) which of them; those whose action the catalogue no longer has are left out.
        learner: how; its parameters go over `DEFAULTS`.
        seed: of the sampling of columns.
    """
    use_case = training_set.use_case
    columns = ModelColumns.of(use_case.feature_set.names, use_case.catalogue)
    used = rows & (training_set.action >= 0)
    action, rewards = training_set.action[used], training_set.reward[used]
    refunds = rewards.clip(max=0.0).sum()
    skewed = -refunds <= MOST_NEGATIVE * rewards.clip(min=0.0).sum()
    labels = labels_of(rewards, action, len(columns.values), learner) if skewed else rewards
    weights = weights_of(training_set, used, learner)
    if learner.kind == "linear":
        return Linear(fit_linear(training_set, np.flatnonzero(used), labels, weights), use_case.catalogue)
    # why: in units of a mean reward, leaf minimum and regularisation count purchases, whatever the currency
    unit = float(np.abs(labels[labels != 0.0]).mean()) if labels.any() else 1.0
    matrix = paired_rows(training_set.features[used], columns, action)
    data = lgb.Dataset(
        matrix,
        labels / unit,
        weight=None if (weights == 1.0).all() else weights,
        feature_name=list(columns.names),
        categorical_feature=[*use_case.feature_set.categorical, *columns.categorical],
        params={"max_bin": 127},
    )
    objective = {} if skewed else {"objective": "regression"}
    settings = {**DEFAULTS, **learner.params, **objective, "seed": seed % 2**31}
    booster = lgb.train(settings, data, learner.rounds)
    if skewed:
        # why: losses over a log link, once regularised, foretell less than was earned, by a fifth with Tweedie's
        unit *= _balance(labels / unit, np.asarray(booster.predict(matrix, num_threads=1)), weights)
    return Boosted(_in_unit(booster, unit, additive=not skewed), columns)


def _balance(labels: Floats, scores: Floats, weights: Floats) -> float:
    """What scores must be multiplied by to add up to what was earned (Denuit, Charpentier and Trufin 2021, "Autocalibration")."""
    foretold = float(weights @ scores)
    return float(weights @ labels) / foretold if foretold > 0.0 and labels.any() else 1.0


def weights_of(training_set: TrainingSet, rows: Bools, learner: Learner) -> Floats:
    """(m,) how much each of the picked rows counts, 1 on average: `min(1 / propensity, clip) · 2^(−age / half-life)`.

    Weighing by `1 / propensity` makes the log of any arm a sample of what every candidate does with everybody, whoever the arm preferred to
    show it to; clipped, since a few rows would otherwise count for all (Strehl, Langford, Li and Kakade 2010, "Learning from logged
    implicit exploration data").
    """
    weights = np.ones(int(rows.sum()))
    if learner.most_weight > 1.0:
        inverse = 1.0 / training_set.propensity[rows]
        weights = np.minimum(inverse, learner.most_weight * float(inverse.mean()))
    if learner.half_life_us is not None:
        decided_at = training_set.rows["decided_at"].to_numpy()
        weights = weights * np.exp2((decided_at[rows] - decided_at.max()) / learner.half_life_us)
    return np.asarray(weights / weights.mean())


def labels_of(rewards: Floats, actions: Ints, candidates: int, learner: Learner) -> Floats:
    """(n,) what a model is fitted to: rewards with the sizes that the learner asks for, refunds as nothing."""
    earned = rewards.clip(min=0.0)
    return smoothed(earned, actions, expected_sizes(earned, actions, candidates)) if learner.sizes == "expected" else earned


def predict(model: Model, features: Floats, eligible: Bools) -> Floats:
    """(n, K) scores of the eligible candidates, −inf for the others.

    Args:
        model: a model.
        features: (n, F).
        eligible: (n, K).
    """
    row, place = np.nonzero(eligible)
    scores = np.full(eligible.shape, -np.inf)
    for start in range(0, len(row), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        scores[row[chunk], place[chunk]] = model.scores(features[row[chunk]], place[chunk])
    return scores


def best_single(training_set: TrainingSet, rows: Bools, learner: Learner, *, seed: int) -> Floats:
    """(K,) expected reward of each candidate whoever is asked, from some rows: the best of it is the best single candidate.

    A candidate's rewards are compared with what its entities earn on average (a model of the features alone), each row weighing
    `1 / propensity`: so it does not matter who may be shown it, or whom the log preferred to show it. Sizes of rewards are the expected
    ones: a candidate is not best because of one large purchase. One that was never shown is worth as little as the worst.
    """
    used = rows & (training_set.action >= 0) & training_set.randomised
    width = training_set.eligible.shape[1]
    action, rewards = training_set.action[used], training_set.reward[used]
    labels = labels_of(rewards, action, width, learner) + rewards.clip(max=0.0)
    usual = _usual(training_set, used, labels, learner, seed)
    weights = 1.0 / training_set.propensity[used]
    shown = np.bincount(action, weights, minlength=width)
    above = np.bincount(action, weights * (labels - usual), minlength=width)
    gain = np.divide(above, shown, out=np.full(width, np.nan), where=shown > 0.0)
    return np.asarray(np.where(np.isnan(gain), np.nanmin(gain), gain) + float(usual.mean()))


def _usual(training_set: TrainingSet, rows: Bools, labels: Floats, learner: Learner, seed: int) -> Floats:
    feature_set = training_set.use_case.feature_set
    unit = float(np.abs(labels[labels != 0.0]).mean()) if labels.any() else 1.0
    settings = {**DEFAULTS, **learner.params, "objective": "regression", "seed": seed % 2**31}
    features = training_set.features[rows]
    names, categories = list(feature_set.names), list(feature_set.categorical)
    data = lgb.Dataset(features, labels / unit, feature_name=names, categorical_feature=categories, params={"max_bin": 127})
    return np.asarray(lgb.train(settings, data, min(learner.rounds, 60)).predict(features, num_threads=1)) * unit


def _in_unit(booster: lgb.Booster, unit: float, *, additive: bool) -> lgb.Booster:
    trees = booster.dump_model(num_iteration=-1 if additive else 1)["tree_info"]
    for tree, described in enumerate(trees):
        for leaf in range(described["num_leaves"]):
            value = booster.get_leaf_output(tree, leaf)
            booster.set_leaf_output(tree, leaf, value * unit if additive else value + float(np.log(unit)))
    return lgb.Booster(model_str=booster.model_to_string())
