import doctest

import numpy as np
import pytest

from decisions import sample_ratio as module
from decisions.sample_ratio import ALARM, sample_ratio, sample_ratio_so_far


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    "entities, probabilities, expected",
    # p-values of chi-squared 10.0 with 1, 2, 3 and 4 degrees of freedom, from tables
    [
        ({"a": 450, "b": 550}, {"a": 0.5, "b": 0.5}, 0.001565),
        ({"a": 250, "b": 300, "c": 350}, {"a": 0.1, "b": 0.1, "c": 0.1}, 0.000240),
        ({"a": 100, "b": 100, "c": 100, "d": 100}, {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}, 1.0),
        ({"a": 5, "b": 15, "c": 10, "d": 10, "e": 10}, {"a": 0.2, "b": 0.2, "c": 0.2, "d": 0.2, "e": 0.2}, 0.287297),
        ({"a": 5, "b": 15, "c": 10, "d": 10}, {"a": 0.2, "b": 0.2, "c": 0.2, "d": 0.2}, 0.171797),
        ({"a": 900}, {"a": 0.9}, 1.0),
        ({}, {"a": 0.5, "b": 0.5}, 1.0),
        ({"a": 10, "b": 0}, {"a": 1.0, "b": 0.0}, 1.0),
    ],
)
def test_sample_ratio(entities: dict[str, int], probabilities: dict[str, float], expected: float) -> None:
    assert sample_ratio(entities, probabilities) == pytest.approx(expected, rel=1e-2)


def test_a_planted_52_to_48_is_found_among_100_000_and_a_fair_split_is_not() -> None:
    generator = np.random.default_rng(3)
    fair = generator.binomial(100_000, 0.5, 500)

    assert sample_ratio({"a": 52_000, "b": 48_000}, {"a": 0.5, "b": 0.5}) < 0.001
    assert np.mean([sample_ratio({"a": int(count), "b": 100_000 - int(count)}, {"a": 0.5, "b": 0.5}) < 0.001 for count in fair]) <= 0.01


def test_uneven_arms_are_noticed_as_they_fill_and_never_forgotten() -> None:
    generator = np.random.default_rng(5)
    uneven = (generator.random(100_000) < 0.48).astype(np.int64)
    seen = [sample_ratio_so_far(uneven[:count], [0.5, 0.5]) for count in (1_000, 20_000, 50_000, 100_000)]
    assert seen[0] > ALARM > seen[2]
    assert seen == sorted(seen, reverse=True)

    healed = np.concatenate([uneven[:50_000], np.tile([0, 1], 20_000)])
    assert sample_ratio_so_far(healed, [0.5, 0.5]) == seen[2]


def test_three_arms_with_other_shares() -> None:
    arms = np.random.default_rng(9).choice(3, size=20_000, p=[0.7, 0.2, 0.1])
    assert sample_ratio_so_far(arms, [7.0, 2.0, 1.0]) > 0.05
    assert sample_ratio_so_far(arms, [0.6, 0.3, 0.1]) < ALARM


def test_the_evidence_is_that_of_the_dirichlet_multinomial() -> None:
    """By the counts alone, as its closed form has it."""
    from math import exp, lgamma, log

    counts, prior = (700, 300), (500.0, 500.0)
    arrivals = np.repeat([0, 1], counts)
    np.random.default_rng(2).shuffle(arrivals)
    marginal = lgamma(1_000) - lgamma(2_000) + sum(lgamma(a + n) - lgamma(a) for a, n in zip(prior, counts, strict=True))
    at_the_end = exp(1_000 * log(0.5) - marginal)
    assert sample_ratio_so_far(arrivals, [0.5, 0.5]) == pytest.approx(at_the_end, rel=0.5)
    assert sample_ratio_so_far(arrivals, [0.5, 0.5]) <= at_the_end * (1 + 1e-9)


def test_looking_after_every_entity_alarms_at_even_arms_no_more_often_than_it_says() -> None:
    generator = np.random.default_rng(11)
    alarms = sum(sample_ratio_so_far(generator.integers(0, 2, 5_000), [0.5, 0.5]) < 0.05 for _ in range(400))
    assert alarms / 400 <= 0.05


def test_nothing_is_uneven_in_one_arm_or_without_entities() -> None:
    assert sample_ratio_so_far(np.zeros(10, dtype=np.int64), [0.5]) == sample_ratio_so_far(np.zeros(0, dtype=np.int64), [0.5, 0.5]) == 1.0
