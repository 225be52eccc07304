"""Sending in the background: records are gathered and sent in batches, and whoever gives them waits only when too many wait already."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from math import inf
from types import TracebackType
from typing import Literal, TypeAlias

from client.client import PART, Client
from client.messages import Event, Outcome, Receipt, Refused
from client.wire import RETRIED, Patience
from contracts.errors import InvalidInput, NotDelivered, RequestFailed

Record: TypeAlias = Event | Outcome

TOO_LARGE = 413

_LOG = logging.getLogger(__name__)


class Buffer:
    """Sends events, or outcomes, of one use case in the background. Safe for several threads; close it, or use it in a `with` block.

    Nothing is lost silently. What a passing failure holds up is sent again under the same ids, for as long as the buffer is open. What the
    API refuses for good, or what had no answer when the buffer was closed, comes back with `NotDelivered`, by the next call of any kind.
    What breaks its schema is in the API's quarantine, and is told to `on_refused`, or to the log.

    Args:
        client: stays the caller's, and is not closed.
        use_case: whose records they are.
        kind: what they are.
        age_s: after which a record is sent, even if few wait.
        batch: of so many it is sent at once.
        most: that may wait; whoever gives another waits until there is room.
        on_refused: called in the background with what went to quarantine.

    Example:
        >>> client = Client("http://127.0.0.1:8000", "key")
        >>> with Buffer(client, "shop") as buffer:  # doctest: +SKIP
        ...     buffer.put(Event("e-1", "p-1", "purchase", 1_767_268_800_000_000, {"amount_micros": 990_000}))
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
        if not 0 < batch <= min(most, PART):
            raise InvalidInput("batch", f"is {batch}", f"1 to {min(most, PART)}")
        self._client = client
        self._use_case = use_case
        self._kind = kind
        self._age_s = age_s
        self._batch = self._at_once = batch
        self._most = most
        self._on_refused = on_refused
        self._waiting: deque[tuple[float, Record]] = deque()
        self._lost: list[Record] = []
        self._cause = ""
        self._accepted = self._duplicates = 0
        self._taken = self._settled = 0
        self._hurry = 0
        self._pauses = Patience(inf)
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"buffer-{use_case}-{kind}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records that were given and are neither durable nor given back yet."""
        return self._taken - self._settled

    @property
    def accepted(self) -> int:
        """Records that are durable, those among them that were sent before included."""
        return self._accepted + self._duplicates

    def put(self, record: Record, timeout_s: float | None = None) -> None:
        """Give a record to be sent; waits while too many wait already.

        Args:
            timeout_s: for how long at most; None for as long as it takes.

        Raises:
            NotDelivered: of records given before; this one is not taken then. Or there was no room in time: it is this one alone.
            InvalidInput: the buffer is closed.
        """
        with self._changed:
            self._check()
            if not self._changed.wait_for(lambda: self.waiting < self._most or self._closing or self._lost, timeout_s):
                raise NotDelivered([record], f"{self.waiting} records wait already, and there was no room within {timeout_s} s")
            self._check()
            self._take(record)

    def offer(self, record: Record) -> bool:
        """Give a record to be sent if there is room for it now; whether there was.

        Raises:
            NotDelivered: of records given before; this one is not taken then.
            InvalidInput: the buffer is closed.
        """
        with self._changed:
            self._check()
            room = self.waiting < self._most
            if room:
                self._take(record)
            return room

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until all that was given so far is durable.

        Raises:
            NotDelivered: some of it was refused for good. Or it took longer than `timeout_s`: then `records` is empty, and all is still
                being sent.
        """
        with self._changed:
            until = self._hurry = self._taken
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._settled >= until or self._lost, timeout_s):
                raise NotDelivered([], f"{self.waiting} records still wait after {timeout_s} s, and are being sent")
            self._give_back()

    def close(self, timeout_s: float = 60.0) -> None:
        """Send all that waits, and end. Closing again does nothing.

        Raises:
            NotDelivered: some of it was refused for good, or had no answer in time.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._settled >= self._taken, timeout_s)
            left = [record for _, record in self._waiting]
            if left:
                self._lose(left, self._cause or f"there was no answer within {timeout_s} s")
            self._waiting.clear()
            self._changed.notify_all()
        # why: a try that is under way may take as long as the client is patient; what becomes of it does no harm
        self._thread.join(1.0)
        with self._changed:
            self._give_back()

    def __enter__(self) -> "Buffer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _check(self) -> None:
        self._give_back()
        if self._closing:
            raise InvalidInput("buffer", "is closed", "one that is open")

    def _take(self, record: Record) -> None:
        self._waiting.append((time.monotonic(), record))
        self._taken += 1
        if len(self._waiting) in (1, self._batch):
            self._changed.notify_all()

    def _give_back(self) -> None:
        if self._lost:
            lost, self._lost = self._lost, []
            raise NotDelivered(lost, self._cause)

    def _lose(self, records: Sequence[Record], cause: str) -> None:
        self._lost += records
        self._settled += len(records)
        self._cause = cause

    def _run(self) -> None:
        while batch := self._next():
            try:
                receipt = self._send(batch)
            except RequestFailed as error:
                self._failed(batch, error)
            except Exception as error:  # noqa: BLE001  why: whatever it is, the records are given back with it; the thread goes on
                with self._changed:
                    if self._settle(batch):
                        self._lose(batch, repr(error))
                    self._changed.notify_all()
            else:
                self._sent(batch, receipt)

    def _next(self) -> list[Record]:
        """The records to send next, left where they are until they are settled; none when it is over."""
        with self._changed:
            while True:
                if len(self._waiting) >= self._batch or (self._waiting and (self._closing or self._settled < self._hurry)):
                    break
                if self._waiting:
                    left_s = self._waiting[0][0] + self._age_s - time.monotonic()
                    if left_s <= 0:
                        break
                    self._changed.wait(left_s)
                elif self._closing:
                    return []
                else:
                    self._changed.wait()
            return [record for _, record in islice(self._waiting, self._at_once)]

    def _send(self, batch: list[Record]) -> Receipt:
        if self._kind == "events":
            return self._client.send_events(self._use_case, [record for record in batch if isinstance(record, Event)])
        return self._client.send_outcomes(self._use_case, [record for record in batch if isinstance(record, Outcome)])

    def _sent(self, batch: list[Record], receipt: Receipt) -> None:
        with self._changed:
            self._at_once = self._batch
            self._accepted += receipt.accepted
            self._duplicates += receipt.duplicates
            if self._settle(batch):
                self._settled += len(batch)
            self._changed.notify_all()
        self._pauses = Patience(inf)
        if receipt.quarantined and self._on_refused is not None:
            try:
                self._on_refused(receipt.quarantined)
            except Exception:  # noqa: BLE001  why: what the caller does with them must not end the sending
                _LOG.exception("on_refused failed; %d records of %s are in quarantine", len(receipt.quarantined), self._use_case)
        elif receipt.quarantined:
            first = receipt.quarantined[0]
            _LOG.warning("%d records went to quarantine, the first of them %s: %s", len(receipt.quarantined), first.id, first.reason)

    def _failed(self, batch: list[Record], error: RequestFailed) -> None:
        with self._changed:
            self._cause = str(error)
            if error.status == TOO_LARGE and len(batch) > 1:
                self._at_once = len(batch) // 2
            elif error.status and error.status not in RETRIED:
                if self._settle(batch):
                    self._lose(batch, str(error))
            else:
                # why: what may pass is tried again, once the client's own patience has run out, for as long as anyone waits for it
                pause_s = self._pauses.delay(error.retry_after)
                self._changed.wait_for(lambda: not self._waiting, pause_s)
            self._changed.notify_all()

    def _settle(self, batch: list[Record]) -> bool:
        """Take a batch off; False when closing has given it back already."""
        if not self._waiting:
            return False
        for _ in batch:
            self._waiting.popleft()
        return True
