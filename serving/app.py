"""The HTTP face of the decision service: a bare ASGI application, since a framework before the hot path costs as much as the path."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import Future
from dataclasses import replace
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

import msgspec

from contracts.errors import InvalidInput, NotReady, TooLarge
from contracts.metrics import REQUEST_SECONDS, REQUESTS, ROUTES
from contracts.records import Decision
from serving import openapi, routes
from serving.admission import STARTED, Admission
from serving.arrivals import Arrivals
from serving.hooks import MOST_BYTES, Hooks
from serving.intake import read_events, read_outcomes, receipt
from serving.lifespan import answer_lifespan
from serving.messages import DecisionAnswer, DecisionRequest, DecisionsAnswer, DecisionsRequest, Health, is_id, read
from serving.problems import Answer, Refusal, problem_of
from serving.problems import Headers as Pairs
from serving.routes import Found, Route, find
from serving.service import DecisionService

T = TypeVar("T")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = Mapping[bytes, bytes]
Handler: TypeAlias = Callable[[Mapping[str, str], Headers, bytes], Awaitable[Answer]]

BATCH_PART = 64
"""Decisions of a batch that are asked for at once, to be read from one snapshot and committed together: others go on between two parts."""

_LOG = logging.getLogger(__name__)


class _Gone(Exception):
    """The client left before it had sent its request."""


class App:
    """The application over one service.

    Args:
        service: started by the caller.
        hooks: takes webhooks.
        echo_request_id: whether to put `X-Request-ID` on responses; Ray Serve does that itself.
        on_shutdown: called when the server ends.
    """

    def __init__(
        self, service: DecisionService, hooks: Hooks, *, echo_request_id: bool = True, on_shutdown: Callable[[], None] = lambda: None
    ) -> None:
        self._service = service
        self._hooks = hooks
        self._echo = echo_request_id
        self._on_shutdown = on_shutdown
        self._settings = service.settings.serving
        self._arrivals: Arrivals | None = None
        # why: twice what the edge sends at once, since two of its processes are at work for a moment when it is configured anew
        self.admission = Admission(
            2 * self._settings.max_ongoing_requests,
            self._settings.queue_timeout_s,
            lambda key: service.keys.rate(key) or service.settings.serving.requests_per_key_s,
        )
        self._handlers: dict[str, Handler] = {
            "decisions": self._decide,
            "decisions_batch": self._decide_many,
            "events": self._events,
            "outcomes": self._outcomes,
            "decision": self._decision,
            "hooks": self._hook,
            "status": self._status,
            "health": self._health,
            "ready": self._ready,
            "openapi": self._openapi,
            "docs": self._docs,
            "index": self._index,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await answer_lifespan(receive, send, self._on_shutdown)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    def decide_soon(self, use_case: str, headers: Headers, body: bytes, done: Callable[[Answer, str], None]) -> None:
        """Answer a request of the route `decisions` without a task of its own: what `__call__` does, from bytes to bytes.

        Args:
            use_case: from the path.
            headers: of the request, names in lower case.
            body: whole.
            done: called once, in the running event loop, with the answer and the request's id.
        """
        started = perf_counter()
        request_id = _request_id(headers)
        key = ""
        quota: Pairs | None = None

        def finish(answer: Answer) -> None:
            if quota is not None:
                self.admission.leave(key)
            self._measure(_DECISIONS_ROUTE.name, answer, started)
            done(answer, request_id)

        def durable(future: "Future[Decision]") -> None:
            try:
                answer = self._decided(future.result())
                answer = replace(answer, headers=quota) if quota else answer
            except Exception as error:  # noqa: BLE001  why: as in `_http`
                answer = _problem(error, request_id)
            finish(answer)

        try:
            key = self._admit(_DECISIONS_ROUTE, headers)
            if len(body) > self._settings.max_body_bytes:
                raise TooLarge("the body", self._settings.max_body_bytes, "bytes")
            quota = self.admission.enter(key, headers.get(STARTED))
            future = self._submit(use_case, body)
        except Exception as error:  # noqa: BLE001  why: as in `_http`
            finish(_problem(error, request_id))
        else:
            self._here().call(future, durable)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        headers: Headers = dict(scope["headers"])
        request_id = _request_id(headers)
        label = ""
        try:
            route, values = _found(scope["method"], scope["path"])
            label = route.name
            answer = await self._answer(route, values, headers, receive)
        except _Gone:
            return
        except Exception as error:  # noqa: BLE001  why: the edge of the system; whatever it is becomes a problem here, and its trace a log entry
            answer = _problem(error, request_id)
        self._measure(label, answer, started)
        await self._send(send, answer, request_id)

    def _measure(self, label: str, answer: Answer, started: float) -> None:
        if label in ROUTES:
            self._service.metrics.add(REQUESTS, label, str(answer.status))
            self._service.metrics.observe(REQUEST_SECONDS, label, value=perf_counter() - started)

    def _admit(self, route: Route, headers: Headers) -> str:
        """Whose key it is; empty where none is needed."""
        key = ""
        if route.scope is not None and self._settings.require_key:
            sent = headers.get(b"authorization")
            key = self._service.keys.check(None if sent is None else sent.decode("latin-1"), route.scope)
        if route.method == "POST":
            # why: a browser that was once given the key as a password would send it along from any site's page
            if headers.get(b"sec-fetch-site", b"none") in (b"cross-site", b"same-site"):
                raise Refusal("foreign", "A page of another site may not do this.")
            kind = headers.get(b"content-type", b"application/json").lower()
            if not kind.startswith(b"application/json"):
                raise Refusal("media-type", "The body must be sent as application/json.")
        return key

    async def _answer(self, route: Route, values: Mapping[str, str], headers: Headers, receive: Receive) -> Answer:
        key = self._admit(route, headers)
        body = b""
        if route.method == "POST":
            body = await self._body(headers, receive, MOST_BYTES if route.signed else self._settings.max_body_bytes)
        if route.scope is None:
            return await self._handlers[route.name](values, headers, body)
        quota = self.admission.enter(key, headers.get(STARTED))
        try:
            answer = await self._handlers[route.name](values, headers, body)
        finally:
            self.admission.leave(key)
        return replace(answer, headers=(*answer.headers, *quota)) if quota else answer

    async def _body(self, headers: Headers, receive: Receive, most: int) -> bytes:
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise TooLarge("the body", most, "bytes")
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > most:
                raise TooLarge("the body", most, "bytes")
            return body
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                return await _rest(message, receive, most)
        except TimeoutError as error:
            raise Refusal("slow", f"The body did not arrive within {self._settings.request_timeout_s} s.") from error

    async def _decide(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        return self._decided(await self._wait(self._submit(values["use_case"], body)))

    def _submit(self, use_case: str, body: bytes) -> "Future[Decision]":
        asked = read(_DECISION, body)
        return self._service.submit(use_case, asked.entity_id, asked.context, asked.decision_id)

    def _decided(self, decision: Decision) -> Answer:
        return Answer(200, _ENCODER.encode(self._service.answer(decision)))

    async def _decide_many(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        asked = read(_DECISIONS, body).requests
        if len(asked) > self._settings.max_batch:
            raise TooLarge(f"a batch of {len(asked)} requests", self._settings.max_batch, "requests")
        decisions: list[DecisionAnswer] = []
        for start in range(0, len(asked), BATCH_PART):
            part = asked[start : start + BATCH_PART]
            futures = [self._service.submit(values["use_case"], one.entity_id, one.context, one.decision_id) for one in part]
            decisions += [self._service.answer(await self._wait(future)) for future in futures]
        return Answer(200, _ENCODER.encode(DecisionsAnswer(decisions)))

    async def _events(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        futures = self._service.submit_events(values["use_case"], read_events(body, self._settings.max_batch))
        return Answer(200, _ENCODER.encode(receipt([await self._wait(future) for future in futures])))

    async def _outcomes(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        futures = self._service.submit_outcomes(values["use_case"], read_outcomes(body, self._settings.max_batch))
        return Answer(200, _ENCODER.encode(receipt([await self._wait(future) for future in futures])))

    async def _decision(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        decision_id = values["decision_id"]
        if not is_id(decision_id):
            raise InvalidInput("decision_id", "is no id", "1 to 128 characters of A-Z a-z 0-9 . _ : -")
        return Answer(200, _ENCODER.encode(self._service.decision(values["use_case"], decision_id)))

    async def _hook(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        texts = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        taken = await asyncio.to_thread(self._hooks.take, values["name"], texts, body)
        return Answer(202, _ENCODER.encode(taken))

    async def _status(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        return Answer(200, _ENCODER.encode(self._service.status()))

    async def _health(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        return Answer(200, _ENCODER.encode(Health("alive")))

    async def _ready(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        self.check_health()
        if not self._service.ready():
            raise NotReady("the service", "a use case has no release that can serve yet")
        return Answer(200, _ENCODER.encode(Health("ready")))

    async def _openapi(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        return Answer(200, _ENCODER.encode(openapi.document()))

    async def _docs(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        return Answer(200, openapi.page(), _HTML)

    async def _index(self, values: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        return Answer(200, openapi.index(), _HTML)

    def _wait(self, future: "Future[T]") -> "Awaitable[T]":
        return self._here().wait(future)

    def _here(self) -> Arrivals:
        loop = asyncio.get_running_loop()
        if self._arrivals is None or self._arrivals.loop is not loop:
            self._arrivals = Arrivals(loop)
        return self._arrivals

    def check_health(self) -> None:
        """Raise what another process must take this one's place for.

        Raises:
            NotReady: that there is something.
        """
        if lost := self._service.lost():
            raise NotReady("this replica", f"another will take its place, since {lost}")

    def headers(self, answer: Answer) -> list[tuple[bytes, bytes]]:
        """The headers of an answer, but for the request's id."""
        length = (b"content-length", b"%d" % len(answer.body))
        headers = [*_JSON, length] if answer.content_type == _JSON_TYPE else [(b"content-type", answer.content_type), *_SECURITY, length]
        headers += answer.headers
        return headers

    async def _send(self, send: Send, answer: Answer, request_id: str) -> None:
        headers = self.headers(answer)
        if self._echo:
            headers.append((b"x-request-id", request_id.encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


async def _rest(message: Message, receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > most:
            raise TooLarge("the body", most, "bytes")
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def _found(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    found = find("GET" if method == "HEAD" else method, path)
    if isinstance(found, Found):
        return found.route, found.values
    if not found:
        raise Refusal("no-such-path", "There is nothing at this path. /docs says what there is.")
    allowed = ", ".join(found)
    raise Refusal("method", f"Only {allowed} here.", ((b"allow", allowed.encode()),))


def _problem(error: Exception, request_id: str) -> Answer:
    answer = problem_of(error, request_id)
    if answer.status == 500:
        _LOG.error("request %s failed", request_id, exc_info=error)
    return answer


def _request_id(headers: Headers) -> str:
    sent = headers.get(b"x-request-id", b"").decode("latin-1")
    return sent if is_id(sent) else secrets.token_hex(8)


_DECISIONS_ROUTE = next(route for route in routes.ROUTES if route.name == "decisions")
_ENCODER = msgspec.json.Encoder()
_DECISION = msgspec.json.Decoder(DecisionRequest)
_DECISIONS = msgspec.json.Decoder(DecisionsRequest)
_HTML = b"text/html; charset=utf-8"
_SECURITY = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", f"default-src 'none'; style-src 'sha256-{openapi.style_digest()}'; frame-ancestors 'none'".encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_JSON_TYPE = b"application/json"
_JSON = ((b"content-type", _JSON_TYPE), *_SECURITY)
