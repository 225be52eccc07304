"""Kinds of values on the command line."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, to_us

_UNITS = {"ms": 1_000, "s": SECOND_US, "m": MINUTE_US, "min": MINUTE_US, "h": HOUR_US, "d": DAY_US}


class Duration(click.ParamType[int]):
    """A length of time such as 90s, 5m, 2h or 7d, in microseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The microseconds of a text."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+)(ms|s|min|m|h|d)", value.strip())
        if found is None:
            self.fail(f"{value!r} is no length of time; say it as 90s, 5m, 2h or 7d", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


DURATION = Duration()


class Moment(click.ParamType[int]):
    """A moment with its zone, such as 2026-03-01T12:00Z, in microseconds since 1970."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The microseconds of a text."""
        if isinstance(value, int):
            return value
        try:
            found = datetime.fromisoformat(value.strip())
        except ValueError:
            self.fail(f"{value!r} is no moment; say it as 2026-03-01T12:00Z", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{value!r} does not say its zone; say 2026-03-01T12:00Z for UTC, or 2026-03-01T13:00+01:00", param, ctx)
        return to_us(found)


MOMENT = Moment()


@dataclass(frozen=True, slots=True)
class Size:
    """How large a gain is: a share of what there is, or as it is."""

    value: float
    relative: bool

    def of(self, mean: float) -> float:
        """The gain over a mean.

        Example:
            >>> Size(0.05, relative=True).of(2.0), Size(0.05, relative=False).of(2.0)
            (0.1, 0.05)
        """
        return self.value * mean if self.relative else self.value


class GainSize(click.ParamType[Size]):
    """A gain such as 5% or 0.02."""

    name = "gain"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Size:
        """The size of a text."""
        if isinstance(value, Size):
            return value
        found = re.fullmatch(r"\+?(\d+(?:\.\d*)?|\.\d+)(%?)", value.strip())
        if found is None or float(found[1]) == 0.0:
            self.fail(f"{value!r} is no gain; say it as 5% of what the champion earns, or as 0.02 of the KPI's unit", param, ctx)
        return Size(float(found[1]) / 100.0 if found[2] else float(found[1]), bool(found[2]))


GAIN = GainSize()
