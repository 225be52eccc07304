"""Splits."""

import numpy as np

from tests.training.conftest import Made, changed
from training.split import folds, later


def test_an_entity_stays_in_one_fold_whatever_else_there_is() -> None:
    few = folds(["a", "b", "c"], 3, seed=7)
    many = folds(["c", "a", "x", "b", "a"], 3, seed=7)
    assert many[[1, 3, 0, 4]].tolist() == [*few.tolist(), few[0]]


def test_folds_are_about_alike_and_change_with_the_seed() -> None:
    names = [f"e-{number}" for number in range(4_000)]
    first, second = (folds(names, 4, seed) for seed in (1, 2))
    assert np.bincount(first).min() > 850
    assert (first == second).mean() < 0.35


def test_the_later_part_is_the_newest_rows(made: Made) -> None:
    training_set = made(400)
    out = later(training_set, 0.25)
    assert out.sum() == 100
    assert training_set.rows["decided_at"].to_numpy()[out].min() > training_set.rows["decided_at"].to_numpy()[~out].max()


def test_rows_of_one_moment_stay_together(made: Made) -> None:
    training_set = changed(made(400), decided_at=[1] * 400)
    assert later(training_set, 0.25).all()
