"""Sending in the background from a program that uses `asyncio`: the event loop never waits."""

import asyncio
from types import TracebackType

from client.buffer import Buffer, Record


class AsyncBuffer:
    """A `Buffer` to await: who waits for room, or for all to be sent, lets others go on.

    Args:
        buffer: sends, by a thread of its own and with a `Client`; it is closed with this.

    Example:
        >>> async def tell() -> None:
        ...     with Client("http://127.0.0.1:8000", "key") as client:
        ...         async with AsyncBuffer(Buffer(client, "shop")) as buffer:
        ...             await buffer.put(Event("e-1", "p-1", "purchase", 1_767_268_800_000_000, {"amount_micros": 990_000}))
        >>> asyncio.run(tell())  # doctest: +SKIP
    """

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

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
