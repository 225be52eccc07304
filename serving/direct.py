"""From bytes to bytes: the HTTP protocol of a replica answers requests for one decision itself, all others go their usual way.

A request that goes Ray's way costs it a task, an ASGI cycle, middlewares and several context managers, together more than the decision.
Ray takes the protocol class from uvicorn's configuration, where another may be named; what its own way does for a request beside answering
is to count it, and this does too: scaling and draining go by that count.
"""

import logging
import re
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.app import App
from serving.problems import Answer

MOST_BYTES = 16_384
"""A longer body than this goes the usual way, as does a request that does not come in one piece."""

_PATH = re.compile(rb"/v1/([A-Za-z0-9._-]{1,128})/decisions\Z")
_USUAL = frozenset((b"transfer-encoding", b"expect", b"upgrade"))
_LOG = logging.getLogger(__name__)


class Underway(Protocol):
    """Counts the requests that are under way."""

    def begin(self) -> None:
        """One more."""
        ...

    def end(self) -> None:
        """One less."""
        ...


class DirectProtocol(HttpToolsProtocol):
    """A connection of the HTTP server.

    While a decision of it is under way, what comes next on the same connection (pipelining, which proxies do not do) is not read: the
    connection is closed behind the answer, and the client asks again.

    Args:
        app: answers.
        underway: is told of requests that do not go the usual way.
    """

    def __init__(self, app: App, underway: Underway, **usual: Any) -> None:
        super().__init__(**usual)
        self._answering = app
        self._underway = underway
        self._use_case = ""
        self._body = b""
        self._direct = self._waits = self._closes = False

    def on_headers_complete(self) -> None:
        """The usual way, unless this asks for one decision."""
        if self._waits:
            self._closes = True
            return
        found = _PATH.match(self.url)
        self._direct = (
            found is not None
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and (self.cycle is None or self.cycle.response_complete)
            and not any(name in _USUAL for name, _ in self.headers)
        )
        if found is None or not self._direct:
            super().on_headers_complete()
            return
        self._use_case = found[1].decode()
        self._body = b""

    def on_body(self, body: bytes) -> None:
        """Part of a body, or all of it."""
        if self._direct:
            self._body += body
            if len(self._body) > MOST_BYTES:
                self._go_usual_way()
        elif not self._closes:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        if self._direct:
            self._direct = False
            self._waits = True
            self._underway.begin()
            self._answering.decide_soon(self._use_case, dict(self.headers), self._body, self._answered)
        elif not self._closes:
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """What the socket gave."""
        super().data_received(data)
        if self._direct:
            # why: the rest may come slowly, or be large; the usual way has the limits for that
            self._go_usual_way()

    def _go_usual_way(self) -> None:
        self._direct = False
        super().on_headers_complete()
        if self._body:
            super().on_body(self._body)

    def shutdown(self) -> None:
        """Close, at once or behind the answer that is under way."""
        if self._waits:
            self._closes = True
        else:
            super().shutdown()

    def _answered(self, answer: Answer, request_id: str) -> None:
        self._waits = False
        self._underway.end()
        if self.transport.is_closing():
            return
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *self._answering.headers(answer))]
        if self._closes:
            lines.append(b"connection: close\r\n")
        head = b"x-request-id: %b\r\n\r\n" % request_id.encode()
        self.transport.write(b"".join((STATUS_LINE[answer.status], *lines, head, answer.body)))
        if self._closes:
            self.transport.close()
        self.on_response_complete()


class Counted:
    """Counts in what Ray scales and drains a replica by.

    Args:
        manager: Ray's metrics manager of this replica.
        request: what Ray is told that each request is.
    """

    def __init__(self, manager: Any, request: Any) -> None:
        self._begin: Callable[[Any], None] = manager.inc_num_ongoing_requests
        self._end: Callable[[Any], None] = manager.dec_num_ongoing_requests
        self._request = request

    def begin(self) -> None:
        """One more."""
        self._begin(self._request)

    def end(self) -> None:
        """One less."""
        self._end(self._request)
