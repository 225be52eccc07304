"""Tiles: the event table laid out for windows, kept up with it by increments.

A tile holds the events of one type that were ingested on some days, as numbers, in order of `(entity, event_time, event_id)`, each with the
time it was ingested and its `seq`: so no tile knows the future, and late events never change an older tile, since they came in later. Only
a day that gained rows is made again. Small tiles of neighbouring days are merged, but for the newest day, which still grows.

The folder holds `manifest.json`, which says what counts, `entities` (ids in the order of their codes), and Arrow files, which readers map
into memory. Everything can be made again from the event table.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import StateRefused
from features.columns import Events, Field, Ints, ordered
from features.event_files import EVENT_BYTES, EventFiles
from features.scan import Scan
from storage.files import write_atomically

FORMAT = 1


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some days of the event table, and their tiles.

    Attributes:
        days: for each, how many rows the event table had when the tiles were made.
        files: for each event type its tile, relative to the folder.
    """

    days: Mapping[str, int]
    files: Mapping[str, str]

    @property
    def rows(self) -> int:
        """Rows of all days together."""
        return sum(self.days.values())


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts: spans in order of their first days, and files of entity ids, whose codes go on from file to file."""

    format: int = FORMAT
    entities: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()


class Tiles:
    """The tiles of a use case, as they were when this was opened.

    Args:
        root: their folder.

    Raises:
        StateRefused: the folder was written by other code.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = Manifest()
        path = root / "manifest.json"
        if path.exists():
            try:
                self.manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
            except msgspec.DecodeError as error:
                raise StateRefused(str(root), f"its manifest is not readable ({error})", "Delete the folder; it is made again.") from error
        if self.manifest.format != FORMAT:
            raise StateRefused(str(root), f"has format {self.manifest.format}, this code reads {FORMAT}", "Delete it; it is made again.")
        self.entities = read_entities(root, self.manifest.entities)

    def codes(self, entities: pa.Array) -> Ints:
        """The codes of entities; those without events have one behind all others."""
        found: Ints = pc.fill_null(pc.index_in(entities, value_set=self.entities), len(self.entities)).to_numpy().astype(np.int64)
        return found

    def parts(
        self, scan: Scan, files: EventFiles, memory: int, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, int, Events]]:
        """What is to be read, as `EventFiles.parts` gives it.

        Args:
            scan: what.
            files: the same events, by which those at one time are ordered across tiles.
            memory: bytes that the arrays given may take.
            first: of the entities to read. `last`: the one behind them; by default all.
        """
        end = len(self.entities) + 1 if last is None else last
        tables = [_between(table, first, end) for table in self._open(scan.source)]
        edges = [first, end]
        steps = 1 + sum(len(table) for table in tables) * EVENT_BYTES // memory
        if steps > 1:
            most = max(tables, key=len).column("entity").to_numpy()
            inner = np.unique(most[np.arange(1, steps) * len(most) // steps])
            edges = [first, *inner[inner > first].tolist(), end]
        for start, stop in pairwise(edges):
            yield start, stop, _merged([_events(_between(table, start, stop), scan) for table in tables], scan, files)

    def digest(self) -> str:
        """SHA-256 over the sorted logical rows of all tiles, however they are cut."""
        digest = hashlib.sha256()
        for kind in sorted({kind for span in self.manifest.spans for kind in span.files}):
            rows = pl.concat([self._logical(table) for table in self._open(kind)], how="diagonal")
            digest.update(rows.sort("entity_id", "seq").write_ndjson().encode())
        return digest.hexdigest()

    def _logical(self, table: pa.Table) -> pl.DataFrame:
        named = table.set_column(0, "entity_id", self.entities.take(table.column("entity")))
        plain = [column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column for column in named.columns]
        return pl.DataFrame(pa.table(dict(zip(named.column_names, plain, strict=True))))

    def _open(self, kind: str) -> list[pa.Table]:
        paths = [self.root / span.files[kind] for span in self.manifest.spans if kind in span.files]
        return [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in paths]


def read_entities(root: Path, names: Sequence[str]) -> pa.Array:
    """Entity ids in the order of their codes.

    Args:
        root: the tiles' folder.
        names: as the manifest has them.
    """
    chunks = [chunk.cast(pa.string()) for name in names for chunk in pq.read_table(root / name).column("entity_id").chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())


def write_tile(out: Path, scan: Scan, parts: Iterable[Events]) -> None:
    """Put a tile in place.

    Args:
        out: Arrow file.
        scan: of the whole type.
        parts: the events of ranges of entities, in order; texts of a field are the same in all.
    """

    def write(path: Path) -> None:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _columns(scan)) as writer:
            for part in parts:
                writer.write_batch(_batch(part, scan))

    write_atomically(out, write)


def _columns(scan: Scan) -> pa.Schema:
    numbers = [("entity", pa.int32()), *((name, pa.int64()) for name in ("event_time", "ingested_time", "seq"))]
    return pa.schema([*numbers, *((name, _TEXT if name in scan.texts else pa.int64()) for name in scan.fields)])


def _batch(part: Events, scan: Scan) -> pa.RecordBatch:
    columns = [pa.array(part.entity, pa.int32()), *(pa.array(numbers) for numbers in (part.time, part.ingested, part.seq))]
    for field in part.fields.values():
        hidden = None if field.present is None else ~field.present
        if field.texts is None:
            columns.append(pa.array(field.values, mask=hidden))
        else:
            columns.append(
                pa.DictionaryArray.from_arrays(pa.array(field.values.astype(np.int32), mask=hidden), pa.array(field.texts, pa.string()))
            )
    return pa.record_batch(columns, schema=_columns(scan))


def _between(table: pa.Table, first: int, last: int) -> pa.Table:
    start, end = np.searchsorted(table.column("entity").to_numpy(), [first, last])
    return table.slice(int(start), int(end - start))


def _events(table: pa.Table, scan: Scan) -> Events:
    fields = {name: _field(table, name, name in scan.texts) for name in scan.fields}
    ingested, seq = (_numbers(table.column(name)) if name in scan.stamps else None for name in ("ingested_time", "seq"))
    return Events(_numbers(table.column("entity")), _numbers(table.column("event_time")), fields, ingested, seq)


def _field(table: pa.Table, name: str, of_texts: bool) -> Field:
    # why: a field that was declared after the tile was made has no value in it
    if name not in table.column_names:
        return Field(np.zeros(len(table), np.int64), np.zeros(len(table), bool), () if of_texts else None)
    column = table.column(name)
    present = pc.is_valid(column).to_numpy() if column.null_count else None
    if not pa.types.is_dictionary(column.type):
        return Field(_numbers(column), present)
    chunks = column.unify_dictionaries().chunks
    texts = chunks[0].dictionary.to_pylist() if chunks else []
    return Field(_numbers(pa.chunked_array([chunk.indices for chunk in chunks], pa.int32())).astype(np.int64), present, texts)


def _numbers(column: pa.ChunkedArray) -> Ints:
    numbers: Ints = (pc.fill_null(column, 0) if column.null_count else column).to_numpy()
    return numbers


def _merged(parts: Sequence[Events], scan: Scan, files: EventFiles) -> Events:
    """The events of several tiles as those of one."""
    if len(parts) == 1:
        return parts[0]
    fields = {name: _joined([part.fields[name] for part in parts], name in scan.texts) for name in scan.fields}
    stamps = {name: _chain([getattr(part, column) for part in parts]) for name, column in _STAMPS.items() if name in scan.stamps}
    entity, time = (_chain([getattr(part, name) for part in parts]) for name in ("entity", "time"))
    order = ordered(entity, time, in_runs=True)
    if scan.ordered:
        at, places = files.order_ties(entity[order], time[order], stamps["seq"][order], scan)
        order[at] = order[places]
    return Events(entity, time, fields, stamps.get("ingested_time"), stamps.get("seq")).take(order)


def _joined(fields: Sequence[Field], of_texts: bool) -> Field:
    present = None
    if any(field.present is not None for field in fields):
        present = np.concatenate([np.ones(len(field.values), bool) if field.present is None else field.present for field in fields])
    texts = list(dict.fromkeys(text for field in fields for text in field.texts or ()))
    place = {text: number for number, text in enumerate(texts)}
    values = [field.values if not field.texts else np.array([place[text] for text in field.texts])[field.values] for field in fields]
    return Field(_chain(values), present, texts if of_texts else None)


def _chain(arrays: Sequence[Ints]) -> Ints:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


_TEXT = pa.dictionary(pa.int32(), pa.string())
_STAMPS = {"ingested_time": "ingested", "seq": "seq"}
