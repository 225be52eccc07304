"""The rows of the targets, and the shape of what a measurement of one says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from contracts.errors import OfferloopError

ROWS: Mapping[str, str] = {
    "P1": "point-in-time training set from raw events: no slower than the best hand-written SQL and Polars",
    "P2": "the same beside Feast's historical join",
    "P3": "the same on Spark beside the best hand-written PySpark",
    "P4": "the same at 5, 20 and 50 million events, in bounded memory",
    "P5": "features of one and of 100 entities, read online",
    "P6": "an event accepted is in the next decision",
    "P7": "decisions a second over HTTP beside a bare FastAPI scorer",
    "P8": "decisions a second over HTTP beside a no-op on the same server",
    "P9": "scoring of 24 candidates beside LightGBM's own predict",
    "P10": "train, validate, gate and register beside bare training",
    "P11": "new data to a champion that serves",
    "P12": "a changed traffic plan reaches the last replica; rollback",
    "P13": "off-policy value with its interval beside the Open Bandit Pipeline",
    "P14": "the command's help; from nothing to the first decision",
    "P15": "decisions a second with 1, 2 and 4 replicas",
    **{f"R{number}": "a fault or an attack, and what must not come of it" for number in range(1, 19)},
    "Q1": "the way from control to the oracle, in a simulated game",
    "Q2": "coverage of the interval of off-policy value",
    "Q3": "spend a customer of the released policy on Hillstrom's half that it did not train on",
    "Q4": "A/A tests, and the alarm of a wrong split",
    "Q5": "value of one policy from another's logs, on the Open Bandit Dataset",
    "Q6": "a worse model is never promoted",
    "Q7": "forecast at the gate against the value later seen",
}
"""Every row, and what it is about."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number beside what it must reach."""

    what: str
    value: float
    target: float
    unit: str
    at_most: bool = True

    @property
    def ok(self) -> bool:
        """Whether it does."""
        return self.value <= self.target if self.at_most else self.value >= self.target


@dataclass(frozen=True, slots=True)
class Series:
    """Lines of a plot: by name, a value in `unit` at each place along something, such as numbers of connections."""

    title: str
    along: str
    unit: str
    lines: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a row's measurement says: its figures, notes on how they came about, and what can be plotted of it."""

    row: str
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    series: tuple[Series, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all figures reach their targets."""
        return all(figure.ok for figure in self.figures)


Measure: TypeAlias = Callable[[Sequence[str]], Measurement]
"""Measures a row; takes the options that were given on the command line."""


class RowNotMeasured(OfferloopError):
    """A row that nothing measures yet, or that does not exist."""

    def __init__(self, row: str, known: Sequence[str]) -> None:
        what = f"is not measured yet ({ROWS[row]})" if row in ROWS else "is no row of the targets"
        super().__init__(f"{row} {what}. Measured: {', '.join(known)}.")
