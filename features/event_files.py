"""The event table's files, read with DuckDB: it scans, filters, codes entities and texts, and spills."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from contracts.errors import DataRefused, SettingsError
from contracts.events import EventSchema, FieldType
from features.columns import Events, Field, Ints, Mask, ordered
from features.scan import Scan

EVENT_BYTES = 160
"""Of memory an event takes while windows over it are computed, at most."""

_LEAST = 128_000_000
"""Below this DuckDB does not work at all."""

_KINDS = {FieldType.INT: "BIGINT", FieldType.STR: "VARCHAR", FieldType.BOOL: "BOOLEAN"}


class EventFiles:
    """Parquet files of an event table, for a `with` block; they are opened when something is asked of them.

    Args:
        files: none are an empty table; a file may lack fields that were declared after it was written.
        schema: of the events.
        entities: ids; an entity's code is its position. Events of others are not read.
        memory: bytes that DuckDB and the arrays given take together, at most.
        spill: a folder for what does not fit.

    Raises:
        DataRefused: when it is asked for something, and a file is no whole Parquet file or lacks a column.
    """

    def __init__(self, files: Sequence[Path], schema: EventSchema, entities: pa.Array, memory: int, spill: Path) -> None:
        self._files, self._schema, self._entities, self._spill = files, schema, entities, spill
        self._memory = memory // 2

    def __enter__(self) -> "EventFiles":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if "_engine" in self.__dict__:
            self._engine.close()

    def parts(self, scan: Scan) -> Iterator[tuple[int, int, Events]]:
        """What is to be read, ordered, by ranges of entities that fit the memory: the first, the one behind the last, their events."""
        texts = {name: self._texts(scan, name) for name in scan.fields if name in scan.texts}
        coded = _coded(scan, texts)
        (count,) = self._engine.execute("SELECT count(*) FROM events").fetchone() or (0,)
        if count * EVENT_BYTES <= self._memory:
            yield 0, len(self._entities), self._read(coded, scan, texts)
            return
        self._engine.execute(f"CREATE OR REPLACE TEMP TABLE coded AS {coded}")
        for first, last in self._ranges():
            yield first, last, self._read(f"SELECT * FROM coded WHERE entity >= {first} AND entity < {last}", scan, texts)
        self._engine.execute("DROP TABLE coded")

    def order_ties(self, entity: Ints, time: Ints, seq: Ints, scan: Scan) -> tuple[Ints, Ints]:
        """Of events ordered by entity and time, those at one time: their positions, and the positions in order of their event ids."""
        same = np.zeros(len(entity) + 1, bool)
        same[1:-1] = (entity[1:] == entity[:-1]) & (time[1:] == time[:-1])
        at = np.flatnonzero(same[1:] | same[:-1])
        if not len(at):
            return at, at
        self._engine.register("tied", pa.table({"code": entity[at], "event_time": time[at], "seq": seq[at], "place": at}))
        found = self._engine.execute(
            "SELECT t.place FROM tied t JOIN entities n USING (code) JOIN events e ON e.entity_id = n.entity_id AND e.seq = t.seq "
            f"AND e.event_time = t.event_time WHERE e.type = {_text(scan.source)} ORDER BY t.code, t.event_time, e.event_id"
        ).fetchnumpy()
        return at, np.ma.getdata(found["place"])

    @cached_property
    def _engine(self) -> duckdb.DuckDBPyConnection:
        engine = duckdb.connect(
            config={
                "memory_limit": f"{max(self._memory, _LEAST)}B",
                "temp_directory": str(self._spill),
                "autoload_known_extensions": False,
                "preserve_insertion_order": False,
            }
        )
        try:
            _open(engine, self._files, self._schema)
        except duckdb.Error as error:
            engine.close()
            raise DataRefused("event table", [str(error).splitlines()[0]]) from error
        codes = pa.array(range(len(self._entities)), pa.int32())
        engine.register("entities", pa.table({"entity_id": self._entities, "code": codes}))
        return engine

    def _texts(self, scan: Scan, name: str) -> list[str]:
        """The texts of a field, each once; kept as the table `text_<field's number>` with their positions."""
        where = f"{_conditions(scan)} AND {_name(name)} IS NOT NULL"
        texts = [text for (text,) in self._engine.execute(f"SELECT DISTINCT {_name(name)} FROM events e WHERE {where}").fetchall()]
        texts.sort()
        codes = pa.table({"text": pa.array(texts, pa.string()), "code": pa.array(range(len(texts)), pa.int64())})
        self._engine.register(f"text_{scan.fields.index(name)}", codes)
        return texts

    def _ranges(self) -> Iterator[tuple[int, int]]:
        counted = self._engine.execute("SELECT entity, count(*) AS events FROM coded GROUP BY entity").fetchnumpy()
        sizes = np.zeros(len(self._entities), np.int64)
        sizes[counted["entity"]] = counted["events"]
        group = np.cumsum(sizes) * EVENT_BYTES // self._memory
        yield from pairwise([0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(self._entities)])

    def _read(self, query: str, scan: Scan, texts: dict[str, list[str]]) -> Events:
        found: dict[str, Any] = self._engine.execute(query).fetchnumpy()
        present: dict[str, Mask] = {name: ~np.ma.getmaskarray(column) for name, column in found.items() if np.ma.is_masked(column)}
        plain = {name: np.ma.filled(column, 0) for name, column in found.items()}
        order = ordered(plain["entity"], plain["event_time"])
        if scan.ordered:
            entity, time, seq = (plain[name][order] for name in ("entity", "event_time", "seq"))
            at, places = self.order_ties(entity, time, seq, scan)
            order[at] = order[places]
        fields = {}
        for number, name in enumerate(scan.fields):
            values = plain[f"f{number}"].astype(np.int64, copy=False)
            fields[name] = Field(values, present.get(f"f{number}"), texts.get(name))
        return Events(plain["entity"], plain["event_time"], fields, plain.get("ingested_time"), plain.get("seq")).take(order)


def bytes_of(memory: str) -> int:
    """The bytes of a size such as `2GB`.

    Raises:
        SettingsError: it is no size.

    Example:
        >>> bytes_of("512MB")
        512000000
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B\s*", memory, re.IGNORECASE)
    if found is None:
        raise SettingsError("store.duckdb_memory", memory, "a size such as 2GB or 512MB")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit.upper() or " "))


def _open(engine: duckdb.DuckDBPyConnection, files: Sequence[Path], schema: EventSchema) -> None:
    kinds = dict.fromkeys(("event_id", "entity_id", "type"), "VARCHAR") | dict.fromkeys(("event_time", "ingested_time", "seq"), "BIGINT")
    kinds |= {field: _KINDS[kind] for field, kind in schema.columns.items()}
    if files:
        found = engine.read_parquet([str(path) for path in files], union_by_name=True, hive_partitioning=False)
        held = set(found.columns)
        if lost := [name for name in ("event_id", "entity_id", "type", "event_time", "ingested_time", "seq") if name not in held]:
            raise DataRefused("event table", [f"its files have no column {', '.join(lost)}"])
        picked = [f"{_name(field) if field in held else 'NULL'}::{kind} AS {_name(field)}" for field, kind in kinds.items()]
        found.project(", ".join(picked)).create_view("events")
    else:
        engine.execute(f"CREATE TEMP TABLE events ({', '.join(f'{_name(field)} {kind}' for field, kind in kinds.items())})")


def _conditions(scan: Scan) -> str:
    since = [] if scan.since_us is None else [f"e.event_time >= {scan.since_us}"]
    until = [] if scan.until_us is None else [f"e.event_time <= {scan.until_us}"]
    return " AND ".join([f"e.type = {_text(scan.source)}", *since, *until])


def _coded(scan: Scan, texts: dict[str, list[str]]) -> str:
    """The events of a scan as numbers: `entity`, `event_time`, the stamps, and `f<number>` for each field."""
    picked, joins = [], []
    for number, field in enumerate(scan.fields):
        if field in texts:
            joins.append(f"LEFT JOIN text_{number} ON text_{number}.text = e.{_name(field)}")
            picked.append(f"text_{number}.code AS f{number}")
        else:
            picked.append(f"CAST(e.{_name(field)} AS BIGINT) AS f{number}")
    columns = ", ".join(["n.code AS entity", "e.event_time", *(f"e.{name}" for name in scan.stamps), *picked])
    return f"SELECT {columns} FROM events e JOIN entities n USING (entity_id) {' '.join(joins)} WHERE {_conditions(scan)}"


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
