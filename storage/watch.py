"""The watch over a journal's writer: nobody waits for ever for a commit, and the last room is kept for what makes room again.

LMDB lets one process of the machine write at a time. One that is stopped while it writes (SIGSTOP, a suspended container) would hold up all
others without end; one that is killed does not, since the lock is then passed on. So who writes is noted in a file that all map, works that
wait for longer than `STALLED_S` are given up, and a writer that has been stopped for `MOST_STOPPED_S` is killed.

A process that was killed while it read would keep every page that is freed from then on, until the map is full: its place is cleared here.
"""

import hashlib
import logging
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from pathlib import Path
from typing import Any

import lmdb

from contracts.errors import StoreUnavailable, Unconfirmed

STALLED_S = 5.0
"""For how long a work may wait for its turn to be written; then it is given up, and nothing of it was kept."""

UNSYNCED_S = 10.0
"""For how long a commit may take; then its callers are told that it is not known."""

MOST_STOPPED_S = 8.0
"""For how long others wait for a process that was stopped while it wrote; then it is killed."""

LOST_S = 30.0
"""A group whose preparing takes this long will not come to an end: nothing but a new process writes again."""

LOOK_S = 0.25

ENDED = "its writer has ended"

_NOTE = struct.Struct("<qq16s")
_LOG = logging.getLogger(__name__)


class JournalWatch:
    """Watches one process's writer from a thread of its own.

    Attributes:
        refusal: why nothing more is taken in now; None while all is well. It is read at every request, and nothing is locked for that.
        tables: of the environment, once they are open: what is in them is what the journal holds.
        writer: the thread that writes, once it was started.

    Args:
        path: the journal's folder.
        environment: as this process opened it.
        map_size: of it, in bytes.
        waiting: takes the works out of the queue that wait behind the group that is written, and gives their futures.
    """

    def __init__(
        self,
        path: Path,
        environment: lmdb.Environment,
        map_size: int,
        waiting: Callable[[], "list[Future[Any]]"],
    ) -> None:
        self.refusal: str | None = None
        self.tables: Sequence[Any] = ()
        self.writer: threading.Thread | None = None
        self._path = path
        self._environment = environment
        self._map_size = map_size
        self._waiting = waiting
        self._note = _noted(path / "writer")
        self._own = _identity(os.getpid())
        self._lock = threading.Lock()
        self._group: Sequence[Future[Any]] = ()
        self._since_s = 0.0
        self._preparing = self._begun = self._given_up = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="journal-watch", daemon=True)
        self._thread.start()

    def waits(self, group: "Sequence[Future[Any]]", *, preparing: bool = False) -> None:
        """Called before the writer asks for its turn, or before it prepares what it will write."""
        with self._lock:
            self._group, self._since_s = group, time.monotonic()
            self._preparing, self._begun, self._given_up = preparing, False, False

    def asks(self) -> None:
        """Called when all is prepared, before the writer asks for its turn."""
        self._preparing = False

    def begins(self) -> None:
        """Called when the writer has its turn.

        Raises:
            StoreUnavailable: its works were given up meanwhile, so nothing is to be written.
        """
        self._note[: _NOTE.size] = self._own
        if self._begun:
            return
        with self._lock:
            if self._given_up:
                raise StoreUnavailable("the journal", "its writer waited too long for its turn")
            self._begun = True

    def ends(self) -> None:
        """Called when the group is written, or has failed."""
        with self._lock:
            self._group = ()

    def stop(self) -> None:
        """End the watching."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self.refusal = self.look()
            except Exception:  # noqa: BLE001  why: who watches no more would let everyone wait for ever at the next stall
                _LOG.exception("the journal could not be watched")

    def look(self) -> str | None:
        """Look once: give up what waits for too long, and say why nothing should be taken in now, if so."""
        with self._lock:
            waited_s = time.monotonic() - self._since_s if self._group else 0.0
            begun, group = self._begun, list(self._group)
            if waited_s > (UNSYNCED_S if begun else STALLED_S):
                self._given_up = True
            given_up = self._given_up and bool(group)
        if self.writer is not None and not self.writer.is_alive():
            fail(self._waiting(), StoreUnavailable("the journal", ENDED))
            return ENDED
        if not given_up:
            self._environment.reader_check()
            return nearly_full(self._environment, self.tables, self._path, self._map_size)
        if begun:
            fail(group, Unconfirmed("the journal", waited_s))
            reason = f"a commit has taken more than {UNSYNCED_S:.0f} s"
        else:
            waited_for = "what is to be written" if self._preparing else "their turn"
            reason = f"its writers have waited for more than {STALLED_S:.0f} s for {waited_for}"
            fail(group, StoreUnavailable("the journal", reason))
            if waited_s > MOST_STOPPED_S and not self._preparing:
                self._end_stopped_writer()
        fail(self._waiting(), StoreUnavailable("the journal", reason))
        return reason

    def lost(self) -> str | None:
        """Why this process will not write again, whatever comes; None while it may. What holds up other processes as well is not meant."""
        if self.writer is not None and not self.writer.is_alive():
            return ENDED
        with self._lock:
            hung_s = time.monotonic() - self._since_s if self._group and self._preparing else 0.0
        return f"what it writes has been prepared for {hung_s:.0f} s" if hung_s > LOST_S else None

    def _end_stopped_writer(self) -> None:
        noted = self._note[: _NOTE.size]
        pid = _NOTE.unpack(noted)[0]
        if pid > 0 and pid != os.getpid() and noted == _identity(pid) and _stopped(pid):
            _LOG.error("process %d was stopped while it wrote to the journal, and holds up all others: it is killed", pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                _LOG.exception("process %d could not be killed", pid)


def nearly_full(environment: lmdb.Environment, tables: Sequence[Any], path: Path, map_size: int) -> str | None:
    """Why nothing more should be taken in, since what is left of the journal or of the disk is for draining; None while there is room."""
    with environment.begin() as transaction:
        stats = [transaction.stat(table) for table in tables]
    used = sum(stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) for stat in stats)
    if used > map_size - reserve(map_size):
        return f"it holds {used // 2**20} MiB of {map_size // 2**20}: drain it, or raise store.map_size_bytes and start again"
    disk = os.statvfs(path)
    free, kept = disk.f_bavail * disk.f_frsize, min(64 * 2**20, disk.f_blocks * disk.f_frsize // 50)
    return f"the disk has {free // 2**20} MiB left: make room" if free < kept else None


def reserve(map_size: int) -> int:
    """Bytes of a journal that are kept for draining, for making states anew and for forgetting.

    Example:
        >>> reserve(2**34) // 2**20, reserve(2**26) // 2**20
        (1024, 16)
    """
    return min(max(map_size // 16, 16 * 2**20), map_size // 4)


def fill(path: Path) -> None:
    """Let the disk give every page of a file that processes map, since a page that it cannot give later ends whoever touches it."""
    if path.exists():
        descriptor = os.open(path, os.O_RDWR)
        try:
            if size := os.fstat(descriptor).st_size:
                os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)


def _noted(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, mmap.PAGESIZE)
        return mmap.mmap(descriptor, mmap.PAGESIZE)
    finally:
        os.close(descriptor)


def _identity(pid: int) -> bytes:
    """What tells a process from every other one that has or had its number: when it began, the boot, and whose numbers they are."""
    state = _state(pid)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    whose = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return _NOTE.pack(pid, int(state[19]) if state else 0, hashlib.sha256(whose.encode()).digest()[:16])


def _stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal; one that a debugger holds is not meant."""
    return _state(pid)[:1] == ["T"]


def _state(pid: int) -> list[str]:
    """What Linux says of a process, from the third field of `/proc/PID/stat` on; nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def fail(futures: "Sequence[Future[Any]]", error: Exception) -> None:
    """Let futures raise an error, but for those that have resolved already."""
    for future in futures:
        try:
            future.set_exception(error)
        except InvalidStateError:
            continue
