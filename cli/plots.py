"""Plots of a report, as SVG text."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.report import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, DIM = "#1d2733", "#8a95a1"
COLOURS = {"control": "#8a95a1", "best": "#c98a00", "learned": "#12805c", "other": "#3267b1"}


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval, under a name; `kind` is a key of `COLOURS`."""

    name: str
    value: float
    low: float
    high: float
    kind: str = "other"


def intervals(items: Sequence[Interval], axis: str, alternative: str, reference: float | None = None) -> Figure:
    """Values with intervals, one line each, from top to bottom."""
    canvas, (axes,) = _canvas(0.42 * len(items) + 0.9)
    for row, item in enumerate(reversed(items)):
        colour = COLOURS[item.kind]
        axes.plot([item.low, item.high], [row, row], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot([item.value], [row], "o", color=colour, markersize=7)
        axes.annotate(f"{item.value:.3f}", (item.value, row), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=8, color=INK)
    if reference is not None:
        axes.axvline(reference, color=DIM, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(items)), [item.name for item in reversed(items)])
    axes.set_ylim(-0.6, len(items) - 0.3)
    axes.set_xlabel(axis)
    return _figure(canvas, alternative)


def course(
    times: Sequence[float],
    lines: Mapping[str, tuple[str, Sequence[float]]],
    marks: Sequence[tuple[float, str]],
    labels: tuple[str, str],
    alternative: str,
) -> Figure:
    """Lines over time (name → colour key and values), with marked moments such as releases."""
    canvas, (axes,) = _canvas(3.2)
    for name, (kind, values) in lines.items():
        axes.plot(times, values, color=COLOURS[kind], linewidth=2, label=name)
    top = axes.get_ylim()[1]
    for row, (moment, text) in enumerate(marks):
        axes.axvline(moment, color=DIM, linewidth=1, linestyle=":")
        axes.annotate(text, (moment, top), textcoords="offset points", xytext=(3, -10 - 11 * (row % 3)), fontsize=8, color=INK)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(lines))
    return _figure(canvas, alternative)


@dataclass(frozen=True, slots=True)
class Band:
    """A value that becomes known: (moment, value, low, high) in order of time, under a name; `kind` is a key of `COLOURS`."""

    name: str
    points: Sequence[tuple[float, float, float, float]]
    kind: str = "other"


def bands(items: Sequence[Band], labels: tuple[str, str], alternative: str, reference: float = 0.0) -> Figure:
    """Values over time within their bounds, beside a reference."""
    canvas, (axes,) = _canvas(3.2)
    ends = [end for item in items for _, _, low, high in item.points for end in (low, high) if math.isfinite(end)]
    for item in items:
        times = [point[0] for point in item.points]
        axes.plot(
            times, [point[1] for point in item.points], color=COLOURS[item.kind], linewidth=2, marker="o", markersize=3, label=item.name
        )
        # why: an endless bound has no place to be drawn at; the plot's own edge stands for it
        low = [max(point[2], min(ends, default=0.0)) for point in item.points]
        high = [min(point[3], max(ends, default=0.0)) for point in item.points]
        axes.fill_between(times, low, high, color=COLOURS[item.kind], alpha=0.18, linewidth=0)
    axes.axhline(reference, color=DIM, linewidth=1, linestyle=":")
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    if items:
        axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=1)
    return _figure(canvas, alternative)


def bars(items: Sequence[tuple[str, float, str]], axis: str, alternative: str) -> Figure:
    """Horizontal bars: name, length, colour key."""
    canvas, (axes,) = _canvas(0.34 * len(items) + 0.8)
    names = [name for name, _, _ in reversed(items)]
    values = [value for _, value, _ in reversed(items)]
    drawn = axes.barh(range(len(items)), values, color=[COLOURS[kind] for _, _, kind in reversed(items)], height=0.62)
    axes.bar_label(drawn, fmt=" %.2f" if max(values, default=0) < 10 else " %.0f", fontsize=8, color=INK)
    axes.set_yticks(range(len(items)), names)
    axes.set_xlabel(axis)
    axes.margins(x=0.1)
    return _figure(canvas, alternative)


def shape(classes: Sequence[tuple[str, float]], periods: Sequence[tuple[str, float | None]], unit: str, alternative: str) -> Figure:
    """How values are distributed (share of each class), and beside it their mean in each period, where there are several."""
    canvas, axes = _canvas(0.26 * max(len(classes), 5) + 0.8, 1 + (len(periods) > 1))
    left = axes[0]
    left.barh(range(len(classes)), [share for _, share in reversed(classes)], color=COLOURS["other"], height=0.7)
    left.set_yticks(range(len(classes)), [name for name, _ in reversed(classes)])
    left.set_xlabel("share of the values that are there")
    if len(periods) > 1:
        right = axes[1]
        names = [name for name, _ in periods]
        right.plot(range(len(names)), [math.nan if mean is None else mean for _, mean in periods], color=COLOURS["best"], marker="o")
        step = max(1, len(names) // 5)
        right.set_xticks(range(0, len(names), step), names[::step])
        right.set_xlabel(f"mean{f', {unit}' if unit else ''}, by period")
        right.grid(axis="y", color="#e6eaee", linewidth=0.8)
    return _figure(canvas, alternative)


def _canvas(height: float, panels: int = 1) -> "tuple[Canvas, list[Axes]]":
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(8.2, height), layout="constrained")
    return canvas, [_styled(canvas.add_subplot(1, panels, number + 1)) for number in range(panels)]


def _styled(axes: "Axes") -> "Axes":
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    axes.grid(axis="x", color="#e6eaee", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _figure(canvas: "Canvas", alternative: str) -> Figure:
    text = io.StringIO()
    canvas.savefig(text, format="svg")
    svg = text.getvalue()
    return Figure(svg[svg.index("<svg") :], alternative)
