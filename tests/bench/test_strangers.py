"""Routes as strangers see them, and hostile names, on a small scale; rows R13 and R14 go further."""

import asyncio
from dataclasses import replace

import pytest

from bench import names, strangers
from serving import app
from serving.routes import find

pytestmark = pytest.mark.faults


def test_nobody_gets_anywhere_without_the_right_key() -> None:
    asked, wrong = asyncio.run(strangers.routes("email_promotion"))
    assert asked > 3_000 and wrong == []


def test_a_route_that_was_left_open_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(method: str, path: str) -> object:
        found = find(method, path)
        if not isinstance(found, tuple) and found.route.name == "status":
            return replace(found, route=replace(found.route, scope=None))
        return found

    monkeypatch.setattr(app, "find", opened)
    _, wrong = asyncio.run(strangers.routes("email_promotion"))
    assert len(wrong) > 10 and all(" /v1/status as " in said for said in wrong)


@pytest.mark.parametrize("seed", ["2"])
def test_hostile_names_open_nothing(seed: str) -> None:
    measured = names.measure(["--names", "40", "--seed", seed])
    assert measured.ok, measured.notes


def test_a_name_that_opens_a_file_outside_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(name: str) -> tuple[bytes, str]:
        with open(f"serving/pages/{name}".replace("\x00", ""), "rb") as file:
            return file.read(), "text/plain"

    monkeypatch.setattr(names, "asset", careless)
    measured = names.measure(["--names", "20"])
    opened = {figure.what: figure.value for figure in measured.figures}["things opened outside of what good names open"]
    assert not measured.ok and opened > 0
