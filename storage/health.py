"""The health of releases, seen live: what each arm answered, failed, degraded, and how long it took; a file a replica in `run/health/`.

Everything is counted by the version of the traffic plan under which it was decided. So what came since a plan began, such as since a step
of a canary, is a sum over versions, and no beginning has to be kept anywhere. What a process counted stays when it dies.
"""

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from storage.layout import Layout

EDGES_S: tuple[float, ...] = tuple(0.000_25 * 2.0 ** (step / 4.0) for step in range(72))
"""Upper ends of the buckets of time, each 19 % above the one before: a quarter of a millisecond to a minute."""

EVERY_S = 1.0
MOST_VERSIONS = 64
"""Plan versions of a use case that a process remembers: the newest."""

KEPT_S = 90 * 86_400.0
"""How long the file of a process that counts no more is kept."""


@dataclass(frozen=True, slots=True)
class Health:
    """What an arm did under one release.

    Attributes:
        decided: decisions that were answered, which are durable. `failed`: those that were asked for and could not be made.
        degraded: of those answered, how many were not made as declared.
        seconds: how many took so long until they were durable, by bucket: `EDGES_S`, and one above the last.
    """

    decided: int = 0
    failed: int = 0
    degraded: int = 0
    seconds: tuple[int, ...] = (0,) * (len(EDGES_S) + 1)

    @property
    def asked(self) -> int:
        """Decisions that were asked for."""
        return self.decided + self.failed

    def slower_than(self, bucket: int) -> int:
        """How many took longer than the end of a bucket."""
        return sum(self.seconds[bucket + 1 :])

    def quantile(self, share: float) -> float | None:
        """The end of the bucket within which a share of the answers were given; None before the first, infinite above the last.

        Example:
            >>> Health(2, seconds=(1, 1) + (0,) * 71).quantile(0.5)
            0.00025
        """
        if not self.decided:
            return None
        fits = (end for bucket, end in enumerate(EDGES_S) if self.slower_than(bucket) <= (1.0 - share) * self.decided)
        return next(fits, float("inf"))

    def __add__(self, other: "Health") -> "Health":
        return Health(
            self.decided + other.decided,
            self.failed + other.failed,
            self.degraded + other.degraded,
            tuple(ours + theirs for ours, theirs in zip(self.seconds, other.seconds, strict=True)),
        )


Key: TypeAlias = tuple[str, int, str, str]
"""Use case, version of the traffic plan, arm, release."""


class _Row(msgspec.Struct, array_like=True):
    """One line of a file."""

    use_case: str
    version: int
    arm: str
    release_id: str
    decided: int
    failed: int
    degraded: int
    seconds: list[int]


class HealthCounter:
    """Counts what one process decides, and publishes it. Threads may share it.

    Args:
        layout: of the installation.
    """

    def __init__(self, layout: Layout) -> None:
        self._path = _folder(layout) / f"{os.getpid()}-{time.time_ns()}.json"
        self._lock = threading.Lock()
        self._rows: dict[Key, _Row] = {}
        self._changed = False
        self._published_s = 0.0

    def decided(self, key: Key, seconds: float, *, degraded: bool) -> None:
        """Count a decision that is durable, so many seconds after it was asked for."""
        bucket = bisect_left(EDGES_S, seconds)
        with self._lock:
            row = self._row(key)
            row.decided += 1
            row.degraded += degraded
            row.seconds[bucket] += 1

    def failed(self, key: Key) -> None:
        """Count a decision that could not be made."""
        with self._lock:
            self._row(key).failed += 1

    def publish(self, *, at_once: bool = False) -> None:
        """Write what was counted, if any was since, and unless it was done within the last second; cheap enough to be called often."""
        now_s = time.monotonic()
        if not self._changed or (not at_once and now_s - self._published_s < EVERY_S):
            return
        if not self._published_s:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(self._path.parent)
        self._published_s = now_s
        with self._lock:
            self._forget()
            content, self._changed = msgspec.json.encode(list(self._rows.values())), False
        # why: nothing is synced, since to lose a second of counts with the machine is better than to wait for the disk with the journal
        temporary = self._path.with_suffix(".tmp")
        temporary.write_bytes(content)
        temporary.replace(self._path)

    def _row(self, key: Key) -> _Row:
        self._changed = True
        if key not in self._rows:
            self._rows[key] = _Row(*key, 0, 0, 0, [0] * (len(EDGES_S) + 1))
        return self._rows[key]

    def _forget(self) -> None:
        versions: dict[str, set[int]] = {}
        for use_case, version, _, _ in self._rows:
            versions.setdefault(use_case, set()).add(version)
        kept = {use_case: sorted(found)[-MOST_VERSIONS:] for use_case, found in versions.items()}
        self._rows = {key: row for key, row in self._rows.items() if key[1] in kept[key[0]]}


def read_health(layout: Layout, use_case: str, since_version: int = 0) -> Mapping[tuple[str, str], Health]:
    """By arm and release: what all processes counted under the traffic plans since a version. A file that a crash tore is passed over."""
    found: dict[tuple[str, str], Health] = {}
    for path in sorted(_folder(layout).glob("*.json")):
        try:
            rows = msgspec.json.decode(path.read_bytes(), type=list[_Row])
        except (FileNotFoundError, msgspec.DecodeError):
            continue
        for row in rows:
            if row.use_case == use_case and row.version >= since_version and len(row.seconds) == len(EDGES_S) + 1:
                key = row.arm, row.release_id
                counted = Health(row.decided, row.failed, row.degraded, tuple(row.seconds))
                found[key] = found[key] + counted if key in found else counted
    return found


def _folder(layout: Layout) -> Path:
    return layout.run / "health"


def _sweep(folder: Path) -> None:
    old = time.time() - KEPT_S
    for path in folder.iterdir():
        if path.stat().st_mtime < old:
            path.unlink(missing_ok=True)
