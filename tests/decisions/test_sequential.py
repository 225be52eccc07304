import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions import sequential
from decisions.sequential import Bounds, bounds, share_bounds, shared, width


def test_examples() -> None:
    assert doctest.testmod(sequential, optionflags=doctest.ELLIPSIS).failed == 0


def test_bounds_are_wider_than_those_of_one_look_and_tightest_where_they_are_meant_to_be() -> None:
    at = {information: width(information, 0.95) for information in (50, 8_500, 25_000, 250_000, 10**9)}
    assert min(at.values()) > 1.645
    assert at[25_000] == pytest.approx(min(at.values()), rel=0.01)
    assert max(at[8_500], at[250_000]) < 1.1 * at[25_000] < at[50]


def test_before_there_is_anything_to_go_by_there_are_no_bounds() -> None:
    assert width(0.0, 0.95) == math.inf
    nothing = bounds(3.0, math.inf, 0.0, 0.95)
    assert (nothing.low, nothing.high) == (-math.inf, math.inf)


def test_little_confidence_has_bounds_too() -> None:
    assert 0.0 < width(5_000, 0.5) < width(5_000, 0.8) < width(5_000, 0.95)


def test_several_tests_share_the_chance_of_an_error() -> None:
    assert shared(0.95, 1) == 0.95 == shared(0.95, 0)
    assert width(5_000, shared(0.95, 3)) > width(5_000, 0.95)


def test_looking_at_every_step_rarely_crosses_the_bound_of_a_mean_that_is_zero() -> None:
    """400 streams looked at 40 times each; a fixed bound of 95 % would be crossed by about a quarter of them."""
    rng = np.random.default_rng(11)
    sums = np.cumsum(rng.standard_normal((400, 40)) * math.sqrt(2_500), axis=1)
    known = 2_500.0 * np.arange(1, 41)
    limit = np.array([width(information, 0.95) for information in known]) * np.sqrt(known)
    fixed = (sums > 1.645 * np.sqrt(known)).any(axis=1).mean()
    crossed = (sums > limit).any(axis=1).mean()
    assert crossed <= 0.05 < 0.15 < fixed


def test_bounds_of_a_share_hold_at_all_looks_at_once() -> None:
    share, missed, rounds = 0.02, 0, 400
    random = np.random.default_rng(11)
    for _ in range(rounds):
        seen = random.random(600) < share
        counts = seen.cumsum()
        # why: bounds are widest apart from the truth where something has just been seen
        looks = [*np.flatnonzero(seen), 599]
        found = [share_bounds(int(counts[look]), int(look) + 1, 0.9) for look in looks]
        missed += any(not bounds.low <= share <= bounds.high for bounds in found)
    assert missed / rounds <= 0.1


def test_bounds_of_a_share_close_in_on_it() -> None:
    assert share_bounds(0, 0, 0.95) == Bounds(0.0, 1.0)
    assert share_bounds(0, 10, 0.95).low == 0.0 and share_bounds(10, 10, 0.95).high == 1.0
    widths = [found.high - found.low for found in (share_bounds(n // 20, n, 0.95) for n in (20, 200, 2_000, 20_000))]
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.02


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([0.6, 0.95, 0.99]))
def test_bounds_of_a_share_hold_what_was_seen_whatever_that_is(seen: int, others: int, confidence: float) -> None:
    found = share_bounds(seen, seen + others, confidence)
    share = seen / (seen + others) if seen + others else 0.5
    assert 0.0 <= found.low <= share <= found.high <= 1.0
