"""`make bench`: measure the speed rows, print their tables, and write `docs/performance.md` with its plots.

What was measured stays in `docs/performance/figures.json`, a row each with its date, commit and machine; so one row can be measured again,
and the page is written anew from all of them: `make bench ARGS="--rows P7,P8"`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import guarantees, hot_path, plots
from bench.machine import machine
from bench.page import page
from bench.record import COST, PATH, Kept, Record, cost_of, figures_of, path_of
from bench.target import MEASURED, find, table
from contracts.errors import OfferloopError
from releases.revision import code_revision
from storage.files import write_bytes

DOCS = Path(__file__).resolve().parents[1] / "docs"
SPEED = tuple(row for row in MEASURED if row.startswith("P"))
ALL = (*SPEED, COST, PATH)


def main(arguments: Sequence[str], docs: Path = DOCS) -> int:
    """Measure and write; 0 when every target of the rows is reached, 1 when one is missed, 2 when a row could not be measured."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…")
    parser.add_argument("--rows", default=",".join(ALL), help=f"of {', '.join(ALL)}; none writes the page anew")
    chosen, options = parser.parse_known_args(arguments)
    rows = [row for row in chosen.rows.split(",") if row]
    if unknown := [row for row in rows if row not in ALL]:
        print(f"{', '.join(unknown)}: no speed row. There are {', '.join(ALL)}.", file=sys.stderr)
        return 2
    folder = docs / "performance"
    folder.mkdir(parents=True, exist_ok=True)
    record = read(folder)
    code = 0
    for row in rows:
        try:
            kept = measured(row, options, folder)
        except OfferloopError as error:
            print(f"{row}: {error}", file=sys.stderr)
            code = 2
            continue
        code = code or int(not kept.ok)
        record = msgspec.structs.replace(record, rows=record.rows | {row: kept})
        # why: after each row, since all of them take hours
        write(docs, record)
    write(docs, record)
    return code


def measured(row: str, options: Sequence[str], folder: Path) -> Kept:
    """Measure a row now, and print it.

    Raises:
        OfferloopError: it cannot be measured.
    """
    kept: Callable[[Kept], Kept]
    if row == COST:
        taken, scorer = guarantees.costs(options)
        said, kept = cost_of(taken, scorer)
    elif row == PATH:
        said, kept = path_of(hot_path.profile([*options, "--svg", str(folder / "hot-path.svg")]))
    else:
        measurement = find(row)(options)
        said, kept = table(measurement), figures_of(measurement)
    print(said, flush=True)
    return kept(Kept(datetime.now(UTC).strftime("%Y-%m-%d"), _commit(), machine()))


def read(folder: Path) -> Record:
    """What was measured before."""
    path = folder / "figures.json"
    return msgspec.json.decode(path.read_bytes(), type=Record) if path.exists() else Record({})


def write(docs: Path, record: Record) -> None:
    """Write what was measured, its plots and the page."""
    folder = docs / "performance"
    write_bytes(folder / "figures.json", msgspec.json.format(msgspec.json.encode(record, order="sorted"), indent=1) + b"\n")
    pictures = plots.write(folder, record)
    write_bytes(docs / "performance.md", page(record, pictures, (folder / "hot-path.svg").exists()).encode())


def _commit() -> str:
    """The commit in short, marked where files were changed."""
    commit, changed, _ = code_revision()["revision"].partition("-dirty")
    return commit[:12] + changed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
