"""The logical clock and the two ways to write a time."""

import doctest
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import clock
from contracts.clock import Clock, SteadyTime, to_datetime, to_us


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


def test_time_goes_on_from_the_latest_moment_when_the_clock_is_set_back() -> None:
    wall = iter((100, 160, 40, 45, 200))
    steady = SteadyTime(lambda: next(wall))
    assert [steady.now_us() for _ in range(5)] == [100, 160, 160, 165, 320]


def test_threads_that_see_the_clock_set_back_together_add_the_step_once() -> None:
    wall_us = 1_000_000
    steady = SteadyTime(lambda: wall_us)
    assert steady.now_us() == 1_000_000
    wall_us = 100
    with ThreadPoolExecutor(4) as pool:
        # why: all of them come as far as they can before one may go on
        with steady._lock:
            asked = [pool.submit(steady.now_us) for _ in range(4)]
            time.sleep(0.05)
        assert [future.result() for future in asked] == [1_000_000] * 4
    assert steady.now_us() == 1_000_000


def test_time_waits_for_what_others_have_seen() -> None:
    wall = iter((100, 101, 150))
    steady = SteadyTime(lambda: next(wall))
    assert steady.now_us() == 100
    steady.not_before(120)
    assert [steady.now_us(), steady.now_us()] == [120, 169]


def test_examples_run() -> None:
    assert doctest.testmod(clock).failed == 0
