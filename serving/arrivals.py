"""From the journal's futures to an event loop: one wake-up for a whole group commit, not one for each of its records."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Arrivals:
    """Hands results over to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._arrived: deque[tuple[Callable[[Future[Any]], None], Future[Any]]] = deque()
        self._called = False

    def call(self, future: "Future[T]", then: "Callable[[Future[T]], None]") -> None:
        """Let `then` be called in the loop with a future that another thread resolves, once it has; at once if it has already."""
        if future.done():
            then(future)
        else:
            future.add_done_callback(partial(self._arrive, then))

    def wait(self, future: "Future[T]") -> "asyncio.Future[T]":
        """An awaitable for a future that another thread resolves."""
        waiting: asyncio.Future[T] = self.loop.create_future()
        self.call(future, partial(_hand_over, waiting))
        return waiting

    def _arrive(self, then: "Callable[[Future[Any]], None]", future: "Future[Any]") -> None:
        self._arrived.append((then, future))
        if not self._called:
            self._called = True
            self.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # why: cleared before the queue is emptied, so that what arrives meanwhile calls again rather than being forgotten
        self._called = False
        while self._arrived:
            then, future = self._arrived.popleft()
            self.loop.call_soon(then, future)


def _hand_over(waiting: "asyncio.Future[T]", future: "Future[T]") -> None:
    if waiting.done():
        return
    error = future.exception()
    if error is None:
        waiting.set_result(future.result())
    else:
        waiting.set_exception(error)
