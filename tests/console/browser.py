"""A console that a real browser looks at: uvicorn in a thread, headless Chromium, and a person signing in."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
WIDE = (1280, 900)
PHONE = (360, 780)


@contextmanager
def served(app: Any, patience_s: float = 30.0) -> Iterator[str]:
    """An application on a free port of loopback, as uvicorn serves it; its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + patience_s
    try:
        while not server.started:
            assert thread.is_alive() and time.monotonic() < until, "it did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(patience_s)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium of this machine; skips, by name and reason, where it is absent."""
    if not Path(CHROMIUM).exists() and shutil.which("chromium") is None:
        pytest.skip("Chromium is missing: Debian's chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


def look(browser: Browser, address: str, *, dark: bool = False, size: tuple[int, int] = WIDE, scripts: bool = True) -> BrowserContext:
    """A window of its own, in light or dark."""
    return browser.new_context(
        base_url=address,
        color_scheme="dark" if dark else "light",
        viewport={"width": size[0], "height": size[1]},
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )


def sign_in(page: Page, key: str) -> None:
    """Sign in by the form, as a person does."""
    page.goto("/console/sign-in")
    page.get_by_label("Your key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
