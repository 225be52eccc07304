"""Sending in the background from a program that uses `asyncio`: the event loop never waits."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal

from client.buffer import Buffer, Record
from client.client import PART, Client
from client.messages import Refused


class AsyncBuffer:
    """A `Buffer` to await: what is given is sent by a thread of its own, and who waits for room, or for all to be sent, lets others go on.

    Args:
        client, use_case, kind, age_s, batch, most, on_refused: see `Buffer`; the client is not used by the event loop.

    Example:
        >>> async def tell() -> None:
        ...     with Client("http://127.0.0.1:8000", "key") as client:
        ...         async with AsyncBuffer(client, "shop") as buffer:
        ...             await buffer.put(Event("e-1", "p-1", "purchase", 1_767_268_800_000_000, {"amount_micros": 990_000}))
        >>> asyncio.run(tell())  # doctest: +SKIP
    """

    def __init__(
        self,
        client: Client,
        use_case: str,
        kind: Literal["events", "outcomes"] = "events",
        *,
        age_s: float = 0.2,
        batch: int = PART,
        most: int = 10_000,
        on_refused: Callable[[Sequence[Refused]], None] | None = None,
    ) -> None:
        self._buffer = Buffer(client, use_case, kind, age_s=age_s, batch=batch, most=most, on_refused=on_refused)

    @property
    def waiting(self) -> int:
        """See `Buffer.waiting`."""
        return self._buffer.waiting

    @property
    def accepted(self) -> int:
        """See `Buffer.accepted`."""
        return self._buffer.accepted

    async def put(self, record: Record, timeout_s: float | None = None) -> None:
        """Give a record to be sent, at once while there is room; raises as `Buffer.put`. A cancelled wait may have given it."""
        if not self._buffer.offer(record):
            await asyncio.to_thread(self._buffer.put, record, timeout_s)

    async def flush(self, timeout_s: float | None = None) -> None:
        """Wait until all that was given so far is durable. Raises as `Buffer.flush`."""
        await asyncio.to_thread(self._buffer.flush, timeout_s)

    async def close(self, timeout_s: float = 60.0) -> None:
        """Send all that waits, and end. Raises as `Buffer.close`."""
        await asyncio.to_thread(self._buffer.close, timeout_s)

    async def __aenter__(self) -> "AsyncBuffer":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
