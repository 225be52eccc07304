"""Value by slice."""

import numpy as np
import pytest

from decisions.estimators import Logged, Terms, terms_of
from decisions.slices import MOST, by_slice, categories, holm, quantile_bins
from decisions.value import mean


def of(numbers: list[float], name: str = "ips") -> Terms:
    column = np.array(numbers)
    return terms_of(name, Logged(column, np.ones(len(column)), np.ones(len(column))))  # type: ignore[arg-type]


def test_each_slice_has_its_value_at_the_level_for_all_of_them() -> None:
    found = by_slice(of([1.0, 3.0] * 10 + [10.0, 20.0] * 10), None, ["a"] * 20 + ["b"] * 20, confidence=0.9)
    assert [(part.name, part.n) for part in found] == [("a", 20), ("b", 20)]
    assert found[0].estimate == mean([1.0, 3.0] * 10, np.arange(20), confidence=0.9**0.5, weights=np.ones(20), corrected=True)


def test_slices_that_differ_are_told_from_those_that_do_not() -> None:
    random = np.random.default_rng(2)
    numbers = random.normal(0.0, 1.0, 900)
    numbers[600:] += 1.0
    labels = np.repeat(["a", "b", "c"], 300)
    apart = {part.name: part.apart for part in by_slice(of(numbers.tolist()), None, labels)}
    assert apart["c"] < 1e-6
    same = by_slice(of(random.normal(0.0, 1.0, 900).tolist()), None, labels)
    assert min(part.apart for part in same) > 0.05


def test_all_intervals_hold_at_once() -> None:
    seed, runs = 4, 500
    random = np.random.default_rng(seed)
    labels = np.repeat([f"s{number}" for number in range(8)], 60)
    held = 0
    for _ in range(runs):
        found = by_slice(of(random.normal(0.0, 1.0, 480).tolist()), None, labels)
        held += all(part.estimate is not None and part.estimate.low <= 0.0 <= part.estimate.high for part in found)
    print(f"seed {seed}, {runs} runs, all held {held / runs}")
    # why: three standard deviations of 500 runs are 0.029
    assert held / runs >= 0.92


def test_a_slice_of_few_entities_tells_nothing() -> None:
    few, many = by_slice(of([1.0] * 30 + [0.0, 2.0] * 15), ["x"] * 30 + [f"y{row}" for row in range(30)], ["a"] * 30 + ["b"] * 30)
    assert (few.n, few.estimate, few.apart) == (30, None, 1.0)
    assert many.estimate is not None and many.estimate.clusters == 30


def test_a_slice_without_any_reward_is_not_taken_for_certain() -> None:
    nothing, some = by_slice(of([0.0] * 200 + [0.0, 1.0] * 100), None, ["a"] * 200 + ["b"] * 200)
    assert nothing.estimate is not None and some.estimate is not None
    assert nothing.estimate.value == 0.0 and nothing.estimate.high > 0.03 and nothing.apart == 1.0


def test_a_slice_without_any_weight_has_no_self_normalised_value() -> None:
    log = Logged(np.ones(60), np.full(60, 0.5), np.repeat([0.0, 1.0], 30))
    found = by_slice(terms_of("snips", log), None, ["a"] * 30 + ["b"] * 30)
    assert found[0].estimate is None and found[0].apart == 1.0


def test_rare_categories_are_taken_together() -> None:
    names = categories([f"c{number}" for number in range(30) for _ in range(30 - number)])
    assert len(set(names)) == MOST + 1 and names.count("other") == sum(30 - number for number in range(MOST, 30))


def test_equal_numbers_are_never_parted() -> None:
    labels = quantile_bins(np.array([0.0] * 8 + [1.0, np.nan]), 5)
    assert len(set(labels[:8])) == 1 and labels[9] == "missing"


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01]) == pytest.approx([0.04, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
