"""The revenue model and the best single candidate."""

from dataclasses import replace

import numpy as np
import polars as pl

from tests.training.conftest import SHOP, Made, all_rows
from training.fit import best_single, fit, predict


def test_the_model_finds_who_likes_what_in_the_unit_that_people_read(made: Made) -> None:
    training_set = made()
    model = fit(training_set, all_rows(training_set), SHOP.learner, seed=1)
    scores = predict(model, training_set.features, training_set.eligible)
    kind = training_set.features[:, 0]
    assert (scores[:, :2].argmax(axis=1) == kind).mean() > 0.95
    mean = training_set.reward.mean()
    logged = scores[np.arange(len(scores)), training_set.action].mean()
    assert abs(logged / mean - 1) < 0.05


def test_the_same_rows_and_seed_give_the_same_model(made: Made) -> None:
    training_set = made(1_500)
    texts = {fit(training_set, all_rows(training_set), SHOP.learner, seed=3).files["model.txt"] for _ in range(2)}
    assert len(texts) == 1


def test_the_currency_changes_scores_but_not_the_trees(made: Made) -> None:
    training_set = made(1_500)
    cents = replace(training_set, use_case=replace(SHOP, reward_scale=10_000))
    dollars, hundredfold = (
        predict(fit(data, all_rows(data), SHOP.learner, seed=3), data.features, data.eligible) for data in (training_set, cents)
    )
    assert np.allclose(hundredfold, dollars * 100, rtol=1e-6)


def test_candidates_that_are_not_eligible_get_no_score(made: Made) -> None:
    training_set = made(1_000)
    eligible = training_set.eligible.copy()
    eligible[:, 1] = False
    scores = predict(fit(training_set, all_rows(training_set), SHOP.learner, seed=1), training_set.features, eligible)
    assert np.isneginf(scores[:, 1]).all() and np.isfinite(scores[:, [0, 2]]).all()


def test_where_refunds_undo_much_the_model_is_fitted_to_rewards_as_they_are(made: Made) -> None:
    training_set = made(2_000)
    reward = np.where(training_set.action == 1, -2_000_000, training_set.rows["reward"].to_numpy())
    refunded = replace(training_set, rows=training_set.rows.with_columns(reward=pl.Series(reward)))
    scores = predict(fit(refunded, all_rows(refunded), SHOP.learner, seed=1), refunded.features, refunded.eligible)
    assert np.allclose(scores[:, 1].mean(), -2.0, atol=0.4)
    assert best_single(refunded, all_rows(refunded), SHOP.learner, seed=1).argmin() == 1


def test_the_best_single_candidate_is_found_also_where_the_log_preferred_others(made: Made) -> None:
    training_set = made(personal=False)
    assert best_single(training_set, all_rows(training_set), SHOP.learner, seed=1).argmax() == 0


def test_a_candidate_that_only_big_spenders_may_see_is_not_best_for_that(made: Made) -> None:
    training_set = made(8_000, personal=False, lift=0.05)
    rich = training_set.features[:, 0] == 1.0
    rows = training_set.rows.with_columns(reward=pl.when(pl.Series(rich)).then(pl.col("reward") * 5).otherwise(pl.col("reward")))
    used = rich | (training_set.action != 1)
    table = best_single(replace(training_set, rows=rows), used, SHOP.learner, seed=1)
    assert table.argmax() == 0


def test_a_candidate_that_was_never_shown_is_worth_no_more_than_the_worst(made: Made) -> None:
    training_set = made(2_000)
    table = best_single(training_set, training_set.action != 1, SHOP.learner, seed=1)
    assert table[1] == table.min()
