"""What a log knows of a policy, and when it is too little."""

import numpy as np
import pytest

from decisions.overlap import Limits, Overlap, overlap


def of(weights: list[float], **more: np.ndarray) -> Overlap:
    return overlap(np.array(weights), None, limits=Limits(least_effective=3.0, most_of_one=0.5, rare=0.1), **more)


def test_a_policy_like_the_log_is_valued() -> None:
    found = of([0.8, 1.2, 1.0, 1.0])
    assert found.enough and (found.n, found.clusters) == (4, 4)
    assert found.effective_n == pytest.approx(16 / (0.64 + 1.44 + 2))
    assert (found.largest_weight, found.largest_share, found.mean_weight.value) == (1.2, 0.3, 1.0)


def test_the_share_of_what_the_log_never_or_hardly_shows() -> None:
    probabilities = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    p_in_arm = np.array([[0.95, 0.05, 0.0], [0.5, 0.5, 0.0]])
    found = of([1.0, 0.5], probabilities=probabilities, p_in_arm=p_in_arm)
    assert (found.unseen, found.hardly) == (0.25, 0.25)
    shown = of([1.0, 0.5], probabilities=probabilities, shown=np.array([True, True, False]))
    assert (shown.unseen, shown.hardly) == (0.25, 0.0)
    assert "25.0% of what the policy would show, the log could never show; at most 1.0% may be" in found.refusals


def test_few_effective_decisions_are_refused_with_their_number() -> None:
    found = of([4.0, 0.0, 0.0, 0.0])
    assert any("4 decisions say as much of this policy as 1 unweighted ones; 3 are needed" in told for told in found.refusals)
    assert any("one entity has 100.0% of all weight (the largest weight of a decision is 4)" in told for told in found.refusals)


def test_weights_of_an_entity_are_taken_together() -> None:
    together = overlap(np.ones(10), ["a"] * 6 + ["b", "c", "d", "e"], limits=Limits(least_effective=1.0, most_of_one=0.5))
    assert together.largest_share == 0.6 and not together.enough


def test_propensities_that_are_not_those_of_the_log_are_told_by_the_mean_weight() -> None:
    seed = 8
    random = np.random.default_rng(seed)
    shown = random.random(5_000) < 0.5
    right, wrong = np.where(shown, 0.9 / 0.5, 0.1 / 0.5), np.where(shown, 0.9 / 0.4, 0.1 / 0.6)
    assert overlap(right, None).enough
    (reason,) = overlap(wrong, None).refusals
    assert "where 1.0000 is expected: the propensities are not those" in reason


def test_propensities_with_few_digits_are_taken_for_what_they_are() -> None:
    assert overlap(np.full(1_000, (1 / 3) / 0.3333), None).enough
    assert not overlap(np.full(1_000, (1 / 3) / 0.3), None).enough


def test_a_policy_that_shows_nothing_of_what_was_shown_is_refused() -> None:
    assert not overlap(np.zeros(10), None).enough
