"""An installation keeps its id and its clock for life."""

from pathlib import Path

import pytest

from contracts.clock import HOUR_US
from contracts.errors import SettingsError, StateRefused
from contracts.settings import ClockSettings
from storage.installation import open_installation
from storage.layout import Layout


def test_it_is_the_same_when_opened_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "state")
    assert open_installation(layout, ClockSettings()) == open_installation(layout, ClockSettings())
    assert not open_installation(layout, ClockSettings()).simulated


def test_a_simulated_clock_starts_at_its_origin_and_runs_fast(tmp_path: Path) -> None:
    settings = ClockSettings(scale=3_600_000, origin="2026-01-01T00:00:00Z")
    clock = open_installation(Layout(tmp_path), settings).clock
    first = clock.now_us()
    while clock.now_us() - first < HOUR_US:
        pass
    assert clock.simulated and first >= 1_767_225_600_000_000


@pytest.mark.parametrize("made, asked", [(ClockSettings(), ClockSettings(scale=10)), (ClockSettings(scale=10), ClockSettings())])
def test_a_simulated_one_never_becomes_real_nor_the_reverse(tmp_path: Path, made: ClockSettings, asked: ClockSettings) -> None:
    open_installation(Layout(tmp_path), made)
    with pytest.raises(StateRefused, match="another state folder"):
        open_installation(Layout(tmp_path), asked)


def test_broken_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "installation.json").write_text("{")
    with pytest.raises(StateRefused, match="not readable"):
        open_installation(Layout(tmp_path), ClockSettings())


@pytest.mark.parametrize(
    "settings", [ClockSettings(scale=0), ClockSettings(origin="yesterday"), ClockSettings(origin="2026-01-01T00:00:00")]
)
def test_a_wrong_clock_names_its_setting(tmp_path: Path, settings: ClockSettings) -> None:
    with pytest.raises(SettingsError, match="clock"):
        open_installation(Layout(tmp_path), settings)
