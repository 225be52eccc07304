"""Resampling by sufficient statistics, against resampling one entity at a time."""

import numpy as np
import pytest

from contracts.errors import DataRefused
from decisions.bootstrap import bootstrap
from decisions.value import Floats, ratio


def plain(terms: Floats, sizes: Floats, clusters: np.ndarray, resamples: int, seed: int) -> Floats:
    """The bootstrap as every textbook has it: values of resamples, entities drawn one by one."""
    random = np.random.default_rng(seed)
    count = int(clusters.max()) + 1
    sums, weights = np.bincount(clusters, terms, count), np.bincount(clusters, sizes, count)
    drawn = random.integers(0, count, (resamples, count))
    return np.asarray(sums[drawn].sum(axis=1) / weights[drawn].sum(axis=1))


def money(entities: int, seed: int) -> tuple[Floats, Floats, np.ndarray]:
    random = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(entities), random.integers(1, 6, entities))
    terms = (random.random(len(clusters)) < 0.1).astype(np.float64) * np.exp(random.normal(1.0, 1.0, len(clusters)))
    return terms, random.random(len(clusters)) + 0.1, clusters


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("entities", [60, 2_000])
def test_it_has_the_distribution_of_the_textbook(entities: int, weighted: bool) -> None:
    terms, weights, clusters = money(entities, 3)
    sizes = weights if weighted else np.ones(len(terms))

    theirs = plain(terms, sizes, clusters, 20_000, 1)
    ours = bootstrap(terms, weights if weighted else None, clusters, seed=2, resamples=20_000)

    # why: the ends of 20,000 resamples are known to 2 % of the standard deviation, thus to some 1 % of the width
    low, high = np.quantile(theirs, [0.025, 0.975])
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.03 * (high - low))
    assert ours.standard_error == pytest.approx(theirs.std(ddof=1), rel=0.03)
    assert ours.exact == (entities == 60)
    assert ours.third_lost < 1e-3


def test_like_entities_in_one_group_are_exact() -> None:
    clicks = np.zeros(10_000)
    clicks[:37] = 1.0

    found = bootstrap(clicks, None, None, seed=1, resamples=2_000)

    assert found.exact and found.groups <= 128
    assert found.standard_error == pytest.approx(np.sqrt(0.0037 * (1 - 0.0037) / 10_000), rel=0.05)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    terms, _, clusters = money(500, 4)
    first, again, other = (bootstrap(terms, None, clusters, seed=seed, resamples=500) for seed in (1, 1, 2))
    assert first == again != other


def test_its_error_is_that_of_the_analytic_interval() -> None:
    terms, weights, clusters = money(3_000, 5)
    found = bootstrap(terms, weights, clusters, seed=1)
    assert found.standard_error == pytest.approx(ratio(terms, weights, clusters).standard_error, rel=0.03)


def test_one_entity_cannot_be_resampled() -> None:
    with pytest.raises(DataRefused, match="1 entities with a weight"):
        bootstrap(np.ones(3), None, ["a", "a", "a"], seed=1)
