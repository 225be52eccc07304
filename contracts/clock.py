"""Time: UTC as 64-bit microseconds, from the one logical clock of an installation."""

import time
from calendar import timegm
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """The logical clock: `origin_us + (real time − started_us) × scale`.

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
        return self.origin_us + (time.time_ns() // 1_000 - self.started_us) * self.scale

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
