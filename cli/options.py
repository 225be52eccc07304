"""Kinds of values on the command line."""

import re
from typing import Any

import click

from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US

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
