"""The plots of the page on performance, as small SVG files without dates, so that the same figures give the same bytes."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.record import PATH, Kept, KeptSeries, Record

COLOURS = ("#1f6f8b", "#e07b39", "#9a9a9a", "#6a4c93")


def write(folder: Path, record: Record) -> dict[str, list[str]]:
    """Write a plot for everything that has lines or amounts; names of the files, by row."""
    pictures: dict[str, list[str]] = {}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "offerloop", "axes.spines.top": False, "axes.spines.right": False}):
        for row, kept in record.rows.items():
            for number, series in enumerate(kept.series):
                name = f"{row.lower()}-{number}.svg"
                _save(_lines(series), folder / name)
                pictures.setdefault(row, []).append(name)
            if row == PATH:
                _save(_amounts(kept), folder / f"{row}.svg")
                pictures[row] = [f"{row}.svg"]
    return pictures


def _lines(series: KeptSeries) -> Figure:
    figure = Figure(figsize=(5.2, 2.8), layout="constrained")
    axes: Axes = figure.subplots()
    places = list(dict.fromkeys(place for line in series.lines.values() for place in line))
    width = 0.8 / len(series.lines)
    for number, (name, line) in enumerate(series.lines.items()):
        at = [places.index(place) + (number - (len(series.lines) - 1) / 2.0) * width for place in line]
        bars = axes.bar(at, list(line.values()), width * 0.92, label=name, color=COLOURS[number % len(COLOURS)])
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=7)
    axes.set_xticks(range(len(places)), places)
    axes.set_xlabel(series.along)
    axes.set_ylabel(series.unit)
    axes.set_title(series.title, fontsize=10, loc="left")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _amounts(kept: Kept) -> Figure:
    amounts: Mapping[str, float] = {name: values[0] for name, values in kept.amounts.items()}
    figure = Figure(figsize=(7.2, 0.5 + 0.26 * len(amounts)), layout="constrained")
    axes: Axes = figure.subplots()
    names = list(amounts)[::-1]
    bars = axes.barh(names, [amounts[name] for name in names], color=COLOURS[0])
    axes.bar_label(bars, fmt="{:.0f}", padding=3, fontsize=8)
    axes.set_xlabel("µs of processor time a decision")
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    # why: matplotlib leaves spaces at ends of lines
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
