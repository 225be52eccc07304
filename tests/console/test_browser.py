"""The console in a real browser: readable by everybody, in light and dark, wide and narrow, by keyboard alone, and without scripts."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from releases.ledger import Act
from releases.stages import restore, withhold
from serving.console.app import build
from serving.console.desk import Office
from serving.keys import Scope

from .browser import PHONE, WIDE, chromium, look, served, sign_in
from .conftest import USE_CASES, Place
from .test_app import pages

pytestmark = pytest.mark.engines

OF = "/console/use-cases/shop"


@dataclass(frozen=True)
class Watched:
    """A console that a browser looks at."""

    place: Place
    office: Office
    browser: Browser
    address: str


@pytest.fixture(scope="module")
def watched(made: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One console and one browser for all tests here."""
    folder = tmp_path_factory.mktemp("watched") / "state"
    shutil.copytree(made.settings.folder, folder)
    place = replace(made, settings=msgspec.structs.replace(made.settings, state=str(folder)))
    for name in ("ada", "grace"):
        (folder.parent / name).write_text(place.key(name))
    (folder.parent / "vera").write_text(place.key("vera", Scope.VIEW))
    with chromium() as browser, Office(place.settings, USE_CASES) as office, served(build(office)) as address:
        yield Watched(place, office, browser, address)


def key_of(watched: Watched, name: str) -> str:
    return (watched.place.settings.folder.parent / name).read_text()


def test_no_page_has_a_barrier_that_axe_finds_in_light_in_dark_and_on_a_phone(watched: Watched) -> None:
    said: list[str] = []
    axe, found = Axe(), []
    with look(watched.browser, watched.address) as window:
        page = window.new_page()
        page.on("console", lambda message: said.append(message.text))
        for path in ["/sign-in", *_kinds(watched.place), "/nothing"]:
            if path == "/":
                sign_in(page, key_of(watched, "ada"))
            page.goto(f"/console{path}")
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            found += _barriers(axe, page, path, {})
            page.emulate_media(color_scheme="dark")
            found += _barriers(axe, page, f"{path} in dark", {"runOnly": ["color-contrast"]})
            page.emulate_media(color_scheme="light")
            page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
            found += _barriers(axe, page, f"{path} on a phone", {"rules": {"color-contrast": {"enabled": False}}})
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0], f"{path} is wider than a phone"
            page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    assert found == []
    assert [text for text in said if "Content Security Policy" in text or "Error" in text] == []


def _kinds(place: Place) -> list[str]:
    """A page of each kind, the first page first."""
    once = {path.partition("?")[0].replace(place.champion, "").replace(place.former, ""): path for path in pages(place)}
    return sorted(once.values())


def test_one_signs_off_by_keyboard_alone(watched: Watched) -> None:
    with look(watched.browser, watched.address) as window:
        page = window.new_page()
        page.goto(f"{OF}/sign-off/{watched.place.shadow}")
        assert page.evaluate("document.activeElement.id") == "key"
        page.keyboard.type(key_of(watched, "ada"))
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Sign out").wait_for()
        page.keyboard.press("Tab")
        assert _focused(page) == "Skip to the content"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        _tab_to(page, "To the form")
        page.keyboard.press("Enter")
        _tab_to(page, "comment")
        page.keyboard.type("Looked at both personas.")
        _tab_to(page, "Approve")
        page.keyboard.press("Enter")
        page.get_by_role("status").wait_for()
        assert f"You signed {watched.place.shadow} off" in page.get_by_role("status").inner_text()
    assert watched.office.ledger.rows("shop", limit=1, action="approve")[0].actor == "ada"


def test_it_works_without_scripts(watched: Watched) -> None:
    with look(watched.browser, watched.address, size=PHONE, scripts=False) as window:
        page = window.new_page()
        sign_in(page, key_of(watched, "grace"))
        page.get_by_role("link", name=watched.place.shadow, exact=True).first.click()
        page.get_by_role("link", name="Reject…").click()
        page.get_by_label("Why").fill("not without scripts")
        page.get_by_role("button", name="Leave it").or_(page.get_by_role("link", name="Leave it")).click()
        page.goto(f"{OF}/rollback")
        page.get_by_label("A release that was champion").select_option(watched.place.former)
        page.get_by_role("button", name="Look what that does").first.click()
        page.get_by_label("Why").fill("as it was")
        page.get_by_role("button", name="Roll back").click()
        assert f"Rolled back: {watched.place.former}" in page.get_by_role("status").inner_text()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Your key").wait_for()


def test_figures_are_brought_up_to_date_while_one_looks(watched: Watched) -> None:
    with look(watched.browser, watched.address) as window:
        page = window.new_page()
        page.clock.install()
        sign_in(page, key_of(watched, "vera"))
        page.goto("/console/")
        assert "withheld by hand" not in page.inner_text("main")
        act = Act("ada", watched.office.clock.now_us(), "sold out")
        withhold(watched.office.ledger, "shop", ["gems"], act)
        page.clock.run_for(10_500)
        page.get_by_text("withheld by hand").wait_for()
        restore(watched.office.ledger, "shop", ["gems"], act)


def _barriers(axe: Axe, page: Page, path: str, options: dict[str, Any]) -> list[str]:
    violations = axe.run(page, options=options | {"resultTypes": ["violations"]}).response["violations"]
    return [f"{path}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in violations]


def _focused(page: Page) -> str:
    text: str = page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
    return text


def _tab_to(page: Page, wanted: str, most: int = 120) -> None:
    for _ in range(most):
        page.keyboard.press("Tab")
        if _focused(page) == wanted:
            return
    raise AssertionError(f"the keyboard does not reach {wanted!r}")
