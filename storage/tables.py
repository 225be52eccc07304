"""Parquet tables, partitioned by day, behind one manifest: a file counts once the manifest names it."""

import fcntl
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import polars as pl

from contracts.events import EventSchema
from contracts.tables import DAY_COLUMN, KEY_COLUMN, Column, columns_of
from storage.files import retire, sweep, write_atomically, write_bytes

_POLARS: Mapping[Column, pl.DataType] = {
    Column.STR: pl.String(),
    Column.INT: pl.Int64(),
    Column.FLOAT: pl.Float64(),
    Column.BOOL: pl.Boolean(),
    Column.STR_LIST: pl.List(pl.String()),
    Column.INT_LIST: pl.List(pl.Int64()),
    Column.FLOAT_LIST: pl.List(pl.Float64()),
}


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Parquet file of a table's day; `name` is relative to the tables' folder."""

    use_case: str
    table: str
    day: str
    name: str
    rows: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All parts, and the journal's position up to which they hold everything."""

    position: int = 0
    parts: tuple[Part, ...] = ()


class Tables:
    """The tables of an installation. Any process may read; who writes holds `locked()`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def manifest(self) -> Manifest:
        """What counts now."""
        path = self._root / "manifest.json"
        return msgspec.json.decode(path.read_bytes(), type=Manifest) if path.exists() else Manifest()

    def path(self, part: Part) -> Path:
        """Where a part lies."""
        return self._root / part.name

    def files(self, use_case: str, table: str) -> list[Path]:
        """The files of a table, in the order they were written."""
        return [self.path(part) for part in self.manifest().parts if (part.use_case, part.table) == (use_case, table)]

    def frame(self, schema: EventSchema, table: str) -> pl.DataFrame:
        """A whole table; with no rows and the right columns when nothing was written yet."""
        files = self.files(schema.use_case, table)
        columns = polars_schema(table, schema)
        return pl.read_parquet(files, schema=columns, missing_columns="insert") if files else pl.DataFrame(schema=columns)

    def digest(self, schema: EventSchema, table: str) -> str:
        """SHA-256 over the table's sorted logical rows, whatever files they lie in."""
        rows = self.frame(schema, table)
        ordered = rows.sort(KEY_COLUMN[table], DAY_COLUMN[table])
        return hashlib.sha256(ordered.write_ndjson().encode()).hexdigest()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other writers, of this process and of others, until the block ends or the process dies."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def write_parts(self, schema: EventSchema, table: str, rows: pl.DataFrame, label: str) -> list[Part]:
        """Write rows as one file a day. They do not count before `commit`."""
        parts = []
        for (day,), group in rows.with_columns(_day=_day(table)).partition_by("_day", as_dict=True, include_key=False).items():
            name = f"{schema.use_case}/{table}/day={day}/{label}.parquet"
            write_atomically(self._root / name, group.write_parquet)
            parts.append(Part(schema.use_case, table, str(day), name, group.height))
        return sorted(parts, key=lambda part: part.day)

    def commit(self, added: Iterable[Part], position: int, removed: Iterable[Part] = ()) -> Manifest:
        """Make parts count, and others no longer, in one step."""
        gone = {part.name for part in removed}
        kept = [part for part in self.manifest().parts if part.name not in gone]
        manifest = Manifest(position, (*kept, *added))
        write_bytes(self._root / "manifest.json", msgspec.json.encode(manifest))
        retire(self._root / name for name in gone)
        return manifest

    def merge(self, schemas: Mapping[str, EventSchema], most: int = 8) -> int:
        """Merge days that lie in more than `most` files into one file each; how many files went.

        Files that nothing names any more, from here or from a crash, are deleted an hour later.
        """
        with self.locked():
            manifest = self.manifest()
            days: dict[tuple[str, str, str], list[Part]] = {}
            for part in manifest.parts:
                days.setdefault((part.use_case, part.table, part.day), []).append(part)
            added: list[Part] = []
            removed: list[Part] = []
            for (use_case, table, _), parts in days.items():
                if len(parts) > most and use_case in schemas:
                    schema = schemas[use_case]
                    rows = pl.read_parquet([self._root / part.name for part in parts], schema=polars_schema(table, schema))
                    added += self.write_parts(schema, table, rows, f"merged-{manifest.position:020d}")
                    removed += parts
            if removed:
                manifest = self.commit(added, manifest.position, removed)
            sweep(self._root, {part.name for part in manifest.parts}, ".parquet")
        return len(removed)


def polars_schema(table: str, schema: EventSchema) -> pl.Schema:
    """The table's columns as Polars types."""
    return pl.Schema({name: _POLARS[kind] for name, kind in columns_of(table, schema).items()})


def _day(table: str) -> pl.Expr:
    return pl.from_epoch(pl.col(DAY_COLUMN[table]), time_unit="us").dt.strftime("%Y-%m-%d")
