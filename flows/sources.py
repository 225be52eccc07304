"""Tables of attributes where they lie: a SQLite file, a Parquet file, a PostgreSQL server.

Times are whole microseconds (UTC), or moments with a zone; a moment without one is refused, since nobody knows what it means. A row without
`recorded_at` is read every time, so that it is told of and not passed over in silence.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote, urlsplit

import polars as pl
import psycopg
from psycopg.rows import dict_row

from contracts.clock import to_datetime
from contracts.errors import InvalidInput, SettingsError, StoreUnavailable
from contracts.events import FieldType
from contracts.spelling import meant
from use_cases.definition import AttributeSource

TIMES = ("valid_from", "recorded_at")
PART = 2_000
"""Rows that are read at once."""

Row = Mapping[str, Any]

_EXPECTED = "a SQLite file, a *.parquet file, or postgresql://user@host:port/database"
_WHOLE = frozenset({"int2", "int4", "int8"})
_MOMENT = "timestamptz"
_TEXTS = frozenset({"text", "varchar", "bpchar", "name", "uuid"})
_FITTING: Mapping[FieldType, frozenset[str]] = {FieldType.INT: _WHOLE, FieldType.STR: _TEXTS, FieldType.BOOL: frozenset({"bool"})}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a source's table lies."""

    kind: Literal["sqlite", "parquet", "postgresql"]
    named: str

    def __str__(self) -> str:
        """The address, without what a URL says besides."""
        return self.named.partition("?")[0]


def locate(source: AttributeSource, sources: Mapping[str, str]) -> Address:
    """Where the settings say that a source is.

    Raises:
        SettingsError: they do not say, it is not there, or a URL holds a password.
    """
    key, named = f"attribute_sources.{source.name}", sources.get(source.name, "")
    if named.startswith(("postgresql://", "postgres://")):
        url = urlsplit(named)
        if url.password is not None or "password" in parse_qs(url.query):
            shown = f"{url.scheme}://{url.username or ''}@…"
            raise SettingsError(key, shown, "no password in it: name a file by `?passfile=FILE`, or by the variable PGPASSFILE")
        return Address("postgresql", named)
    if not named or not Path(named).is_file():
        raise SettingsError(key, named, f"{_EXPECTED} that is there")
    return Address("parquet" if named.endswith(".parquet") else "sqlite", named)


def rows(source: AttributeSource, fields: Mapping[str, FieldType], address: Address, since_us: int) -> Iterator[Row]:
    """Rows recorded at `since_us` or later, in the order they were recorded: `entity_id`, the times, the fields.

    Times are whole numbers or texts as they stand in the table; whether a value fits is for the reader to see.

    Args:
        source: whose query is asked; of a Parquet file the columns are taken as they are.
        fields: of the source's event type.
        address: where it lies.
        since_us: by `recorded_at`.

    Raises:
        InvalidInput: a column is missing or of a type that can never fit; it names the source and the column.
        StoreUnavailable: it cannot be read now.
    """
    columns = ("entity_id", *TIMES, *fields)
    match address.kind:
        case "sqlite":
            return _sqlite(source, columns, address, since_us)
        case "parquet":
            return _parquet(source, fields, address, since_us)
        case "postgresql":
            return _postgresql(source, fields, address, since_us)


def _sqlite(source: AttributeSource, columns: tuple[str, ...], address: Address, since_us: int) -> Iterator[Row]:
    # why: texts are greater than all numbers to SQLite, so times that are texts are all read
    query = f"SELECT * FROM ({_query(source)}) WHERE recorded_at >= ? OR recorded_at IS NULL ORDER BY recorded_at, valid_from, entity_id"
    try:
        with closing(sqlite3.connect(f"file:{quote(address.named)}?mode=ro", uri=True, timeout=10.0)) as connection:
            named = [name for name, *_ in connection.execute(f"SELECT * FROM ({_query(source)}) LIMIT 0").description]
            _check_columns(source, columns, named)
            for row in connection.execute(query, (since_us,)):
                yield dict(zip(named, row, strict=True))
    except sqlite3.OperationalError as error:
        if "no such" in str(error):
            raise _lost(source, str(error)) from error
        raise StoreUnavailable(f"attribute source {source.name} ({address})", str(error)) from error
    except sqlite3.Error as error:
        raise StoreUnavailable(f"attribute source {source.name} ({address})", str(error)) from error


def _parquet(source: AttributeSource, fields: Mapping[str, FieldType], address: Address, since_us: int) -> Iterator[Row]:
    columns = ("entity_id", *TIMES, *fields)
    try:
        frame = pl.scan_parquet(address.named, hive_partitioning=False, glob=False)
        schema = frame.collect_schema()
        _check_columns(source, columns, schema.names(), others=True)
        for name in columns:
            _check_type(source, name, fields.get(name), _polars_kind(schema[name]), str(schema[name]))
        times = [
            pl.col(name).dt.convert_time_zone("UTC").dt.cast_time_unit("us").dt.epoch("us")
            for name in TIMES
            if isinstance(schema[name], pl.Datetime)
        ]
        asked = frame.select(columns).with_columns(times).filter(pl.col("recorded_at").is_null() | (pl.col("recorded_at") >= since_us))
        found = asked.sort("recorded_at", "valid_from", "entity_id", nulls_last=True).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        what = f"it is no whole Parquet file ({str(error).splitlines()[0]}); write it under another name, then rename it"
        raise StoreUnavailable(f"attribute source {source.name} ({address})", what) from error
    for part in found.iter_slices(PART):
        yield from part.iter_rows(named=True)


def _postgresql(source: AttributeSource, fields: Mapping[str, FieldType], address: Address, since_us: int) -> Iterator[Row]:
    columns = ("entity_id", *TIMES, *fields)
    try:
        with psycopg.connect(address.named, connect_timeout=10, application_name="offerloop") as connection:
            connection.read_only = True
            kinds = _postgresql_types(connection, source)
            _check_columns(source, columns, list(kinds))
            for name in columns:
                _check_type(source, name, fields.get(name), _postgresql_kind(kinds[name]), kinds[name])
            since = to_datetime(since_us) if kinds["recorded_at"] == _MOMENT else since_us
            with connection.cursor(name="offerloop", row_factory=dict_row) as cursor:
                cursor.itersize = PART
                cursor.execute(_postgresql_query(source, fields, kinds).encode(), (since,))
                yield from cursor
    except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable) as error:
        raise _lost(source, _first_line(error)) from error
    except psycopg.Error as error:
        raise StoreUnavailable(f"attribute source {source.name} ({address})", _first_line(error)) from error


def _postgresql_types(connection: "psycopg.Connection[Any]", source: AttributeSource) -> dict[str, str]:
    found = connection.execute(f"SELECT * FROM ({_query(source)}) AS source LIMIT 0".encode()).description or ()
    names: dict[int, str] = dict(connection.execute("SELECT oid, typname FROM pg_type").fetchall())
    return {column.name: names.get(column.type_code, "unknown") for column in found}


def _postgresql_query(source: AttributeSource, fields: Mapping[str, FieldType], kinds: Mapping[str, str]) -> str:
    def time(name: str) -> str:
        # why: infinity has no microseconds
        exact = f"CASE WHEN isfinite({name}) THEN (EXTRACT(EPOCH FROM {name}) * 1000000)::bigint END"
        return f"{exact} AS {name}" if kinds[name] == _MOMENT else name

    chosen = [
        "entity_id::text AS entity_id",
        *map(time, TIMES),
        *(_text(name) if kinds[name] in _TEXTS else _quoted(name) for name in fields),
    ]
    query = _query(source).replace("%", "%%")
    return (
        f"SELECT {', '.join(chosen)} FROM ({query}) AS source WHERE recorded_at >= %s OR recorded_at IS NULL "
        f"ORDER BY source.recorded_at, source.valid_from, source.entity_id"
    )


def _check_columns(source: AttributeSource, columns: tuple[str, ...], found: list[str], *, others: bool = False) -> None:
    missing = [name for name in columns if name not in found]
    if missing:
        what = f"has no column `{missing[0]}`. {meant(missing[0], found)}"
        raise InvalidInput(f"attribute source {source.name}", what, f"{', '.join(columns)}. Mend the table, or the source's query")
    if not others and (unknown := [name for name in found if name not in columns]):
        what = f"gives a column `{unknown[0]}` that its event type does not declare"
        raise InvalidInput(f"attribute source {source.name}", what, f"{', '.join(columns)}. Declare it, or leave it out of the query")


def _check_type(source: AttributeSource, name: str, kind: FieldType | None, found: FieldType | Literal["moment"] | None, said: str) -> None:
    if name in TIMES:
        fits, expected = found in (FieldType.INT, "moment"), "whole microseconds (UTC), or a moment with its zone"
    elif name == "entity_id":
        fits, expected = found in (FieldType.INT, FieldType.STR), "a text"
    else:
        fits, expected = found == kind, f"of type {kind}"
    if not fits:
        raise InvalidInput(f"attribute source {source.name}", f"has column `{name}` of type {said}", f"{expected}. Cast it in the query")


def _polars_kind(kind: pl.DataType) -> FieldType | Literal["moment"] | None:
    if kind.is_integer():
        return FieldType.INT
    if kind in (pl.String, pl.Categorical, pl.Enum):
        return FieldType.STR
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return "moment"
    return FieldType.BOOL if kind == pl.Boolean else None


def _postgresql_kind(kind: str) -> FieldType | Literal["moment"] | None:
    if kind == _MOMENT:
        return "moment"
    return next((field for field, names in _FITTING.items() if kind in names), None)


def _lost(source: AttributeSource, what: str) -> InvalidInput:
    return InvalidInput(
        f"attribute source {source.name}", f"cannot be asked its query ({what})", "the tables and columns that the query names"
    )


def _query(source: AttributeSource) -> str:
    return source.query.strip().rstrip(";")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(name: str) -> str:
    return f"{_quoted(name)}::text AS {_quoted(name)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
