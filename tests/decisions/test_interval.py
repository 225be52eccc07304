"""Which interval a value gets."""

import math

import numpy as np
import pytest

from decisions.estimators import Logged, Terms, terms_of
from decisions.interval import bernstein_half, interval, largest_share


def of(numbers: list[float]) -> Terms:
    column = np.array(numbers)
    return terms_of("ips", Logged(column, np.ones(len(column)), np.ones(len(column))))


def test_many_small_parts_get_the_analytic_interval() -> None:
    terms = of([0.0, 1.0] * 50)
    chosen = interval(terms, np.arange(100))
    assert chosen.method == "analytic"
    assert chosen.estimate == terms.estimate(np.arange(100))
    assert "100 entities, the largest with 1.0% of the squared error" in chosen.reason


@pytest.mark.parametrize("numbers", [[0.0] * 99 + [1.0], [0.0, 1.0] * 5])
def test_few_parts_get_the_interval_that_holds_for_any(numbers: list[float]) -> None:
    chosen = interval(of(numbers), None)
    plain = interval(of(numbers), None, method="analytic")
    assert chosen.method == "bernstein"
    assert chosen.estimate.high - chosen.estimate.low > plain.estimate.high - plain.estimate.low


def test_the_formula_of_maurer_and_pontil() -> None:
    # 4 rows 0, 0, 0, 1: variance 1/4, range 1
    spread = math.log(4 / 0.05)
    assert bernstein_half(of([0.0, 0.0, 0.0, 1.0]), None) == pytest.approx(math.sqrt(2 * 0.25 * spread / 4) + 7 * spread / 9)
    assert bernstein_half(of([0.0, 0.0, 0.0, 1.0]), None, bounds=(0.0, 10.0)) > 10 * 7 * spread / 9
    assert bernstein_half(of([1.0]), None) == math.inf


def test_the_bounded_interval_holds_where_the_analytic_one_does_not() -> None:
    seed, runs = 6, 400
    random = np.random.default_rng(seed)
    held = {"analytic": 0, "bernstein": 0}
    for _ in range(runs):
        rewards = (random.random(60) < 0.02).astype(float)
        for method in held:
            made = interval(of(rewards.tolist()), None, method=method, bounds=(0.0, 1.0)).estimate  # type: ignore[arg-type]
            held[method] += made.low <= 0.02 <= made.high
    print(f"seed {seed}, {runs} runs, held {held}")
    # why: three samples in ten have no 1 at all
    assert held["analytic"] < 0.8 * runs and held["bernstein"] >= 0.95 * runs


def test_the_bootstrap_if_it_is_asked_for() -> None:
    chosen = interval(of([0.0, 1.0] * 50), None, method="bootstrap", seed=3)
    assert "10,000 resamples of entities (exact" in chosen.reason
    assert (chosen.estimate.low, chosen.estimate.high) == pytest.approx((0.4, 0.6), abs=0.011)


def test_the_share_of_one_entity() -> None:
    assert largest_share(of([-1.0, 1.0, 0.0, 0.0]), None) == 0.5
    assert largest_share(of([1.0, 1.0, 1.0, 1.0]), None) == 0.25
    assert largest_share(of([1.0, -1.0, 1.0, -1.0]), ["a", "a", "b", "c"]) == 0.5
