"""The logical clock and the two ways to write a time."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.clock import Clock, to_datetime, to_us


@given(st.integers(min_value=-(10**15), max_value=10**16))
def test_microseconds_and_datetimes_are_one(time_us: int) -> None:
    assert to_us(to_datetime(time_us)) == time_us


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        to_us(datetime(2026, 1, 1))


def test_the_default_is_the_real_clock() -> None:
    before = to_us(datetime.now(UTC))
    assert before <= Clock().now_us() <= to_us(datetime.now(UTC))
    assert not Clock().simulated


def test_a_scale_stretches_durations() -> None:
    assert Clock(scale=3_600).real_seconds(7_200_000_000) == 2.0
