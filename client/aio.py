"""The client for many requests a second: asyncio, plain HTTP/1.1 on kept connections, next to nothing between call and socket."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import httptools
import msgspec

from client import wire
from client.messages import Answer, Ask, Event, HookReceipt, Outcome, Receipt
from contracts.errors import InvalidInput, RequestFailed
from contracts.records import Decision, FieldValue

PART = 500
"""Most records in one request."""

_HEADER = wire.RETRY_AFTER.encode()


class AsyncClient:
    """The asyncio twin of `Client`, for one event loop.

    Args:
        base_url: such as `http://127.0.0.1:8000`; `https` works too.
        api_key: the installation's key.
        connections: most at once; further calls wait for a free one.
        timeout_s: of one try.
        patience_s: for how long to go on trying.
        ca_file: certificate authorities in PEM that the server's certificate must be from; empty for the machine's own.

    Raises:
        InvalidInput: `base_url` is none, or `ca_file` is not readable.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str = "",
        connections: int = 32,
        timeout_s: float = 10.0,
        patience_s: float = 30.0,
        *,
        ca_file: str = "",
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise InvalidInput("base_url", f"is {base_url!r}", "such as http://127.0.0.1:8000")
        self._host = url.hostname
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._tls = wire.tls(ca_file) if url.scheme == "https" else None
        self._prefix = url.path.rstrip("/")
        key = f"authorization: Bearer {api_key}\r\n" if api_key else ""
        self._headers = f"host: {url.netloc}\r\ncontent-type: application/json\r\n{key}"
        self._slots = asyncio.Semaphore(connections)
        self._idle: deque[_Connection] = deque()
        self._timeout_s = timeout_s
        self._patience_s = patience_s

    async def decide(
        self, use_case: str, entity_id: str, context: Mapping[str, FieldValue] | None = None, decision_id: str | None = None
    ) -> Answer:
        """What to show an entity now.

        Raises:
            RequestFailed: refused, or no answer within the client's patience.
        """
        return wire.read_answer(await self._send(wire.decide(use_case, Ask(entity_id, context or {}, decision_id))))

    async def decide_many(self, use_case: str, asks: Iterable[Ask]) -> list[Answer]:
        """Answers to many, in their order.

        Raises:
            RequestFailed: as `decide`.
        """
        return [
            answer for part in wire.parts(asks, PART) for answer in wire.read_answers(await self._send(wire.decide_many(use_case, part)))
        ]

    async def send_events(self, use_case: str, events: Iterable[Event]) -> Receipt:
        """Send events; those that break their schema are in the receipt.

        Raises:
            RequestFailed: as `decide`.
        """
        return await self._send_records(use_case, "events", events)

    async def send_outcomes(self, use_case: str, outcomes: Iterable[Outcome]) -> Receipt:
        """Send outcomes; those that cannot be credited are in the receipt.

        Raises:
            RequestFailed: as `decide`.
        """
        return await self._send_records(use_case, "outcomes", outcomes)

    async def decision(self, use_case: str, decision_id: str) -> Decision:
        """A decision's row of the log.

        Raises:
            RequestFailed: as `decide`; with status 404 when it is not there.
        """
        return msgspec.json.decode(await self._send(wire.decision(use_case, decision_id)), type=Decision)

    async def trigger(self, name: str, payload: Mapping[str, Any], secret: str, hook_id: str | None = None) -> HookReceipt:
        """Start a flow by its signed webhook.

        Raises:
            RequestFailed: as `decide`.
        """
        return wire.read_hook(await self._send(wire.hook(name, payload, secret, hook_id)))

    async def close(self) -> None:
        """Close the connections that are free."""
        while self._idle:
            self._idle.pop().close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _send_records(self, use_case: str, kind: str, sent: Iterable[Event] | Iterable[Outcome]) -> Receipt:
        receipts = [wire.read_receipt(await self._send(wire.records(use_case, kind, part))) for part in wire.parts(sent, PART)]
        return wire.joined(receipts, PART)

    async def _send(self, request: wire.Request) -> bytes:
        extra = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
        head = (
            f"{request.method} {self._prefix}{request.path} HTTP/1.1\r\n{self._headers}{extra}content-length: {len(request.body)}\r\n\r\n"
        )
        message = head.encode() + request.body
        patience = wire.Patience(self._patience_s)
        while True:
            try:
                status, retry_after, body = await self._try(message)
            except (OSError, EOFError, TimeoutError, httptools.HttpParserError) as error:
                failed = RequestFailed(f"{request.method} {request.path}", 0, f"no answer ({error!r})")
                retry_after = None
            else:
                if 200 <= status < 300:
                    return body
                failed = wire.failure(request, status, body)
                failed.retry_after = retry_after
                if status not in wire.RETRIED:
                    raise failed
            delay = patience.delay(retry_after)
            if delay is None:
                raise failed
            await asyncio.sleep(delay)

    async def _try(self, message: bytes) -> "_Exchanged":
        async with self._slots:
            connection = await self._connected()
            try:
                answer = await connection.exchange(message, self._timeout_s)
            except BaseException:
                connection.close()
                raise
            if connection.kept:
                self._idle.append(connection)
            else:
                connection.close()
            return answer

    async def _connected(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.kept:
                return connection
            connection.close()
        async with asyncio.timeout(self._timeout_s):
            loop = asyncio.get_running_loop()
            _, made = await loop.create_connection(_Connection, self._host, self._port, ssl=self._tls)
        return made


_Exchanged: TypeAlias = tuple[int, str | None, bytes]
"""Status, `Retry-After`, body."""


class _Connection(asyncio.Protocol):
    """One kept connection, one exchange at a time. `kept` says whether it can take another."""

    kept = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[_Exchanged] | None = None
        self.kept = True

    async def exchange(self, message: bytes, timeout_s: float) -> _Exchanged:
        waiting: asyncio.Future[_Exchanged] = self._loop.create_future()
        self._waiting = waiting
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._retry_after: str | None = None
        self._transport.write(message)
        alarm = self._loop.call_later(timeout_s, self._fail, TimeoutError(f"nothing for {timeout_s} s"))
        try:
            return await waiting
        finally:
            alarm.cancel()
            self._waiting = None

    def close(self) -> None:
        self.kept = False
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or EOFError("the connection was closed"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == _HEADER:
            self._retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.kept = self.kept and self._parser.should_keep_alive()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((self._parser.get_status_code(), self._retry_after, b"".join(self._body)))

    def _fail(self, error: Exception) -> None:
        self.kept = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
