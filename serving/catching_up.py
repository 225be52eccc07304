"""Catching up: before a release with longer windows serves, every state is made anew from the tables, in a thread beside the answers."""

import fcntl
import logging
import threading
from collections.abc import Callable, Mapping

from contracts.errors import OfferloopError
from contracts.tables import EVENTS
from features.coverage import Coverage, cover, keep, read_coverage
from features.online import OnlineFeatures
from features.rebuild import rebuild
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables
from use_cases.definition import UseCase

WAITING = "waits until its features are made from the tables"

_SETTLE_S = 1.0
"""How long other processes may take to keep events for longer, too: several looks at the traffic plan."""
_RETRY_S = 30.0
_LOG = logging.getLogger(__name__)


class CatchingUp:
    """Knows how far back the states of a use case reach, and has them made anew where that is not far enough.

    Any number of processes may ask at once: one does it, the others wait for what it writes down.

    Args:
        layout: of the installation.
        journal: of the installation.
        online: gives what makes the states of a use case, as it is at the moment.
    """

    def __init__(self, layout: Layout, journal: Journal, online: Callable[[str], OnlineFeatures]) -> None:
        self._layout = layout
        self._journal = journal
        self._online = online
        self._tables = Tables(layout.tables)
        self._stop = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        position = self._tables.manifest().position
        with journal.read() as read:
            lost = read.last_position() < position
        if lost:
            _LOG.error("the journal is not the one that the tables were drained from; it goes on behind position %d", position)
            journal.write(lambda write: write.continue_behind(position))

    def kept(self, use_case: str) -> Mapping[str, int]:
        """How long events of each type are to be kept, by what was ever asked for."""
        return self._read(use_case).kept

    def covers(self, use_case: UseCase, needed: Mapping[str, int]) -> bool:
        """Whether states hold what windows of these lengths count; if not, they will, and are kept so from now on."""
        coverage = self._read(use_case.name)
        if not coverage.covers(needed):
            empty = not self._tables.files(use_case.name, EVENTS)
            coverage = self._journal.write(lambda write: keep(write, use_case.name, needed, empty=empty))
        if coverage.covers(needed):
            return True
        thread = self._threads.get(use_case.name)
        if thread is None or not thread.is_alive():
            thread = threading.Thread(target=self._run, args=(use_case,), name=f"catching-up-{use_case.name}", daemon=True)
            self._threads[use_case.name] = thread
            thread.start()
        return False

    def stop(self) -> None:
        """Let what is under way end at its next part."""
        self._stop.set()
        for thread in self._threads.values():
            thread.join()

    def _run(self, use_case: UseCase) -> None:
        if self._stop.wait(_SETTLE_S):
            return
        try:
            self._catch_up(use_case)
        except OfferloopError:
            _LOG.exception("the features of %s were not made from the tables; tried again in %d s", use_case.name, _RETRY_S)
            self._stop.wait(_RETRY_S)

    def _catch_up(self, use_case: UseCase) -> None:
        self._layout.run.mkdir(parents=True, exist_ok=True)
        with (self._layout.run / f"catching-up.{use_case.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            coverage = self._read(use_case.name)
            if coverage.covers(coverage.kept) or self._stop.is_set():
                return
            online = self._online(use_case.name)
            report = rebuild(self._journal, self._tables, use_case.schema, online, stopped=self._stop.is_set)
            if self._stop.is_set():
                return
            self._journal.write(lambda write: cover(write, use_case.name, coverage.kept))
            _LOG.info("%s: %d states made anew from %d events of the tables", use_case.name, report.entities, report.events)

    def _read(self, use_case: str) -> Coverage:
        with self._journal.read() as read:
            return read_coverage(read, use_case)
