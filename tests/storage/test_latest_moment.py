"""No process of an installation goes back behind another, also when the machine's clock was set back."""

from pathlib import Path

from contracts.clock import DAY_US, HOUR_US, Clock, SteadyTime
from storage.latest_moment import MOST_AHEAD_US, LatestMoment
from storage.layout import Layout

NOON = 20_000 * DAY_US


class Machine:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_us = NOON

    def process(self, root: Path) -> tuple[SteadyTime, LatestMoment]:
        """The time of a process that starts now."""
        steady = SteadyTime(lambda: self.now_us)
        moment = LatestMoment(Layout(root), steady)
        moment.meet()
        return steady, moment


def test_a_process_that_starts_after_the_clock_was_set_back_does_not_go_back(tmp_path: Path) -> None:
    machine = Machine()
    running, moment = machine.process(tmp_path)
    machine.now_us += 60
    moment.meet()
    machine.now_us -= HOUR_US
    assert machine.process(tmp_path)[0].now_us() == running.now_us() == NOON + 60
    machine.now_us += 5
    assert running.now_us() == NOON + 65


def test_who_runs_follows_the_others_forward(tmp_path: Path) -> None:
    machine = Machine()
    first, moment = machine.process(tmp_path)
    machine.now_us += HOUR_US
    second, ahead = machine.process(tmp_path)
    ahead.meet()
    machine.now_us -= HOUR_US
    moment.meet()
    assert first.now_us() == second.now_us() == NOON + HOUR_US


def test_a_future_that_was_a_mistake_is_not_followed_by_who_starts_later(tmp_path: Path) -> None:
    machine = Machine()
    machine.now_us += MOST_AHEAD_US + 10
    machine.process(tmp_path)
    machine.now_us = NOON
    assert machine.process(tmp_path)[0].now_us() == NOON
    assert machine.process(tmp_path)[0].now_us() == NOON


def test_a_scaled_clock_does_not_go_back_either() -> None:
    wall = iter((100, 90, 95))
    steady = SteadyTime(lambda: next(wall))
    assert [(steady.now_us() - 50) * 10 for _ in range(3)] == [500, 500, 550]
    assert Clock().now_us() <= Clock().now_us()
