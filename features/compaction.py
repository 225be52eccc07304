"""Compaction: what no window needs any more leaves the states of entities to whom nothing happens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from contracts.errors import DataRefused
from features.online import OnlineFeatures
from storage.journal import Journal
from storage.transaction import Write

PART = 500
"""States looked at in one step."""

_WORTH = 64


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a pass over all states found.

    Attributes:
        entities: that have a state. `compacted`: of them, those whose state got smaller.
        total_bytes: of all states afterwards; `median_bytes`, `p99_bytes`, `largest_bytes` of one.
        largest: whose state is the largest; empty without entities.
        damaged: entities whose state cannot be read, and was left as it is.
    """

    entities: int
    compacted: int
    total_bytes: int
    median_bytes: int
    p99_bytes: int
    largest_bytes: int
    largest: str
    damaged: tuple[str, ...]


def compact(journal: Journal, use_case: str, online: OnlineFeatures, now_us: int) -> CompactionReport:
    """Go through all states of a use case, a part at a time, and drop what no moment from now on needs.

    Args:
        journal: of the installation.
        use_case: whose states.
        online: how long events are kept, and which rows are kept ready.
        now_us: now, by the installation's clock.
    """
    sizes: dict[str, int] = {}
    damaged: list[str] = []
    compacted = 0
    after = ""
    while True:
        with journal.read() as read:
            part = read.states(use_case, after, PART)
        if not part:
            return _report(sizes, compacted, damaged)
        smaller: dict[str, tuple[bytes, bytes]] = {}
        for name, state in part:
            sizes[name] = len(state)
            try:
                kept = online.compact(state, now_us)
            except DataRefused:
                damaged.append(name)
                continue
            if len(kept) + _WORTH < len(state):
                smaller[name] = (state, kept)
        if smaller:
            done = journal.write(partial(_put, use_case=use_case, smaller=smaller))
            sizes |= {name: len(smaller[name][1]) for name in done}
            compacted += len(done)
        after = part[-1][0]


def size(journal: Journal, use_case: str, entity_id: str) -> int:
    """Bytes of an entity's state; 0 without one."""
    return len(journal.get_state(use_case, entity_id) or b"")


def _put(write: Write, *, use_case: str, smaller: Mapping[str, tuple[bytes, bytes]]) -> list[str]:
    # why: an event that came in since has changed the state, and keeps it small by itself
    done = [name for name, (before, _) in smaller.items() if write.get_state(use_case, name) == before]
    for name in done:
        write.put_state(use_case, name, smaller[name][1])
    return done


def _report(sizes: Mapping[str, int], compacted: int, damaged: Sequence[str]) -> CompactionReport:
    if not sizes:
        return CompactionReport(0, 0, 0, 0, 0, 0, "", ())
    median, p99 = np.percentile(list(sizes.values()), (50, 99)).astype(int).tolist()
    largest = max(sizes, key=lambda name: sizes[name])
    return CompactionReport(len(sizes), compacted, sum(sizes.values()), median, p99, sizes[largest], largest, tuple(damaged))
