"""Numbers, times and figures as the pages' readers want them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, to_datetime
from storage.measures import Interval

NOTHING = "–"


class Spread(Protocol):
    """A figure with the ends of its interval."""

    @property
    def value(self) -> float:
        """The figure."""
        ...

    @property
    def low(self) -> float | None:
        """The lower end; None where there is none."""
        ...

    @property
    def high(self) -> float | None:
        """The upper end; likewise."""
        ...


def figure(value: float | None, *, signed: bool = False) -> str:
    """A number with four significant digits, and no more than are of use.

    Example:
        >>> figure(0.0532178), figure(1234567.0), figure(-0.25, signed=True), figure(None)
        ('0.05322', '1,234,567', '−0.25', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    text = f"{size:,.0f}" if size >= 1_000 else f"{size:.4g}" if size >= 1e-4 or size == 0.0 else f"{size:.2g}"
    sign = "−" if value < 0 and float(text.replace(",", "")) else "+" if signed and value > 0 else ""
    return sign + text


def count(value: int | None) -> str:
    """A whole number, its thousands apart.

    Example:
        >>> count(12345)
        '12,345'
    """
    return NOTHING if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """A share as percent, with as many digits as it needs.

    Example:
        >>> percent(0.25), percent(0.0125), percent(0.00004)
        ('25%', '1.2%', '0.004%')
    """
    if share is None or not math.isfinite(share):
        return NOTHING
    value = 100.0 * share
    size = abs(value)
    return f"{value:.0f}%" if size >= 10 or abs(value - round(value)) < 1e-9 else f"{value:.1f}%" if size >= 0.1 else f"{value:.1g}%"


def interval(spread: Spread | None, unit: str = "", *, signed: bool = False) -> str:
    """A figure with its interval, all with as many decimals as the interval has use for.

    Example:
        >>> interval(Interval(0.05, 0.0412, 0.06)), interval(Interval(0.05, 0.0412, None), "dollars", signed=True)
        ('0.050 [0.041, 0.060]', '+0.0500 [+0.0412, –] dollars')
    """
    if spread is None:
        return NOTHING
    numbers = (spread.value, spread.low, spread.high)
    known = [number for number in numbers if number is not None and math.isfinite(number)]
    size = max(known) - min(known) if None not in numbers else 0.0
    size = size or max((abs(number) for number in known), default=0.0) / 20.0
    decimals = min(9, max(0, 1 - math.floor(math.log10(size)))) if size > 0.0 else 0
    value, low, high = (_fixed(number, decimals, signed) for number in numbers)
    return f"{value} [{low}, {high}] {unit}".strip()


def _fixed(value: float | None, decimals: int, signed: bool) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{abs(value):,.{decimals}f}"
    zero = not any(sign in "123456789" for sign in text)
    return text if zero else f"−{text}" if value < 0 else f"+{text}" if signed else text


def moment(time_us: int | None) -> str:
    """A time, UTC, to the second.

    Example:
        >>> moment(0)
        '1970-01-01 00:00:00'
    """
    try:
        return NOTHING if time_us is None else f"{to_datetime(time_us):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return NOTHING


def iso(time_us: int) -> str:
    """A time as machines read it."""
    try:
        return f"{to_datetime(time_us):%Y-%m-%dT%H:%M:%SZ}"
    except OverflowError:
        return ""


def span(length_us: float | None) -> str:
    """A length of time in one unit.

    Example:
        >>> span(90 * SECOND_US), span(36 * HOUR_US), span(250_000)
        ('2 min', '36 h', '0.2 s')
    """
    if length_us is None:
        return NOTHING
    size = max(0.0, float(length_us))
    for least, unit_us, unit in ((3 * DAY_US, DAY_US, "days"), (100 * MINUTE_US, HOUR_US, "h"), (90 * SECOND_US, MINUTE_US, "min")):
        if size >= least:
            return f"{size / unit_us:.0f} {unit}"
    return f"{size / SECOND_US:.0f} s" if size >= 10 * SECOND_US else f"{size / SECOND_US:.1f} s"


def plain(content: Any) -> str:
    """A value of a document as text: numbers short, lists apart by commas."""
    match content:
        case None:
            return NOTHING
        case bool():
            return "yes" if content else "no"
        case int():
            return count(content)
        case float():
            return figure(content)
        case list() | tuple():
            return ", ".join(plain(value) for value in content) or NOTHING
        case dict():
            return "; ".join(f"{key}: {plain(value)}" for key, value in content.items()) or NOTHING
        case _:
            return str(content)


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of what any of these rows has, in the order in which they come.

    Example:
        >>> columns([{"name": 1, "unit": 2}, {"name": 3, "age": 4}])
        ['name', 'unit', 'age']
    """
    return list(dict.fromkeys(name for row in rows for name in row))


def told(content: Any) -> str:
    """A value of a model card: an estimate as a figure with its interval, everything else as `plain`.

    Example:
        >>> told({"value": 0.25, "low": 0.2, "high": 0.3, "n": 7}), told({"DE": {"value": 1.0, "low": 0.9, "high": 1.1}})
        ('0.25 [0.20, 0.30]', 'DE: 1.00 [0.90, 1.10]')
    """
    if isinstance(content, dict):
        value, low, high = (content.get(name) for name in ("value", "low", "high"))
        if isinstance(value, int | float) and isinstance(low, int | float | None) and isinstance(high, int | float | None):
            return interval(Interval(value, low, high))
        return "; ".join(f"{key}: {told(value)}" for key, value in content.items()) or NOTHING
    return plain(content)
