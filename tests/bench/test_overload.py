import pytest

from bench.load import Loaded
from bench.overload import _rates


def loaded(rate: float) -> Loaded:
    """Ten seconds at so many answers a second."""
    every = {200: round(rate)}
    return Loaded(8, 10.0, {200: round(10 * rate)}, 0, [every] * 10, {345: round(10 * rate)}, 1.0)


@pytest.mark.parametrize(
    ("over", "after", "ok"),
    [(950.0, 1_000.0, [True, True, True]), (950.0, 600.0, [True, False, False]), (750.0, 1_000.0, [False, True, True])],
)
def test_a_service_that_overload_leaves_slower_does_not_lower_its_own_bar(over: float, after: float, ok: list[bool]) -> None:
    figures = _rates([990.0, 1_010.0], loaded(over), loaded(after), [after - 50.0, after + 50.0])
    assert [figure.ok for figure in figures] == ok
