"""The journal: one LMDB environment a machine, shared by its processes, where an answer becomes durable.

A record, the index of its id and its effect on the entity's state commit in one transaction. Each process has one writer
thread that takes all work waiting and commits it as a group: one sync to disk for many callers.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import lmdb

from contracts.errors import StateRefused, StoreUnavailable
from storage.transaction import Read, Write, state_key
from storage.watch import JournalWatch, fail, fill

T = TypeVar("T")

FORMAT: Final = b"3"
GROUP: Final = 256
"""Most works in one commit: bounds what a failing commit takes with it."""
GATHER_S: Final = 0.000_3
"""For how long a group waits for as many works as groups had of late: what a client takes from an answer to its next request."""

Prepare: TypeAlias = Callable[[Read | None], Callable[[Write], T]]
_Asked: TypeAlias = tuple[Callable[[Any], Any], "Future[Any]", bool]
_Work: TypeAlias = tuple[Callable[[Write], Any], "Future[Any]"]
_Outcome: TypeAlias = tuple[Any, BaseException | None]
_OUT_OF_SPACE: Final = (lmdb.MapFullError, lmdb.DiskError, lmdb.TxnFullError)
_TABLES: Final = ("log", "ids", "heads", "tails", "meta")
_OPEN: Final[set[tuple[int, Path]]] = set()
_LOG = logging.getLogger(__name__)


class Journal:
    """The journal of an installation, opened by this process. Open it once a process; close it to end its writer thread.

    Raises:
        StateRefused: the folder holds a journal of another format.
        StoreUnavailable: it cannot be opened at all.
    """

    def __init__(self, path: Path, map_size: int) -> None:
        self._path = path
        self._waiting: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._closed = False
        self._queueing = threading.Lock()
        self._usual = 1.0
        self._own = (os.getpid(), path.resolve())
        if self._own in _OPEN:
            # why: to close any file of a journal lets go of all locks that the process has there, by which others see that it lives
            raise StoreUnavailable(f"the journal {path}", "it is open in this process already")
        try:
            path.mkdir(parents=True, exist_ok=True)
            fill(path / "lock.mdb")
            self._environment = lmdb.open(str(path), map_size=map_size, max_dbs=len(_TABLES), max_readers=512)
        except (lmdb.Error, OSError) as error:
            raise StoreUnavailable(f"the journal {path}", str(error)) from error
        _OPEN.add(self._own)
        try:
            self._environment.reader_check()
            self._watch = JournalWatch(path, self._environment, map_size, self._take_waiting)
        except (lmdb.Error, OSError) as error:
            self._close_environment()
            raise StoreUnavailable(f"the journal {path}", str(error)) from error
        try:
            # why: it writes, and may have to wait for one who was stopped
            self._watch.waits([Future()])
            with self._environment.begin(write=True) as transaction, suppress(StoreUnavailable):
                self._tables = {name: self._environment.open_db(name.encode(), txn=transaction) for name in _TABLES}
                self._watch.begins()
        except lmdb.Error as error:
            self._watch.stop()
            self._close_environment()
            raise StoreUnavailable(f"the journal {path}", str(error)) from error
        self._watch.ends()
        self._watch.tables = tuple(self._tables.values())
        self._heads = self._tables["heads"]
        self._thread = threading.Thread(target=self._commit_groups, name="journal-writer", daemon=True)
        self._thread.start()
        self._watch.writer = self._thread
        try:
            self.write(self._check_format)
        except BaseException:
            self.close()
            raise

    def submit(self, work: Callable[[Write], T]) -> "Future[T]":
        """Queue work for the next group. The future resolves once the group is on disk.

        What `work` raises undoes its own writes alone and is raised by its future. It may be called twice: when another work of its group
        fails after it has written, the whole group is done again, each work apart. It is refused while the journal or the disk is nearly
        full, or while who writes does not come to an end; see `storage.watch`.
        """
        return self._refused() if self._watch.refusal is not None else self._queue(work)

    def submit_prepared(self, prepare: Prepare[T]) -> "Future[T]":
        """Queue work that `prepare` makes from a snapshot, which all of a group share; else as `submit`.

        It is called in the writer's thread before that asks for the one lock by which processes write in turn, so that they may prepare
        at the same time, and so that whoever queues the work need not read. What it raises, the future raises. It is given None where
        nothing can be read now.
        """
        return self._refused() if self._watch.refusal is not None else self._queue(prepare, prepared=True)

    def write(self, work: Callable[[Write], T]) -> T:
        """Do work and wait until it is on disk. It may use what is kept for upkeep when the journal is nearly full."""
        done: T = self._queue(work).result()
        return done

    def refusal(self, *, now: bool = False) -> str | None:
        """Why nothing is taken in; None while all is well. As it was seen last, a quarter of a second ago at most, or as it is `now`."""
        return self._watch.look() if now else self._watch.refusal

    def lost(self) -> str | None:
        """Why this process will not write again until it is started anew; None while it may. Refusing for want of room is not meant."""
        return self._watch.lost()

    def read(self) -> Read:
        """A snapshot to read from, as of now, for a `with` block."""
        try:
            return Read(self._environment.begin(), self._tables)
        except lmdb.Error as error:
            raise StoreUnavailable("the journal", str(error)) from error

    def get_head(self, use_case: str, entity_id: str) -> bytes | None:
        """The head of the online state of an entity as of now, or None; see `Read.get_heads`."""
        with self._environment.begin() as transaction:
            found: Any = transaction.get(state_key(use_case, entity_id), db=self._heads)
        head: bytes | None = found
        return head

    def get_state(self, use_case: str, entity_id: str) -> bytes | None:
        """The online state of an entity as of now, or None."""
        with self.read() as read:
            return read.get_state(use_case, entity_id)

    def trim(self, upto: int) -> int:
        """Forget records up to a position, which must be durable elsewhere; how many there were. Ids and state stay."""
        gone = 0
        while step := self.write(lambda write: write.forget(upto, 5_000)):
            gone += step
        return gone

    def close(self) -> None:
        """Commit what waits, end the writer thread and close the environment."""
        with self._queueing:
            if self._closed:
                return
            self._closed = True
            self._waiting.put(None)
        self._thread.join()
        self._watch.stop()
        self._close_environment()

    def _close_environment(self) -> None:
        self._environment.close()
        _OPEN.discard(self._own)

    def _queue(self, work: Callable[[Any], Any], *, prepared: bool = False) -> "Future[Any]":
        future: Future[Any] = Future()
        with self._queueing:
            if not self._closed:
                self._waiting.put((work, future, prepared))
                return future
        future.set_exception(StoreUnavailable("the journal", "it is closed"))
        return future

    def _refused(self) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_exception(StoreUnavailable("the journal", self._watch.refusal or ""))
        return future

    def _take_waiting(self) -> "list[Future[Any]]":
        taken: list[Future[Any]] = []
        last = False
        # why: the writer takes from it at the same time, and who waits for what the other took would wait for ever
        with suppress(queue.Empty):
            while True:
                entry = self._waiting.get_nowait()
                last = last or entry is None
                taken += [] if entry is None else [entry[1]]
        if last:
            self._waiting.put(None)
        return taken

    def _check_format(self, write: Write) -> None:
        found = write.get_meta("format")
        if found is None:
            write.put_meta("format", FORMAT)
        elif found != FORMAT:
            raise StateRefused(
                str(self._path),
                f"journal has format {found.decode()}, this code reads {FORMAT.decode()}",
                "Use the code that made it; or drain it with that code, move the folder away, and rebuild the features from the tables.",
            )

    def _commit_groups(self) -> None:
        last = False
        while not last:
            group = self._gathered()
            last = None in group
            try:
                self._commit([entry for entry in group if entry is not None and entry[1].set_running_or_notify_cancel()])
            except Exception as error:  # noqa: BLE001  why: without its writer a journal would never answer again
                _LOG.exception("a group could not be written to the journal")
                failure = StoreUnavailable("the journal", f"{type(error).__name__}: {error}")
                fail([entry[1] for entry in group if entry is not None], failure)

    def _gathered(self) -> "list[_Asked | None]":
        """What waits; where groups were larger of late, also what comes within a moment: a commit costs as much for one as for many."""
        group = [self._waiting.get()]
        until_s = time.monotonic() + GATHER_S
        while len(group) < GROUP:
            try:
                group.append(self._waiting.get_nowait())
                continue
            except queue.Empty:
                if len(group) >= 0.9 * self._usual or time.monotonic() >= until_s:
                    break
            with suppress(queue.Empty):
                group.append(self._waiting.get(timeout=GATHER_S / 3))
        self._usual = max(float(len(group)), 0.8 * self._usual)
        return group

    def _prepared(self, asked: "list[_Asked]") -> "list[_Work]":
        """The works to do, those that are to be prepared made from one snapshot."""
        if not any(prepared for _, _, prepared in asked):
            return [(work, future) for work, future, _ in asked]
        try:
            read: Read | None = self.read()
        except StoreUnavailable:
            read = None
        works = []
        with read or nullcontext():
            for work, future, prepared in asked:
                try:
                    works.append((_prepare(work, read) if prepared else work, future))
                except Exception as error:  # noqa: BLE001 - why: it is the caller's, and is raised to him by his future
                    fail([future], error)
        return works

    def _commit(self, asked: "list[_Asked]") -> None:
        self._watch.waits([future for _, future, _ in asked], preparing=True)
        try:
            works = self._prepared(asked)
            self._watch.asks()
            outcomes = self._outcomes(works) if works else []
        finally:
            self._watch.ends()
        for (_, future), (value, failure) in zip(works, outcomes, strict=True):
            # why: the watch may have given it up, and be telling so at this moment
            with suppress(InvalidStateError):
                if failure is None:
                    future.set_result(value)
                else:
                    future.set_exception(failure)

    def _outcomes(self, works: "list[_Work]") -> "list[_Outcome]":
        try:
            return self._together(works) or self._apart(works)
        except StoreUnavailable as error:
            return [(None, error)] * len(works)
        except (lmdb.Error, OSError) as error:
            return [(None, StoreUnavailable("the journal", f"{type(error).__name__}: {error}"))] * len(works)

    def _together(self, works: "list[_Work]") -> "list[_Outcome] | None":
        """Do all works in one transaction and commit it; None, and nothing done, if one failed after it had written something."""
        outcomes: list[_Outcome] = []
        with self._environment.begin(write=True) as transaction:
            self._watch.begins()
            write = Write(transaction, self._tables)
            for work, _ in works:
                before = write.changes
                try:
                    outcomes.append((work(write), None))
                except _OUT_OF_SPACE:
                    raise
                except Exception as error:  # noqa: BLE001 - why: it is the caller's, and is raised to him by his future
                    if write.changes != before:
                        transaction.abort()
                        return None
                    outcomes.append((None, error))
            write.finish()
        return outcomes

    def _apart(self, works: "list[_Work]") -> "list[_Outcome]":
        """Do each work in a transaction within the group's, so that one that fails undoes its own writes alone."""
        with self._environment.begin(write=True) as transaction:
            self._watch.begins()
            return [self._run(transaction, work) for work, _ in works]

    def _run(self, parent: lmdb.Transaction, work: Callable[[Write], T]) -> tuple[T | None, BaseException | None]:
        child = self._environment.begin(parent=parent, write=True)
        try:
            write = Write(child, self._tables)
            value = work(write)
            write.finish()
        except _OUT_OF_SPACE:
            child.abort()
            raise
        except Exception as error:  # noqa: BLE001 - why: it is the caller's, and is raised to him by his future
            child.abort()
            return None, error
        child.commit()
        return value, None


def _prepare(prepare: Prepare[T], read: Read | None) -> Callable[[Write], T]:
    try:
        return prepare(read)
    except lmdb.Error:
        return prepare(None)
