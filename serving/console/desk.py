"""What the console reads: the installation as its operator sees it, opened once a process; and what its pages share."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from types import TracebackType

import msgspec

from contracts.clock import Clock
from contracts.errors import BundleRefused, NotFound
from contracts.settings import Settings
from contracts.traffic import CANARY, TrafficPlan
from releases.bundle import Bundle, read_bundle
from releases.inbox import Inbox
from releases.ledger import Ledger, LedgerRow, ReleaseRow
from serving.live import Release, load_release
from serving.operations import Desk
from storage.installation import open_installation
from storage.journal import Journal
from storage.layout import Layout
from storage.measures import Measures, UseCaseMeasures
from storage.measures import read as read_measures
from storage.rollouts import CanaryMeasure, read_rollouts
from storage.tables import Tables
from use_cases.definition import UseCase, load_all

MOST_KEPT = 12
"""Bundles, and releases made ready, that are kept in memory."""

PAGE = 500


@dataclass(frozen=True, slots=True)
class Known:
    """A release as pages list it. `bundle` is None where it cannot be read, and `damage` says why."""

    row: ReleaseRow
    bundle: Bundle | None
    damage: str


class Office:
    """All that pages are made from. Its methods block on the disk: not for an event loop.

    Args:
        settings: of the installation.
        use_cases: by name; those of the settings by default.
    """

    def __init__(self, settings: Settings, use_cases: Mapping[str, UseCase] | None = None) -> None:
        self.settings = settings
        self.layout = Layout(settings.folder)
        self.use_cases = load_all(settings.use_cases, settings.approvers) if use_cases is None else use_cases
        self.clock: Clock = open_installation(self.layout, settings.clock).clock
        self.ledger = Ledger(self.layout.ledger)
        self.inbox = Inbox(self.layout.ledger)
        self.journal = Journal(self.layout.journal, settings.store.map_size_bytes)
        self.tables = Tables(self.layout.tables)
        self.desk = Desk(self.layout, self.ledger, self.use_cases, self.clock)
        self._bundles: OrderedDict[str, Bundle] = OrderedDict()
        self._ready: OrderedDict[str, Release] = OrderedDict()
        self._lock = Lock()

    def close(self) -> None:
        """Close the stores."""
        self.journal.close()
        self.inbox.close()
        self.ledger.close()

    def __enter__(self) -> "Office":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def use_case(self, name: str) -> UseCase:
        """A use case that runs here.

        Raises:
            NotFound: none of that name does.
        """
        if name not in self.use_cases:
            raise NotFound("use case", name[:80], tuple(self.use_cases))
        return self.use_cases[name]

    def release(self, use_case: str, release_id: str) -> ReleaseRow:
        """Where a release stands.

        Raises:
            NotFound: it was never registered for this use case.
        """
        found = next((row for row in self.ledger.releases(use_case) if row.release_id == release_id), None)
        if found is None:
            raise NotFound(f"release of {use_case}", release_id[:80])
        return found

    def bundle(self, release_id: str) -> Bundle:
        """A bundle, verified when it was read first.

        Raises:
            BundleRefused: it is damaged or not there.
        """
        with self._lock:
            if release_id in self._bundles:
                self._bundles.move_to_end(release_id)
                return self._bundles[release_id]
        bundle = read_bundle(self.layout.bundles, release_id)
        with self._lock:
            self._bundles[release_id] = bundle
            while len(self._bundles) > 4 * MOST_KEPT:
                self._bundles.popitem(last=False)
        return bundle

    def known(self, row: ReleaseRow) -> Known:
        """A release with its bundle, if that can be read."""
        try:
            return Known(row, self.bundle(row.release_id), "")
        except BundleRefused as error:
            return Known(row, None, error.reason)

    def ready(self, use_case: UseCase, release_id: str) -> Release:
        """A release made ready to decide.

        Raises:
            BundleRefused: it is damaged, or cannot decide here what it decided.
        """
        with self._lock:
            if release_id in self._ready:
                self._ready.move_to_end(release_id)
                return self._ready[release_id]
        release = load_release(self.layout, use_case, release_id)
        with self._lock:
            self._ready[release_id] = release
            while len(self._ready) > MOST_KEPT:
                self._ready.popitem(last=False)
        return release

    def plan(self, use_case: str) -> TrafficPlan | None:
        """The traffic plan in force."""
        return self.ledger.plan(use_case)

    def rows(self, use_case: str | None, most: int = 5_000, before: int | None = None) -> Iterator[LedgerRow]:
        """Rows of the ledger, newest first, page by page."""
        left = most
        while left > 0 and (found := self.ledger.rows(use_case, limit=min(PAGE, left), before=before)):
            yield from found
            left -= len(found)
            before = found[-1].id

    def measures(self) -> Measures | None:
        """The newest measurements; None before the first, or where they are of another version."""
        try:
            return read_measures(self.layout)
        except msgspec.DecodeError:
            return None

    def canary(self, use_case: str) -> CanaryMeasure | None:
        """How far the canary that answers now is, as the guard last saw it; None where there is none, or it was not seen yet."""
        plan = self.plan(use_case)
        try:
            seen = read_rollouts(self.layout).get(use_case)
        except msgspec.DecodeError:
            return None
        canary = seen.canary if seen else None
        holders = {arm.release_id for arm in plan.arms if arm.name == CANARY} if plan else set()
        return canary if canary is not None and canary.release_id in holders else None

    def measured(self, use_case: str) -> UseCaseMeasures | None:
        """The newest measurements of a use case."""
        found = self.measures()
        return None if found is None else found.use_cases.get(use_case)
