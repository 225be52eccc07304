"""Materialize: bring tiles up to the event table, by steps that each count when done."""

import fcntl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import msgspec
import polars as pl
import pyarrow as pa

from contracts.events import EventSchema
from contracts.tables import EVENTS
from features.event_files import EventFiles, bytes_of
from features.scan import whole
from features.tiles import FORMAT, Manifest, Span, Tiles, read_entities, write_tile
from storage.files import retire, sweep, write_atomically, write_bytes
from storage.tables import Part, Tables

STEP_ROWS = 8_000_000
"""About how many rows of the event table are laid out in one step; what a step did counts when it is done."""

MERGED_ROWS = 64_000_000
"""Spans are not merged beyond this many rows."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did: how many days it laid out, new ones and such as had grown, and how many spans there are now."""

    days: int
    spans: int


Make: TypeAlias = Callable[[Sequence[Path], EventSchema, pa.Array, Mapping[str, Path], int], None]
"""Lays events out: of these files, schema, entities by code, for each type the Arrow file to put in place, bytes of memory."""


def refresh(
    tables: Tables,
    schema: EventSchema,
    root: Path,
    memory: str = "2GB",
    *,
    make: Make | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Refreshed:
    """Bring a use case's tiles up to its event table. Killed at any point, it goes on from the last step that was done.

    Args:
        tables: of the installation.
        schema: of the events.
        root: the tiles' folder.
        memory: to work in.
        make: lays events out; by default with DuckDB.
        progress: told after each step how many rows of how many are laid out.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        work = _Work(tables, schema, root, bytes_of(memory), make or make_tiles)
        steps = work.steps()
        done, of = 0, sum(work.rows(days) for days in steps)
        for days in steps:
            work.lay_out(days)
            done += work.rows(days)
            progress(done, of)
        while pair := work.mergeable():
            work.lay_out(pair)
        work.sweep()
        return Refreshed(sum(map(len, steps)), len(Tiles(root).manifest.spans))


class _Work:
    """A refresh under way."""

    def __init__(self, tables: Tables, schema: EventSchema, root: Path, memory: int, make: Make) -> None:
        self._schema, self._root, self._memory, self._make = schema, root, memory, make
        self._parts: dict[str, list[Part]] = {}
        for part in tables.manifest().parts:
            if (part.use_case, part.table) == (schema.use_case, EVENTS):
                self._parts.setdefault(part.day, []).append(part)
        self._tables = tables

    def rows(self, days: Iterable[str]) -> int:
        """Rows that the event table has on some days."""
        return sum(part.rows for day in days for part in self._parts.get(day, ()))

    def steps(self) -> list[list[str]]:
        """Days to lay out: those of spans of which a day grew, and those of no span, which are grouped; the newest stands alone."""
        spans = Tiles(self._root).manifest.spans
        grown = [sorted(span.days) for span in spans if any(rows != self.rows([day]) for day, rows in span.days.items())]
        covered = {day for span in spans for day in span.days}
        groups: list[list[str]] = []
        for day in sorted(self._parts.keys() - covered):
            if not groups or day == max(self._parts) or self.rows([*groups[-1], day]) > STEP_ROWS:
                groups.append([])
            groups[-1].append(day)
        return [*grown, *groups]

    def mergeable(self) -> list[str]:
        """The days of two neighbouring spans of which the newer is not much smaller; the newest day, which still grows, is left alone."""
        spans = [span for span in Tiles(self._root).manifest.spans if max(self._parts) not in span.days]
        for older, newer in pairwise(spans):
            if older.rows < 2 * newer.rows and older.rows + newer.rows <= MERGED_ROWS:
                return sorted({*older.days, *newer.days})
        return []

    def lay_out(self, days: Sequence[str]) -> None:
        """Make the tiles of some days, and let them count in place of those that cover these days now."""
        manifest = Tiles(self._root).manifest
        files = [self._tables.path(part) for day in days for part in self._parts[day]]
        names = [*manifest.entities, *self._name_entities(files, len(manifest.entities))]
        entities = read_entities(self._root, names)
        label = f"{days[0]}-{days[-1]}-{self.rows(days)}"
        made = {kind: f"{kind}/{label}.arrow" for kind in self._schema.types}
        self._make(files, self._schema, entities, {kind: self._root / name for kind, name in made.items()}, self._memory)
        kept = [span for span in manifest.spans if not set(span.days) & set(days)]
        span = Span({day: self.rows([day]) for day in days}, made)
        spans = sorted([*kept, span], key=lambda one: min(one.days))
        write_bytes(self._root / "manifest.json", msgspec.json.encode(Manifest(FORMAT, tuple(names), tuple(spans))))
        retire(
            self._root / file for span in manifest.spans if span not in kept for file in span.files.values() if file not in made.values()
        )

    def _name_entities(self, files: Sequence[Path], number: int) -> list[str]:
        """Give codes to entities that have none, in the order of their ids; the name of the file that says so, if there are any."""
        found = pl.scan_parquet(list(files)).select("entity_id").unique().collect(engine="streaming")["entity_id"]
        new = found.filter(~found.is_in(pl.Series(Tiles(self._root).entities).implode())).sort()
        if not len(new):
            return []
        name = f"entities/{number:06d}-{len(new)}.parquet"
        write_atomically(self._root / name, new.to_frame().write_parquet)
        return [name]

    def sweep(self) -> None:
        """Delete what no longer counts, once readers that still count on it are gone."""
        manifest = Tiles(self._root).manifest
        named = {*manifest.entities, *(file for span in manifest.spans for file in span.files.values())}
        for suffix in (".arrow", ".parquet"):
            sweep(self._root, named, suffix)


def make_tiles(files: Sequence[Path], schema: EventSchema, entities: pa.Array, out: Mapping[str, Path], memory: int) -> None:
    """Lay out events with DuckDB.

    Args:
        files: of the event table.
        schema: of the events.
        entities: ids by code.
        out: for each type its Arrow file, put in place whole.
        memory: bytes to work in.
    """
    spill = next(iter(out.values())).parent.parent / ".spill"
    with EventFiles(files, schema, entities, memory, spill) as held:
        for kind, path in out.items():
            scan = whole(kind, schema)
            write_tile(path, scan, (part for _, _, part in held.parts(scan)))
