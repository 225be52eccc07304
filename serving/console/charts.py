"""Charts as SVG in the page's own colours.

They hold shapes alone: words and numbers stand beside them as text, where they can be read aloud, selected and enlarged, and a table has
all of it. See docs/adr/0015.

Colours are classes of the page's style, since the Content-Security-Policy allows no style within the document.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from storage.measures import Interval

WIDTH = 1_000.0
"""Of each drawing, in its own units; the page stretches it to the room there is."""

COLOURS = 8
SEAM = 0.6
"""By how much a stretch reaches into the next, so that no gap shows between them."""

WIDE = 6.0
"""An interval so many times as wide as the one in the middle does not set the scale."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places from left (0) to right (`WIDTH`).

    Example:
        >>> Scale(-1.0, 1.0).place(0.0)
        500.0
    """

    low: float
    high: float

    def shows(self, value: float) -> bool:
        """Whether a value lies within the drawing."""
        return self.low <= value <= self.high

    def place(self, value: float) -> float:
        """Where a value lies, kept within the drawing."""
        if self.high <= self.low:
            return WIDTH / 2.0
        return min(WIDTH, max(0.0, WIDTH * (value - self.low) / (self.high - self.low)))


def scale_of(spreads: Sequence[Interval | None], *, zero: bool = True) -> Scale:
    """A scale on which these lie with some room, and zero too. One that is far wider than most runs out of the drawing.

    Example:
        >>> scale_of([Interval(2.0, 1.0, 4.0)])
        Scale(low=-0.24, high=4.24)
    """
    known = [spread for spread in spreads if spread is not None]
    widths = sorted(_width(spread) for spread in known if _width(spread) > 0.0)
    widest = WIDE * widths[(len(widths) - 1) // 2] if widths else 0.0
    values = [spread.value for spread in known]
    values += [end for spread in known if _width(spread) <= widest for end in (spread.low, spread.high) if end is not None]
    values += [0.0] if zero or not values else []
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 1.0
    return Scale(low - room, high + room)


def _width(spread: Interval) -> float:
    return 0.0 if spread.low is None or spread.high is None else spread.high - spread.low


def interval(scale: Scale, spread: Interval | None, colour: int = 0) -> Markup:
    """A figure as a dot on the line of its interval; an end that is not there yet runs out of the drawing."""
    zero = _line(scale.place(0.0), "zero")
    if spread is None:
        return _drawing(zero, 24)
    low = 0.0 if spread.low is None else scale.place(spread.low)
    high = WIDTH if spread.high is None else scale.place(spread.high)
    shown = [end for end in (spread.low, spread.high) if end is not None and scale.shows(end)]
    ends = [_line(scale.place(end), f"end c{colour}", 7, 17) for end in shown]
    line = Markup('<line class="reach c{}" x1="{:.1f}" x2="{:.1f}" y1="12" y2="12"/>').format(colour, low, high)
    dot = Markup('<line class="dot c{}" x1="{:.1f}" x2="{:.1f}" y1="12" y2="12"/>').format(
        colour, scale.place(spread.value), scale.place(spread.value) + 0.01
    )
    return _drawing(Markup("").join([zero, line, *ends, dot]), 24)


def bar(scale: Scale, value: float, colour: int = 0) -> Markup:
    """A value as a bar from zero."""
    start, end = sorted((scale.place(0.0), scale.place(value)))
    shape = Markup('<rect class="fill c{}" x="{:.1f}" width="{:.1f}" y="4" height="16"/>').format(colour, start, max(end - start, 0.5))
    return _drawing(Markup("").join([shape, _line(scale.place(0.0), "zero")]), 24)


@dataclass(frozen=True, slots=True)
class Part:
    """A share of the traffic in one colour."""

    share: float
    colour: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which the shares stayed the same."""

    start: float
    end: float
    parts: tuple[Part, ...]


def courses(stretches: Sequence[Stretch], scale: Scale, marks: Sequence[float] = (), title: str = "") -> Markup:
    """Shares over time, laid on each other from the bottom up, with marks where something happened."""
    height = 160.0
    shapes: list[Markup] = []
    for stretch in stretches:
        left, right = scale.place(stretch.start), scale.place(stretch.end)
        top = height
        for part in stretch.parts:
            top -= part.share * height
            shapes.append(
                Markup('<rect class="fill c{}" x="{:.2f}" width="{:.2f}" y="{:.2f}" height="{:.2f}"/>').format(
                    part.colour, left, min(max(right - left, 0.4) + SEAM, WIDTH - left), top, part.share * height
                )
            )
    shapes += [_line(scale.place(mark), "mark", 0, height) for mark in marks]
    return _drawing(Markup("").join(shapes), height, title)


def meter(share: float, colour: int = 0) -> Markup:
    """A share as a filled part of a bar."""
    return _drawing(
        Markup(
            '<rect class="room" x="0" width="{0:.0f}" y="4" height="16"/><rect class="fill c{1}" x="0" width="{2:.1f}" y="4" height="16"/>'
        ).format(WIDTH, colour, WIDTH * min(1.0, max(0.0, share))),
        24,
    )


def colour_of(position: int) -> int:
    """The colour of the release at a place of a list: neighbours differ."""
    return position % COLOURS


def _line(x: float, name: str, top: float = 0.0, bottom: float = 24.0) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:.0f}" y2="{:.0f}"/>').format(name, x, x, top, bottom)


def _drawing(shapes: Markup, height: float, title: str = "") -> Markup:
    said = Markup('role="img" aria-label="{}"').format(title) if title else Markup('aria-hidden="true"')
    return Markup('<svg class="chart" viewBox="0 0 {:.0f} {:.0f}" preserveAspectRatio="none" {}>{}</svg>').format(
        WIDTH, height, said, shapes
    )
