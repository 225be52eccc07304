"""What docs/console.md tells people to type does what it says, and its pictures are there."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cli.main import main
from serving.keys import Scope, list_keys
from storage.layout import Layout

from .conftest import Place, sign_in


@pytest.fixture
def guide(repository: Path) -> str:
    return (repository / "docs/console.md").read_text()


def test_its_commands_make_keys_that_open_the_console(
    guide: str, place: Place, browser_of: Callable[[], TestClient], capsys: pytest.CaptureFixture[str]
) -> None:
    (commands,) = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)
    printed: dict[str, str] = {}
    for line in commands.splitlines():
        words = shlex.split(line, comments=True)[1:]
        assert main(["--state", place.settings.state, *words]) == 0, line
        printed[" ".join(words[:3])] = capsys.readouterr().out.strip()
    client = sign_in(browser_of(), printed["keys make ada"])
    assert "ada</b>, may act" in client.get("/console/").text
    assert "owner</b>, may act" in sign_in(browser_of(), printed["keys show"]).get("/console/").text
    assert {key.name for key in list_keys(Layout(place.settings.folder))} == {"owner", "ada"}


def test_the_command_says_where_it_is_and_who_may_sign_in(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.key("vera", Scope.VIEW)
    place.key("program", Scope.DECIDE)
    assert main(["--state", place.settings.state, "console"]) == 0
    said = capsys.readouterr().out
    assert "http://127.0.0.1:8000/console/" in said
    assert "vera may look\n" in said and "owner may look and act" in said and "program" not in said
    assert main(["--state", place.settings.state, "console", "--json"]) == 0
    assert '"acts": false' in capsys.readouterr().out


def test_its_pictures_are_there_and_small(guide: str, repository: Path) -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", guide)
    assert len(pictures) == len(set(pictures)) >= 5
    assert [name for name in pictures if not 0 < (repository / "docs" / name).stat().st_size < 150_000] == []


def test_its_pages_are_the_consoles(guide: str, vera: TestClient) -> None:
    shown = vera.get("/console/use-cases/shop/releases").text
    for name in re.findall(r"^\| ([A-Z][\w-]+) \|", guide, re.MULTILINE):
        assert f">{name}</a>" in shown, name
