"""The page `docs/performance.md`, written from what was measured."""

from collections.abc import Mapping, Sequence

from bench.guarantees import GUARANTEES
from bench.record import COST, PATH, Kept, KeptFigure, Record
from bench.rows import ROWS

HEAD = """\
# Performance

Written by `make bench` from what it measured; `make bench ARGS="--rows P7,P8"` measures these rows again, and leaves the others as they
were. Speed is a ratio beside a peer in the same run on the same machine: both in turn (A B B A), the first round thrown away, the median of
the rounds' ratios. Equal outputs are shown first. `make target ROW=P7` prints one row; it takes options for size and seed.
"""


def page(record: Record, pictures: Mapping[str, Sequence[str]], flame: bool) -> str:
    """The page as Markdown.

    Args:
        record: of everything that was measured.
        pictures: file names of plots in `performance/`, by row.
        flame: whether there is a flame graph.
    """
    rows = sorted((row for row in record.rows if row not in (COST, PATH)), key=lambda row: (row[0], int(row[1:])))
    parts = [HEAD]
    if rows:
        parts.append(_table(record, rows))
    if PATH in record.rows:
        parts.append(_path(record.rows[PATH], pictures.get(PATH, ()), flame))
    if COST in record.rows:
        parts.append(_cost(record.rows[COST]))
    parts += [_row(row, record.rows[row], pictures.get(row, ())) for row in rows]
    parts.append(_machines(record))
    return "\n".join(parts)


def _table(record: Record, rows: Sequence[str]) -> str:
    lines = ["| row | what | measured | must be | | when, commit |", "|---|---|---|---|---|---|"]
    for row in rows:
        kept = record.rows[row]
        for number, figure in enumerate(kept.figures):
            name, when = (row, f"{kept.date}, `{kept.commit}`") if number == 0 else ("", "")
            reached = "reached" if figure.ok else "**missed**"
            lines.append(f"| {name} | {figure.what} | {_spell(figure.value, figure)} | {_bound(figure)} | {reached} | {when} |")
    return "\n".join(lines) + "\n"


def _path(kept: Kept, pictures: Sequence[str], flame: bool) -> str:
    phases = sorted(((name, values[0]) for name, values in kept.amounts.items()), key=lambda phase: -phase[1])
    whole = sum(taken for _, taken in phases)
    largest = "; ".join(f"**{name}**, {taken:.0f} µs ({taken / whole:.0%})" for name, taken in phases[:3])
    lines = [
        "## Where a decision's time goes\n",
        f"A replica takes {whole:.0f} µs of processor time for a decision. The three largest costs are: {largest}.\n",
        f"{kept.notes[0]}. Seen from outside by py-spy under load, 200 times a second; {kept.date}, `{kept.commit}`.\n",
        *(f"![Phases of a decision](performance/{name})\n" for name in pictures),
    ]
    if flame:
        lines.append("The flame graph: width is share of samples; opened by itself, a click enlarges a frame.\n")
        lines.append("[![Flame graph of a replica under load](performance/hot-path.svg)](performance/hot-path.svg)\n")
    return "\n".join(lines)


def _cost(kept: Kept) -> str:
    lines = [
        "## What each guarantee costs\n",
        "The same requests in one process, from headers and body to the bytes of the answer, without sockets, with each guarantee switched "
        "off in turn: what is saved is what it costs. Slices of a hundred decisions with and without it follow each other; the median of "
        "the differences between neighbours, and in brackets between what it lies, of 95 of 100 such measurements. The log is switched off "
        "beside everything on, each of the others without the log, whose waits and threads would drown them.\n",
        "| | processor time, 32 under way | until the answer, one alone | without it |",
        "|---|---:|---:|---|",
    ]
    for name, amounts in kept.amounts.items():
        sign = "+" if name in GUARANTEES else ""
        words = (_between(sign, *amounts[begin : begin + 3]) for begin in (0, 3))
        lines.append(f"| {name} | {' | '.join(words)} | {GUARANTEES.get(name, '')} |")
    lines.append(f"\nScorer: {kept.notes[0]}; {kept.date}, `{kept.commit}`.\n")
    return "\n".join(lines)


def _between(sign: str, middle: float, low: float, high: float) -> str:
    """Microseconds with what they lie between.

    Example:
        >>> _between("+", 12.34, 11.0, 13.96), _between("+", -0.4, -1.0, 0.2)
        ('+12.3 µs (11.0 to 14.0)', '−0.4 µs (−1.0 to 0.2)')
    """
    return f"{sign if middle >= 0 else ''}{middle:.1f} µs ({low:.1f} to {high:.1f})".replace("-", "−")


def _row(row: str, kept: Kept, pictures: Sequence[str]) -> str:
    lines = [f"## {row}: {ROWS[row]}\n", *(f"![{row}](performance/{name})\n" for name in pictures), *(f"- {note}" for note in kept.notes)]
    return "\n".join(lines) + "\n"


def _machines(record: Record) -> str:
    by_machine: dict[str, list[str]] = {}
    for row, kept in sorted(record.rows.items()):
        libraries = ", ".join(f"{name} {version}" for name, version in kept.machine.libraries.items())
        by_machine.setdefault(f"{kept.machine.words}; {libraries}", []).append(row)
    lines = ["## Machines\n", *(f"- {', '.join(rows)}: {words}" for words, rows in by_machine.items())]
    return "\n".join(lines) + "\n"


def _spell(value: float, figure: KeptFigure) -> str:
    return f"{value:,.4g} {figure.unit}".rstrip() if abs(value) < 1000 else f"{value:,.0f} {figure.unit}".rstrip()


def _bound(figure: KeptFigure) -> str:
    return f"{'≤' if figure.at_most else '≥'} {_spell(figure.target, figure)}"
