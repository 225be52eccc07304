"""The console's HTTP face: sign-in, sessions, forms with their tokens, headers; every page is made by a function of one of its modules."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import Forbidden, InvalidInput, NotFound, OfferloopError, TooLarge, Unauthorized
from serving.audit import FailedSignIns
from serving.console import ROOT, acts, data, decision, experiments, ledger, overview, releases, sign_off
from serving.console.asking import Asked, Done, Page, status_of
from serving.console.desk import Office
from serving.console.rendering import Renderer, asset
from serving.console.sessions import LASTS_S, Attempts, Person, Sessions, TokenRefused
from serving.lifespan import answer_lifespan
from serving.scenarios import read_picture

Make = Callable[[Asked], Page]
Do = Callable[[Asked], Done]
Sleep = Callable[[float], Awaitable[None]]

COOKIE = "offerloop_console"
NOTICE = "offerloop_notice"
FRESH = "offerloop_sign_in"
MOST_BYTES = 65_536
MOST_FIELDS = 64

_OF = "/use-cases/{use_case}"
PAGES: Mapping[str, Make] = {
    "/": overview.page,
    "/ledger": ledger.page,
    "/decisions": decision.page,
    f"{_OF}/releases": releases.listing,
    f"{_OF}/releases/{{release_id}}": releases.one,
    f"{_OF}/diff": releases.difference,
    f"{_OF}/experiments": experiments.page,
    f"{_OF}/data": data.page,
    f"{_OF}/sign-off": sign_off.waiting,
    f"{_OF}/sign-off/{{release_id}}": sign_off.page,
    f"{_OF}/promote/{{release_id}}": acts.promotion,
    f"{_OF}/reject/{{release_id}}": acts.rejection,
    f"{_OF}/rollback": acts.rollback,
}
"""Pages to look at, by path."""

ACTS: Mapping[str, tuple[Do, Make]] = {
    f"{_OF}/sign-off/{{release_id}}": (sign_off.decide, sign_off.page),
    f"{_OF}/promote/{{release_id}}": (acts.promote, acts.promotion),
    f"{_OF}/reject/{{release_id}}": (acts.reject, acts.rejection),
    f"{_OF}/rollback": (acts.roll_back, acts.rollback),
}
"""What is done by a form of the page at the same path; the page tells of a refusal."""

_SECURITY = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_LOG = logging.getLogger(__name__)


class Console:
    """The console over one office.

    Args:
        office: opened by the caller.
        on_shutdown: called when the server ends.
        sleep: holds back the answers to wrong keys.
    """

    def __init__(self, office: Office, *, on_shutdown: Callable[[], None] = lambda: None, sleep: Sleep = asyncio.sleep) -> None:
        self._office = office
        self._sessions = Sessions(office.layout)
        self._attempts = Attempts()
        self._failed = FailedSignIns(office.ledger, office.clock)
        self._renderer = Renderer(office)
        self._on_shutdown = on_shutdown
        self._sleep = sleep
        routes = [
            Route("/sign-in", self._guarded(self._sign_in), methods=["GET", "POST"]),
            Route("/sign-out", self._guarded(self._sign_out), methods=["POST"]),
            Route("/assets/{name}", self._guarded(self._asset)),
            Route("/pictures/{use_case}/{name}", self._guarded(self._picture)),
            *(Route(path, self._guarded(self._act(*ACTS[path])), methods=["POST"]) for path in ACTS),
            *(Route(path, self._guarded(self._look(make))) for path, make in PAGES.items()),
            Route("/{rest:path}", self._guarded(self._nothing), methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]),
        ]
        self._app = Starlette(routes=routes)
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3. Whoever serves it may have cut `/console` off the path, or not."""
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send, self._on_shutdown)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        else:
            path = scope["path"].removeprefix(ROOT) or "/"
            await self._app(dict(scope, path=path if path.startswith("/") else "/nothing", root_path=""), receive, _secured(send))

    def _guarded(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The edge of the system: whatever is raised becomes a page, and what is not ours an entry of the log."""

        async def guarded(request: Request) -> Response:
            try:
                return await answer(request)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as error:  # noqa: BLE001  why: see above
                return await self._problem(request, error)

        return guarded

    def _look(self, make: Make) -> Callable[[Request], Awaitable[Response]]:
        async def look(request: Request) -> Response:
            person = await self._person(request)
            if person is None:
                return self._to_sign_in(request)
            asked = Asked(self._office, person, request.path_params, _query(request))
            return await self._rendered(request, person, await run_in_threadpool(make, asked))

        return look

    def _act(self, do: Do, make: Make) -> Callable[[Request], Awaitable[Response]]:
        async def act(request: Request) -> Response:
            form = await _form(request)
            person = await self._person(request)
            if person is None:
                raise Unauthorized("You are not signed in any more, and nothing was done")
            asked = Asked(self._office, person, request.path_params, _query(request), form)
            try:
                self._check(request, person.session, form)
                asked.must_operate()
                done = await run_in_threadpool(do, asked)
            except NotFound:
                raise
            except OfferloopError as error:
                page = await run_in_threadpool(make, replace(asked, refusal=error))
                return await self._rendered(request, person, replace(page, status=status_of(error)))
            response = RedirectResponse(ROOT + done.to, 303)
            notice = self._sessions.seal("notice", done.notice[:1_000])
            response.set_cookie(NOTICE, notice, 60, path=ROOT, httponly=True, samesite="strict", secure=_secure(request))
            return response

        return act

    async def _sign_in(self, request: Request) -> Response:
        if request.method != "POST":
            if await self._person(request) is not None:
                return RedirectResponse(ROOT + _inside(request.query_params.get("next", "")), 303)
            return self._sign_in_page(request, _inside(request.query_params.get("next", "")))
        form = await _form(request)
        following, address = _inside(form.get("next", "")), _address(request)
        try:
            self._check(request, request.cookies.get(FRESH, ""), form)
            cookie = await run_in_threadpool(self._sessions.open, form.get("key", ""))
        except (Unauthorized, Forbidden) as error:
            _LOG.warning("a sign-in from %s failed", address)
            await run_in_threadpool(self._failed.add, address, error)
            await self._sleep(self._attempts.failed(address))
            said = "This key is not known." if isinstance(error, Unauthorized) else f"{error} The console needs the scope `view`."
            return self._sign_in_page(request, following, said, 403 if isinstance(error, Forbidden) else 401)
        except OfferloopError as error:
            return self._sign_in_page(request, following, str(error), status_of(error))
        self._attempts.succeeded(address)
        response = RedirectResponse(ROOT + following, 303)
        response.delete_cookie(FRESH, path=ROOT, httponly=True, samesite="strict")
        response.set_cookie(COOKIE, cookie, LASTS_S, path=ROOT, httponly=True, samesite="strict", secure=_secure(request))
        return response

    def _sign_in_page(self, request: Request, following: str, refusal: str = "", status: int = 200) -> Response:
        fresh = secrets.token_urlsafe(18)
        content = {"following": following, "said": refusal, "token": self._sessions.token(fresh)}
        response = Response(self._renderer.render("sign_in.html", content, None), status, media_type="text/html")
        response.set_cookie(FRESH, fresh, path=ROOT, httponly=True, samesite="strict", secure=_secure(request))
        return response

    async def _sign_out(self, request: Request) -> Response:
        form = await _form(request)
        person = await self._person(request)
        if person is not None:
            self._check(request, person.session, form)
            await run_in_threadpool(self._sessions.end, request.cookies.get(COOKIE))
        response = RedirectResponse(f"{ROOT}/sign-in", 303)
        response.delete_cookie(COOKIE, path=ROOT, httponly=True, samesite="strict")
        return response

    async def _asset(self, request: Request) -> Response:
        content, kind = await run_in_threadpool(asset, request.path_params["name"])
        lasting = "public, max-age=31536000, immutable" if request.query_params.get("v") else "no-cache"
        return Response(content, media_type=kind, headers={"cache-control": lasting})

    async def _picture(self, request: Request) -> Response:
        if await self._person(request) is None:
            raise Unauthorized("You are not signed in")
        use_case = self._office.use_case(request.path_params["use_case"])
        content = await run_in_threadpool(read_picture, use_case.name, request.path_params["name"])
        # why: an SVG that is opened by itself may hold scripts and styles; here it may draw and nothing else
        policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        return Response(
            content, media_type="image/svg+xml", headers={"content-security-policy": policy, "cache-control": "private, max-age=300"}
        )

    async def _nothing(self, request: Request) -> Response:
        if request.method in ("GET", "HEAD") and await self._person(request) is None:
            return self._to_sign_in(request)
        raise NotFound("page", request.url.path[:80])

    async def _person(self, request: Request) -> Person | None:
        return await run_in_threadpool(self._sessions.find, request.cookies.get(COOKIE))

    def _check(self, request: Request, session: str, form: Mapping[str, str]) -> None:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") or not session:
            raise TokenRefused
        self._sessions.check_token(session, form.get("token", ""))

    def _to_sign_in(self, request: Request) -> Response:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        wanted = _inside(asked)
        return RedirectResponse(f"{ROOT}/sign-in" + (f"?next={quote(wanted)}" if wanted != "/" else ""), 303)

    async def _rendered(self, request: Request, person: Person, page: Page) -> Response:
        notice = self._sessions.unseal("notice", request.cookies.get(NOTICE), str)
        content = {**page.content, "notice": notice, "token": self._sessions.token(person.session)}
        text = await run_in_threadpool(self._renderer.render, page.template, content, person)
        response = Response(text, page.status, media_type="text/html")
        if NOTICE in request.cookies:
            response.delete_cookie(NOTICE, path=ROOT, httponly=True, samesite="strict")
        return response

    async def _problem(self, request: Request, error: Exception) -> Response:
        status, said = status_of(error), str(error)
        if status == 500:
            number = secrets.token_hex(8)
            said = f"This should not have happened. The log of the console has it under {number}."
            _LOG.error("request %s failed", number, exc_info=error)
        try:
            person = await self._person(request)
        except OfferloopError:
            person = None
        content = {"said": said, "status": status, "token": self._sessions.token(person.session) if person else "", "notice": None}
        return Response(self._renderer.render("problem.html", content, person), status, media_type="text/html")


def _secured(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            added = [(name.encode(), value.encode()) for name, value in _SECURITY.items() if name.encode() not in present]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return secured


def _query(request: Request) -> dict[str, str]:
    return dict(request.query_params)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, sent as browsers do by default.

    Raises:
        TooLarge: it is larger than any form of ours.
        InvalidInput: it is no such form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise InvalidInput("body", f"is {kind[:40] or 'of no type'}", "a form")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise TooLarge("the form", MOST_BYTES, "bytes")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"))
    except ValueError as error:
        raise InvalidInput("body", "cannot be read as a form", "fields in UTF-8") from error


def _inside(path: str) -> str:
    """A page of the console to go to, as its path behind `/console`; the first page where it is none.

    Example:
        >>> _inside("/ledger?before=7"), _inside("//elsewhere.example"), _inside("https://elsewhere.example/")
        ('/ledger?before=7', '/', '/')
    """
    path = path.removeprefix(ROOT)
    fine = path.startswith("/") and not path.startswith(("//", "/sign-")) and "\\" not in path and path.isprintable() and len(path) < 1_000
    try:
        parts = urlsplit(path)
    except ValueError:
        return "/"
    return path if fine and path.isascii() and not parts.netloc and not parts.scheme else "/"


def _secure(request: Request) -> bool:
    """Whether the browser came by TLS, as the edge or the proxy before it says."""
    return request.headers.get("x-forwarded-proto", request.url.scheme) == "https"


def _address(request: Request) -> str:
    """Where a request comes from; behind the proxy of this machine, what that says, if it is an address."""
    host = request.client.host if request.client else ""
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    try:
        return str(ip_address(forwarded)) if forwarded and host in ("", "127.0.0.1", "::1") else host
    except ValueError:
        return "unknown"


def build(office: Office, *, on_shutdown: Callable[[], None] = lambda: None, sleep: Sleep = asyncio.sleep) -> ASGIApp:
    """The application; see `Console`."""
    return Console(office, on_shutdown=on_shutdown, sleep=sleep)
