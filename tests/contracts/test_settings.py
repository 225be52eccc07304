"""Settings: one file, overrides, and errors that name the key."""

import pytest

from contracts.errors import SettingsError
from contracts.settings import Settings


def test_without_a_file_the_defaults_hold() -> None:
    assert Settings.build() == Settings()


def test_the_environment_overrides_the_file() -> None:
    settings = Settings.build(
        "state = 'here'\n[ports]\napi = 1\nmlflow = 2\n", {"OFFERLOOP_PORTS__API": "7", "OFFERLOOP_USE_CASES": "a,b", "HOME": "/"}
    )
    assert (settings.state, settings.ports.api, settings.ports.mlflow, settings.use_cases) == ("here", 7, 2, ("a", "b"))


def test_approvers_are_listed_with_commas() -> None:
    settings = Settings.build("[approvers]\nshop = ['ada']\n", {"OFFERLOOP_APPROVERS__GAME": "alice,bob"})
    assert settings.approvers == {"shop": ("ada",), "game": ("alice", "bob")}


def test_marks_that_are_no_settings_are_passed_over() -> None:
    assert Settings.build("", {"OFFERLOOP__INSTANCE": "x"}) == Settings()


@pytest.mark.parametrize(
    "text, environment, named",
    [
        ("stat = 'here'", {}, "stat"),
        ("[ports]\napi = 'many'", {}, "ports.api"),
        ("[ports", {}, "valid TOML"),
        ("", {"OFFERLOOP_SERVING__MAX_BATCH": "ten"}, "serving.max_batch"),
        ("ports = 3", {"OFFERLOOP_PORTS__API": "1"}, "ports"),
    ],
)
def test_what_is_wrong_is_named(text: str, environment: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.build(text, environment)
    assert named in str(caught.value)
