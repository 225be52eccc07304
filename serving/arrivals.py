"""From the journal's futures to an event loop: one wake-up for a whole group commit, not one for each of its records."""

import asyncio
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Arrivals:
    """Hands results over to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._arrived: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._called = False

    def wait(self, future: "Future[T]") -> "asyncio.Future[T]":
        """An awaitable for a future that another thread resolves."""
        waiting: asyncio.Future[T] = self.loop.create_future()
        if future.done():
            _hand_over(waiting, future)
        else:
            future.add_done_callback(partial(self._arrive, waiting))
        return waiting

    def _arrive(self, waiting: "asyncio.Future[Any]", future: "Future[Any]") -> None:
        self._arrived.append((waiting, future))
        if not self._called:
            self._called = True
            self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # why: cleared before the queue is emptied, so that what arrives meanwhile calls again rather than being forgotten
        self._called = False
        while self._arrived:
            _hand_over(*self._arrived.popleft())


def _hand_over(waiting: "asyncio.Future[T]", future: "Future[T]") -> None:
    if waiting.done():
        return
    error = future.exception()
    if error is None:
        waiting.set_result(future.result())
    else:
        waiting.set_exception(error)
