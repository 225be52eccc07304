"""R13: every route without a key and with every wrong one, every port of every process, every address that is listened on."""

import argparse
import asyncio
import base64
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from bench.listening import REFUSED, SILENT, Listening
from bench.rows import Figure, Measurement
from bench.served import served
from contracts.settings import Settings, Store
from services.bootstrap import start_releases
from serving.app import App
from serving.console import ROOT
from serving.console.app import ACTS, PAGES, Console
from serving.console.desk import Office
from serving.hooks import Hooks
from serving.keys import Scope, drop_key, list_keys, make_key, rotate_key
from serving.routes import ROUTES, Route
from serving.service import DecisionService
from storage.layout import Layout
from use_cases.definition import load_all

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
SETTLE_S = 25.0


@dataclass(frozen=True)
class Stranger:
    """Somebody who is not to get in: `headers` is what they send; `scopes` what their key may do, if it is one."""

    name: str
    headers: Mapping[str, str]
    scopes: tuple[Scope, ...] = ()


def measure(options: Sequence[str]) -> Measurement:
    """Ask for everything as everybody who may not, in process; then ask every port of a whole installation."""
    parser = argparse.ArgumentParser(prog="make target ROW=R13 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--in-process", action="store_true", help="only the routes, without a whole installation")
    chosen = parser.parse_args(options)
    # why: the console logs each of the many sign-ins that fail here, as it should, and without a handler Python prints them
    logging.getLogger("serving.console").addHandler(logging.NullHandler())
    asked, wrong = asyncio.run(routes(chosen.use_case))
    figures = [Figure("answers of routes to strangers", float(len(wrong)), 0.0, "")]
    notes = [f"{asked} requests to {len(ROUTES)} routes of the API and {len(PAGES) + len(ACTS)} pages and forms of the console", *wrong[:5]]
    if not chosen.in_process:
        with served(chosen.use_case, 1) as running:
            time.sleep(SETTLE_S)
            found = Listening.of(running)
            found.ask()
        figures += [
            Figure("addresses beyond loopback that are listened on", float(len(found.elsewhere)), 0.0, ""),
            Figure("answers of other ports to strangers", float(len(found.answered)), 0.0, ""),
            Figure("ports whose lock could not be shown", float(len(found.unknown)), 0.0, ""),
        ]
        notes += [
            f"{len(found.ports)} ports of {len(set(found.ports.values()))} kinds of processes: {found.http} speak HTTP, {found.rpc} gRPC",
            f"{found.asked} requests to them",
            f"left open on loopback, since Ray can ask for no key there: its counts of requests, for Prometheus (port {found.counts})",
            *found.elsewhere[:5],
            *list(dict.fromkeys(found.answered))[:12],
            *found.unknown[:5],
        ]
    return Measurement("R13", tuple(figures), tuple(notes))


async def routes(use_case: str) -> tuple[int, list[str]]:
    """Ask for every route of API and console as every stranger, and by every method; how often, and what was answered wrongly."""
    with tempfile.TemporaryDirectory(prefix="offerloop-bench-") as folder:
        settings = Settings(state=folder, use_cases=(use_case,), store=Store(map_size_bytes=2**26))
        start_releases(settings)
        people = strangers(Layout(settings.folder))
        answers = [answer async for answer in _of_api(settings, people)] + [answer async for answer in _of_console(settings, people)]
    return len(answers), [said for said, right in answers if not right]


async def _of_api(settings: Settings, people: Sequence[Stranger]) -> AsyncIterator[tuple[str, bool]]:
    """What the API answered to each request, and whether that is right."""
    (use_case,) = settings.use_cases
    service = DecisionService(settings, load_all(settings.use_cases))
    hooks = Hooks(service.layout, service.clock)
    with service:
        service.look()
        async with _client(App(service, hooks)) as client:
            for stranger in people:
                for route in ROUTES:
                    path = route.template.format(use_case=use_case, decision_id="d-1", name="train")
                    for method in METHODS:
                        answer = await client.request(method, path, headers=stranger.headers, content=b"{}")
                        said = f"{method} {path} as {stranger.name}: {answer.status_code}"
                        yield said, _right(route, method, stranger, answer.status_code)
    hooks.close()


async def _of_console(settings: Settings, people: Sequence[Stranger]) -> AsyncIterator[tuple[str, bool]]:
    """The same of the console, where only a session opens anything, and only a key with its scope opens a session."""
    (use_case,) = settings.use_cases
    with Office(settings) as office:
        async with _client(Console(office, sleep=_at_once)) as client:
            for stranger in people:
                key = stranger.headers.get("authorization", "Bearer ")[7:]
                for template in dict.fromkeys((*PAGES, *ACTS)):
                    path = ROOT + template.format(use_case=use_case, release_id="r-0000000000000000")
                    for method in METHODS:
                        headers = {**stranger.headers, "cookie": f"offerloop_console={key}"}
                        answer = await client.request(method, path, headers=headers, data={"token": "x"})
                        to_sign_in = answer.status_code == 303 and answer.headers["location"].startswith(f"{ROOT}/sign-in")
                        right = answer.status_code in (*REFUSED, *SILENT) or (to_sign_in and method in ("GET", "HEAD"))
                        yield f"{method} {path} as {stranger.name}: {answer.status_code}", right
                if Scope.VIEW not in stranger.scopes:
                    page = await client.get(f"{ROOT}/sign-in")
                    token = page.text.partition('name="token" value="')[2].partition('"')[0]
                    entered = await client.post(f"{ROOT}/sign-in", data={"token": token, "key": key})
                    yield f"signed in as {stranger.name}: {entered.status_code}", entered.status_code in REFUSED


def strangers(layout: Layout) -> list[Stranger]:
    """Everybody who may not do something: without a key, with none of ours, with one that is void, with a key of each scope alone."""
    dropped = make_key(layout, "dropped", tuple(Scope))
    drop_key(layout, "dropped")
    expired = make_key(layout, "expired", tuple(Scope), expires_in_s=-1.0)
    replaced = make_key(layout, "replaced", tuple(Scope))
    rotate_key(layout, "replaced")
    said = {
        "nobody": {},
        "an empty key": _bearer(""),
        "a wrong key": _bearer("olk_" + "A" * 43),
        "a wrong password": {"authorization": f"Basic {base64.b64encode(b'owner:olk_wrong').decode()}"},
        "another scheme": {"authorization": f"Digest {dropped}"},
        "a dropped key": _bearer(dropped),
        "an expired key": _bearer(expired),
        "a replaced key": _bearer(replaced),
        "a key cut short": _bearer(make_key(layout, "short", tuple(Scope))[:-1]),
        "a name of a key": _bearer("owner"),
        "a digest of a key": _bearer(read_digest(layout)),
    }
    without = [Stranger(name, headers) for name, headers in said.items()]
    return without + [Stranger(f"who may {scope}", _bearer(make_key(layout, f"only-{scope}", [scope])), (scope,)) for scope in Scope]


def read_digest(layout: Layout) -> str:
    """What is kept of a key: of no use to who steals it."""
    make_key(layout, "stolen", tuple(Scope))
    return list_keys(layout)[-1].sha256


def _right(route: Route, method: str, stranger: Stranger, status: int) -> bool:
    if method not in (route.method, "HEAD" if route.method == "GET" else ""):
        return status in (*REFUSED, *SILENT)
    if route.signed:
        return status == 401
    if route.scope is None:
        return status in (200, 503)
    if not stranger.scopes:
        return status == 401
    return status not in REFUSED if route.scope in stranger.scopes else status == 403


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def _at_once(_: float) -> None:
    return None


def _client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://offerloop", timeout=30.0)
