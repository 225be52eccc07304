"""The line through what memory was."""

import doctest

from bench import steady


def test_examples_run() -> None:
    assert doctest.testmod(steady).failed == 0


def test_memory_that_does_not_grow_has_no_slope() -> None:
    assert steady.slope([(minute / 10, 200.0) for minute in range(100)], 2.0) == 0.0
