"""`python -m bench.target ROW`: measure a row of the targets, print its table and, as the last line, its JSON."""

import importlib
import json
import sys
from collections.abc import Mapping, Sequence

from bench.rows import Figure, Measure, Measurement, RowNotMeasured
from contracts.errors import OfferloopError

MEASURED: Mapping[str, str] = {
    "P1": "bench.point_in_time",
    "P2": "bench.feast_history",
    "P3": "bench.spark",
    "P4": "bench.growth",
    "P5": "bench.online",
    "P6": "bench.freshness",
    "P7": "bench.served_decisions",
    "P8": "bench.no_op",
    "P9": "bench.scoring",
    "P12": "bench.swap",
    "P13": "bench.off_policy",
    "P14": "bench.start",
    "P15": "bench.scaling",
    "R1": "bench.replica_kills",
    "R2": "bench.core_kills",
    "R3": "bench.bad_swaps",
    "R10": "bench.hostile",
    "R11": "bench.overload",
    "R4": "bench.mutated",
    "R13": "bench.strangers",
    "R14": "bench.names",
    "R15": "bench.canaries",
    "R5": "bench.neighbours_down",
    "R6": "bench.damage",
    "R7": "bench.killed_writes",
    "R8": "bench.repeated_outcomes",
    "R18": "bench.steady",
    "Q1": "bench.game",
    "Q2": "bench.coverage",
    "Q3": "bench.hillstrom",
    "Q5": "bench.open_bandit",
    "Q4": "bench.a_a",
    "Q6": "bench.worse",
    "Q7": "bench.forecasts",
}
"""The rows that can be measured, each by the function `measure` of a module."""

USAGE = "usage: make target ROW=P14 [ARGS=…], or make bench for all the speed rows"


def find(row: str) -> Measure:
    """The function that measures a row.

    Raises:
        RowNotMeasured: nothing measures it yet.
    """
    if row not in MEASURED:
        raise RowNotMeasured(row, tuple(MEASURED))
    measure: Measure = importlib.import_module(MEASURED[row]).measure
    return measure


def table(measurement: Measurement) -> str:
    """The figures as lines of text, with the notes below."""
    head = ("what", "measured", "target", "")
    rows = [(figure.what, _spell(figure.value, figure), _bound(figure), "ok" if figure.ok else "MISSED") for figure in measurement.figures]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    return "\n".join([f"{measurement.row}", *lines, *(f"· {note}" for note in measurement.notes)])


def line(measurement: Measurement) -> str:
    """The measurement as one line of JSON; one figure as a number, several by name."""
    figures, targets = ({figure.what: value(figure) for figure in measurement.figures} for value in (_value, _target))
    single = len(figures) == 1
    content = {
        "row": measurement.row,
        "figure": next(iter(figures.values())) if single else figures,
        "target": next(iter(targets.values())) if single else targets,
        "ok": measurement.ok,
    }
    return json.dumps(content, ensure_ascii=False)


def main(arguments: Sequence[str]) -> int:
    """Measure what is asked for; 0 when every target is reached, 1 when one is missed, 2 when nothing could be measured."""
    if not arguments or (arguments[0].startswith("-") and arguments[0] != "--all"):
        print(USAGE, file=sys.stderr)
        return 2
    rows = tuple(MEASURED) if arguments[0] == "--all" else (arguments[0].upper(),)
    reached = True
    try:
        for row in rows:
            measurement = find(row)(arguments[1:])
            print(table(measurement))
            print(line(measurement), flush=True)
            reached = reached and measurement.ok
    except OfferloopError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if reached else 1


def _value(figure: Figure) -> float:
    return round(figure.value, 6)


def _target(figure: Figure) -> float:
    return figure.target


def _spell(value: float, figure: Figure) -> str:
    return f"{value:.4g} {figure.unit}".rstrip()


def _bound(figure: Figure) -> str:
    return f"{'≤' if figure.at_most else '≥'} {_spell(figure.target, figure)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
