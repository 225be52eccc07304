"""A guard before what has no keys of its own: MLflow, Prefect and the metrics: `python -m services.guard mlflow`.

Whoever wants in shows one of the installation's keys, as `Bearer KEY` or as the password of any name, which browsers ask for. One guard for
all, since the way of each of them knows other users and other passwords, and leaves pages open.
"""

import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
import uvicorn

from contracts.errors import Forbidden, OfferloopError, StateRefused, Unauthorized
from contracts.settings import Settings
from services.ports import LOOPBACK
from serving.keys import Keys, Scope, keys_version, read_keys
from storage.layout import Layout

Sent: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Sent]]
Send: TypeAlias = Callable[[Sent], Awaitable[None]]
App: TypeAlias = Callable[[Sent, Receive, Send], Awaitable[None]]

PREFECT = "prefect"
"""The subprotocol in which Prefect's clients send their key as the first message, where they cannot send a header."""

POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class Guarded:
    """What stands behind the guard.

    Attributes:
        app: the application, `module:name`, or with `factory` what makes it.
        looks, acts: scopes, one of which a key must have to read, and to do anything else.
        health: the paths that tell anybody whether it lives.
    """

    app: str
    looks: tuple[Scope, ...]
    acts: tuple[Scope, ...]
    health: tuple[str, ...]
    factory: bool = False


GUARDED: Mapping[str, Guarded] = {
    "mlflow": Guarded("mlflow.server.fastapi_app:app", (Scope.READ, Scope.VIEW, Scope.OPERATE), (Scope.OPERATE,), ("/health",)),
    # why operate to look, too: its API gives out secrets that people keep in its blocks, and whoever changes a deployment runs code here
    "prefect": Guarded("prefect.server.api.server:create_app", (Scope.OPERATE,), (Scope.OPERATE,), ("/api/health",), factory=True),
    "metrics": Guarded("monitoring.exporter:build", (Scope.READ, Scope.OPERATE), (), ("/healthz",), factory=True),
}
"""By service; each listens on its port of the settings, on loopback."""

_HEADERS = {
    b"content-security-policy": b"frame-ancestors 'self'; base-uri 'self'; object-src 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"SAMEORIGIN",
}
_CHALLENGES = (b'Basic realm="Offerloop", charset="UTF-8"', b'Bearer realm="Offerloop"')
_LOG = logging.getLogger(__name__)


class Guard:
    """An ASGI application that lets nothing through to another one but with a key.

    Args:
        app: the other one.
        layout: of the installation whose keys count.
        guarded: what a key must be good for.
    """

    def __init__(self, app: App, layout: Layout, guarded: Guarded) -> None:
        self._app = app
        self._layout = layout
        self._guarded = guarded
        self._keys = Keys(())
        self._read_of: tuple[int, int, int] | None = None

    async def __call__(self, scope: Sent, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Sent, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        reads = scope["method"] in ("GET", "HEAD")
        if not (reads and scope["path"] in self._guarded.health):
            try:
                self._check(headers.get(b"authorization"), self._guarded.looks if reads else self._guarded.acts)
            except Unauthorized as error:
                return await _refuse(send, 401, str(error), tuple((b"www-authenticate", challenge) for challenge in _CHALLENGES))
            except Forbidden as error:
                return await _refuse(send, 403, str(error))
            except OfferloopError as error:
                _LOG.error("keys cannot be read: %s", error)
                return await _refuse(send, 503, "Keys cannot be read now; nothing is let through.")
            if not reads and _elsewhere(headers):
                return await _refuse(send, 403, "This was sent from the page of another site.")
        await self._app(scope, receive, _secured(send))

    async def _websocket(self, scope: Sent, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        sent = headers.get(b"authorization")
        asks_first = sent is None and PREFECT in scope.get("subprotocols", ()) and not headers.get(b"origin")
        try:
            if not asks_first:
                self._check(sent, self._guarded.acts)
            if _elsewhere(headers):
                raise Unauthorized("This was sent from the page of another site")
        except (Unauthorized, Forbidden, StateRefused):
            await receive()
            return await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        await self._app(scope, self._first_checked(receive, send) if asks_first else receive, send)

    def _first_checked(self, receive: Receive, send: Send) -> Receive:
        """Hands nothing on before a first message with a good key; without one, the other side seems gone."""
        state = "connecting"

        async def checked() -> Sent:
            nonlocal state
            message = {"type": "websocket.disconnect", "code": POLICY_VIOLATION} if state == "closed" else await receive()
            if message["type"] == "websocket.receive" and state == "connecting":
                state = "open" if self._holds(message) else "closed"
                if state == "closed":
                    await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "No valid key"})
                    return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
            return message

        return checked

    def _holds(self, message: Sent) -> bool:
        try:
            said = msgspec.json.decode(message.get("text") or message.get("bytes") or b"", type=dict[str, Any])
            # why: Prefect's clients send what they would send as name and password
            key = str(said.get("token")).rpartition(":")[2]
            self._check(f"Bearer {key}".encode(), self._guarded.acts)
        except (msgspec.DecodeError, UnicodeDecodeError, OfferloopError):
            return False
        return said.get("type") == "auth"

    def _check(self, authorization: bytes | None, scopes: tuple[Scope, ...]) -> None:
        name = self._known().check_any(None if authorization is None else authorization.decode("latin-1"), scopes or self._guarded.looks)
        if not scopes:
            raise Forbidden(name, "nothing of the kind")

    def _known(self) -> Keys:
        version = keys_version(self._layout)
        if version != self._read_of:
            self._keys = read_keys(self._layout)
            self._read_of = version
        return self._keys


def _elsewhere(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser sent this from a page of another site, with the password that it keeps for this one."""
    origin = headers.get(b"origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin.decode("latin-1")).netloc != headers.get(b"host", b"").decode("latin-1")
    except ValueError:
        return True


async def _refuse(send: Send, status: int, said: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    body = f"{said}\n".encode()
    head = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store"))
    await send({"type": "http.response.start", "status": status, "headers": [*head, *more, *_HEADERS.items()]})
    await send({"type": "http.response.body", "body": body})


def _secured(send: Send) -> Send:
    async def secured(message: Sent) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", ())}
            added = [(name, value) for name, value in _HEADERS.items() if name not in present]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return secured


def guard(name: str, layout: Layout) -> Guard:
    """The guard of a service, with the service behind it."""
    guarded = GUARDED[name]
    module, _, attribute = guarded.app.partition(":")
    found = getattr(import_module(module), attribute)
    return Guard(found() if guarded.factory else found, layout, guarded)


def main(arguments: list[str]) -> int:
    """Serve what is named, guarded, until told to end."""
    if len(arguments) != 1 or arguments[0] not in GUARDED:
        print(f"usage: python -m services.guard {'|'.join(GUARDED)}", file=sys.stderr)
        return 2
    file = Path("offerloop.toml")
    try:
        settings = Settings.build(file.read_text() if file.exists() else "", os.environ)
        app = guard(arguments[0], Layout(settings.folder))
    except OfferloopError as error:
        print(error, file=sys.stderr)
        return 1
    uvicorn.run(app, host=LOOPBACK, port=getattr(settings.ports, arguments[0]), log_level="warning", server_header=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
