"""What is kept of measurements for the page: the figures of rows, costs of guarantees, phases of the hot path."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import msgspec

from bench.guarantees import Cost, Median
from bench.hot_path import Profile
from bench.machine import Machine
from bench.rows import Measurement

COST, PATH = "cost", "path"
"""What is measured beside the rows: costs of guarantees, and phases of the hot path."""


class KeptFigure(msgspec.Struct, frozen=True):
    """A figure, as `bench.rows.Figure`."""

    what: str
    value: float
    target: float
    unit: str
    at_most: bool

    @property
    def ok(self) -> bool:
        """Whether it reaches its target."""
        return self.value <= self.target if self.at_most else self.value >= self.target


class KeptSeries(msgspec.Struct, frozen=True):
    """Lines of a plot, as `bench.rows.Series`."""

    title: str
    along: str
    unit: str
    lines: Mapping[str, Mapping[str, float]]


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measurement: when, of which code and on what machine; its figures, notes and lines, or named amounts in microseconds."""

    date: str
    commit: str
    machine: Machine
    figures: tuple[KeptFigure, ...] = ()
    notes: tuple[str, ...] = ()
    series: tuple[KeptSeries, ...] = ()
    amounts: Mapping[str, tuple[float, ...]] = {}

    @property
    def ok(self) -> bool:
        """Whether all figures reach their targets."""
        return all(figure.ok for figure in self.figures)


class Record(msgspec.Struct, frozen=True):
    """The newest measurement of each row."""

    rows: dict[str, Kept]


Fill: TypeAlias = Callable[[Kept], Kept]
"""Puts what was measured into a measurement that says when and where."""


def figures_of(measurement: Measurement) -> Fill:
    """Keeps a row's measurement."""
    return partial(
        msgspec.structs.replace,
        figures=tuple(KeptFigure(one.what, one.value, one.target, one.unit, one.at_most) for one in measurement.figures),
        notes=measurement.notes,
        series=tuple(KeptSeries(one.title, one.along, one.unit, one.lines) for one in measurement.series),
    )


def cost_of(taken: Mapping[str, Cost], scorer: str) -> tuple[str, Fill]:
    """What guarantees cost, as text, and how it is kept: processor and alone, each with its interval, microseconds; first the whole."""
    amounts = {name: (*_three(cost.processor), *_three(cost.alone)) for name, cost in taken.items()}
    said = "\n".join(
        [
            f"cost of a decision in µs, with its interval: processor, alone ({scorer})",
            *(f"{name:32}{a:8.1f} ({b:.1f} to {c:.1f}){d:10.1f} ({e:.1f} to {f:.1f})" for name, (a, b, c, d, e, f) in amounts.items()),
        ]
    )
    return said, partial(msgspec.structs.replace, amounts=amounts, notes=(scorer,))


def _three(found: Median) -> tuple[float, float, float]:
    return found.middle, found.low, found.high


def path_of(found: Profile) -> tuple[str, Fill]:
    """Where the time goes, as text, and how it is kept: microseconds of a replica's phases, largest first; notes with the processes."""
    loaded = found.loaded
    processes = ", ".join(f"{name} {taken:.0f} µs" for name, taken in found.processes.items())
    note = (
        f"{loaded.rate:,.0f} decisions/s, {loaded.connections} connections, replicas: {found.replicas}; processor time of each: {processes}"
    )
    said = "\n".join([f"hot path: {note}", *(f"{name:56}{taken:8.0f} µs" for name, taken in found.phases.items())])
    return said, partial(msgspec.structs.replace, amounts={name: (taken,) for name, taken in found.phases.items()}, notes=(note,))
