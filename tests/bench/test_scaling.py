import pytest

from bench.load import Loaded
from bench.scaling import _Found, _linear


def found(replicas: int, rate: float, busy: float = 2.0) -> _Found:
    """Replicas that take one core and a fifth for 1,000 decisions a second, of clients that take a fifth of one."""
    loaded = Loaded(32, 5.0, {200: round(5 * rate)}, 0, [], {345: round(5 * rate)}, cpu_s=rate / 1_000)
    return _Found(replicas, loaded, busy, serving=1.2 * rate / 1_000)


@pytest.mark.parametrize(
    ("second", "ok"),
    [(1_300.0, [True, True, True]), (1_020.0, [True, False, False]), (900.0, [True, False, False])],
)
def test_other_work_of_the_machine_does_not_lower_the_bar(second: float, ok: list[bool]) -> None:
    assert [figure.ok for figure in _linear([found(1, 1_000.0), found(2, second)], 2)] == ok


def test_a_machine_whose_cores_one_replica_fills_shows_nothing() -> None:
    assert [figure.ok for figure in _linear([found(1, 1_000.0), found(2, 1_000.0)], 1)] == [True, True, False]


def test_one_number_of_replicas_shows_nothing() -> None:
    assert [figure.ok for figure in _linear([found(1, 1_000.0)], 1)] == [False]
