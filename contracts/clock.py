"""Time: UTC as 64-bit microseconds, from the one logical clock of an installation."""

import threading
import time
from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _machine_us() -> int:
    return time.time_ns() // 1_000


class SteadyTime:
    """The machine's time, which never goes back: where the machine's clock is set back, time goes on from the latest moment that was seen.

    A clock that is set forward is followed: that cannot be told from a machine that slept. Set back again, it stays ahead until the process
    ends, or until real time has caught up with what `not_before` was told by others.

    Args:
        wall_us: the machine's clock, in microseconds since 1970 (UTC).
    """

    def __init__(self, wall_us: Callable[[], int] | None = None) -> None:
        self._wall_us = wall_us or _machine_us
        self._latest_us = self._ahead_us = 0
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Now, in microseconds since 1970 (UTC); never less than it gave before.

        Example:
            >>> clock = iter((5, 9, 7, 8))
            >>> steady = SteadyTime(lambda: next(clock))
            >>> [steady.now_us() for _ in range(4)]
            [5, 9, 9, 10]
        """
        with self._lock:
            now_us = self._wall_us() + self._ahead_us
            if now_us < self._latest_us:
                self._ahead_us += self._latest_us - now_us
                now_us = self._latest_us
            self._latest_us = now_us
        return now_us

    def not_before(self, moment_us: int) -> None:
        """Let time be at least at a moment, which others have seen."""
        with self._lock:
            self._latest_us = max(self._latest_us, moment_us)


STEADY = SteadyTime()
"""The time of this process."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The logical clock: `origin_us + (real time − started_us) × scale`. It never goes back within a process; see `SteadyTime`.

    The default is the real clock. A clock with another origin or scale belongs to a simulated installation.

    Attributes:
        origin_us: logical time at the moment the installation was created.
        started_us: real time at that moment.
        scale: logical seconds a real second.
    """

    origin_us: int = 0
    started_us: int = 0
    scale: int = 1

    def now_us(self) -> int:
        """Logical now, in microseconds since 1970 (UTC)."""
        return self.origin_us + (STEADY.now_us() - self.started_us) * self.scale

    def real_seconds(self, logical_us: int) -> float:
        """How long a logical duration takes on a wall clock, in seconds."""
        return logical_us / self.scale / SECOND_US

    @property
    def simulated(self) -> bool:
        """Whether this is not the real clock."""
        return self.scale != 1 or self.origin_us != self.started_us


def to_datetime(time_us: int) -> datetime:
    """The aware UTC datetime of a time in microseconds.

    Example:
        >>> to_datetime(0).isoformat()
        '1970-01-01T00:00:00+00:00'
    """
    return _EPOCH + timedelta(microseconds=time_us)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime, exactly.

    Raises:
        ValueError: the datetime is naive.

    Example:
        >>> to_us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
        1000000
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; expected an aware datetime such as 2026-01-31T12:00:00Z")
    # why: whole numbers throughout, and subclasses of datetime have differences of their own kind
    return timegm(moment.utctimetuple()) * SECOND_US + moment.microsecond
