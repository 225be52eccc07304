"""The state of a live comparison, read from the tables, the ledger and the bundles of a small installation."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.clock import DAY_US
from releases.ledger import Ledger
from storage.tables import Tables
from tests.experiment_log import fill, releases
from training.experiment import Sources, looks, state_of
from use_cases.definition import UseCase, load

BEGAN = 10 * DAY_US
NOW = BEGAN + 30 * DAY_US


@pytest.fixture
def use_case() -> UseCase:
    return load("email_promotion")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def sources(use_case: UseCase, ledger: Ledger, folder: Path) -> Sources:
    return Sources(use_case, Tables(folder / "tables"), folder / "bundles", ledger, NOW)


def test_before_the_first_release_there_is_nothing(use_case: UseCase, ledger: Ledger, tmp_path: Path) -> None:
    assert state_of(sources(use_case, ledger, tmp_path)) is None
    assert looks(sources(use_case, ledger, tmp_path)) == {}


def test_arms_without_decisions_are_there_without_figures(use_case: UseCase, ledger: Ledger, tmp_path: Path) -> None:
    releases(use_case, ledger, tmp_path / "bundles", BEGAN)
    found = state_of(sources(use_case, ledger, tmp_path))
    assert found is not None and [arm.arm for arm in found.arms] == ["control", "champion", "challenger"]
    assert all(arm.value is None and arm.decisions == 0 for arm in found.arms)
    assert [conclusion.step for conclusion in found.conclusions] == ["wait"]
    assert found.shadow is not None and found.shadow.value is None


def test_what_every_arm_earns_what_is_concluded_and_how_the_shadow_would_do(use_case: UseCase, ledger: Ledger, tmp_path: Path) -> None:
    ids = releases(use_case, ledger, tmp_path / "bundles", BEGAN)
    place = sources(use_case, ledger, tmp_path)
    fill(place, ids[2], BEGAN)
    found = state_of(place)
    assert found is not None
    control, champion, challenger = found.arms
    assert (control.share, champion.share, challenger.share) == pytest.approx((0.2, 0.4, 0.4))
    for arm, truth in ((control, 1.0), (champion, 2.0 * 4 / 3), (challenger, 4.0 * 4 / 3)):
        assert arm.value is not None and arm.value.low < truth < arm.value.high
    assert control.above_control is None and champion.above_control is not None
    assert champion.above_control.low < 2.0 * 4 / 3 - 1.0 < champion.above_control.high
    (conclusion,) = found.conclusions
    assert (conclusion.release_id, conclusion.step) == (ids[1], "promote")
    assert conclusion.sample_ratio > 0.001 and challenger.conclusion is conclusion
    assert found.control_ratio is not None and found.control_ratio > 0.001
    assert found.shadow is not None and found.shadow.value is not None
    value = found.shadow.value
    assert value.decisions == champion.decisions and value.covered == pytest.approx(1.0)
    assert value.dr.low < 4.0 < value.dr.high and value.gain.low > 0.0


def test_control_that_loses_decisions_is_noticed(use_case: UseCase, ledger: Ledger, tmp_path: Path) -> None:
    ids = releases(use_case, ledger, tmp_path / "bundles", BEGAN)
    place = sources(use_case, ledger, tmp_path)
    fill(place, ids[2], BEGAN, lost="control")
    found = state_of(place)
    assert found is not None and found.control_ratio is not None and found.control_ratio < 0.001
    # the arms beside it are as they should be
    assert found.conclusions[0].sample_ratio > 0.001


def test_what_was_known_at_the_end_of_each_day(use_case: UseCase, ledger: Ledger, tmp_path: Path) -> None:
    ids = releases(use_case, ledger, tmp_path / "bundles", BEGAN)
    place = sources(use_case, ledger, tmp_path)
    fill(place, ids[2], BEGAN)
    course = looks(place)[ids[1]]
    assert [look.day for look in course] == [float(day) for day in range(1, 17)]
    widths = [look.gain.high - look.gain.low for look in course]
    assert widths[9] < widths[4] < widths[0]
    state = state_of(place)
    assert state is not None and state.conclusions[0].gain is not None
    assert course[-1].gain.value == pytest.approx(state.conclusions[0].gain.value)
