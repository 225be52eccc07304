"""Which learner is taken."""

from dataclasses import replace

import numpy as np
import polars as pl

from tests.training.conftest import SHOP, Made, all_rows, changed
from training.dataset import TrainingSet
from training.fit import Linear, fit, predict, weights_of
from training.search import search
from use_cases.definition import Learner


def crossed(training_set: TrainingSet) -> TrainingSet:
    """The same with purchases that depend on kind and hour together, in a way that no sum of both can say."""
    late = training_set.features[:, 2] >= 12
    liked = (training_set.action == 1) & (late == (training_set.features[:, 0] == 0.0))
    return changed(training_set, reward=np.where(liked, 9_000_000, 0))


def test_a_linear_world_is_best_told_by_a_linear_model(made: Made) -> None:
    learner, (declared, linear) = search(made(), seed=1, threads=1)
    assert (learner.kind, linear.taken, declared.taken) == ("linear", True, False)
    assert linear.loss < declared.loss < 1.0


def test_a_crossed_world_needs_trees(made: Made) -> None:
    learner, (declared, linear) = search(crossed(made()), seed=1, threads=1)
    assert (learner, declared.taken) == (SHOP.learner, True)
    assert declared.loss < linear.loss


def test_what_knows_nothing_leaves_the_declared_learner(made: Made) -> None:
    shop = made()
    shuffled = np.random.default_rng(3).permutation(shop.rows["reward"].to_numpy())
    assert search(changed(shop, reward=shuffled), seed=1, threads=1)[0] == SHOP.learner


def test_trials_are_drawn_by_the_seed_and_do_not_depend_on_threads(made: Made) -> None:
    use_case = replace(SHOP, learner=Learner(rounds=20, trials=3))
    shop = made(1_500, use_case=use_case)
    one, two, other = (search(shop, seed=seed, threads=threads)[1] for seed, threads in ((1, 1), (1, 2), (2, 1)))
    assert one == two
    assert len(one) == 5
    assert [trial.learner for trial in one] != [trial.learner for trial in other]
    assert sum(trial.taken for trial in one) == 1


def test_a_linear_model_scores_alone_as_in_bulk(made: Made) -> None:
    shop = made(600)
    model = fit(shop, all_rows(shop), Learner(kind="linear"), seed=1)
    assert isinstance(model, Linear)
    bulk = predict(model, shop.features, shop.eligible)
    places = np.arange(3)
    assert all(model.scorer.scores(row, places).tobytes() == scores.tobytes() for row, scores in zip(shop.features, bulk, strict=True))


def test_rows_weigh_by_propensity_up_to_a_clip_and_by_age(made: Made) -> None:
    shop = made(600)
    rows = all_rows(shop)
    assert (weights_of(shop, rows, Learner()) == 1.0).all()
    rare = replace(shop, rows=shop.rows.with_columns(propensity=pl.when(pl.int_range(600) == 0).then(0.001).otherwise(0.5)))
    clipped = weights_of(rare, rows, Learner(most_weight=10.0))
    inverse = np.r_[1_000.0, np.full(599, 2.0)]
    assert clipped[0] / clipped[1] == 10.0 * inverse.mean() / 2.0
    aged = weights_of(shop, rows, Learner(half_life_us=1_000_000))
    assert np.allclose(aged[1:] / aged[:-1], 2.0)
