"""The newest traffic plan that served here, kept in a file, so that a replica can start while the ledger cannot be read.

It is no second truth: the ledger is asked first, and followed again as soon as it answers. Bundles are verified by their signatures and by
the digests kept here, as they are by the ledger's.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from contracts.traffic import TrafficPlan
from storage.files import write_bytes
from storage.layout import Layout

_LOG = logging.getLogger(__name__)


class KnownPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plan, and the whole digest of each release that it names, as the ledger had them."""

    plan: TrafficPlan
    digests: Mapping[str, str]


class KnownPlans:
    """The plans that are kept, a file a use case in `run/plans/`."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.run / "plans"

    def read(self, use_case: str) -> KnownPlan | None:
        """What is kept of a use case; None when nothing that can be read is."""
        try:
            return msgspec.json.decode(self._path(use_case).read_bytes(), type=KnownPlan)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, use_case: str, known: KnownPlan) -> None:
        """Keep what serves now; a disk that takes nothing is only said, since what serves needs none of it."""
        found = self.read(use_case)
        if found == known:
            return
        try:
            write_bytes(self._path(use_case), msgspec.json.encode(known))
        except OSError:
            _LOG.exception("the plan of %s could not be kept for a start without the ledger", use_case)

    def _path(self, use_case: str) -> Path:
        return self._folder / f"{use_case}.json"
