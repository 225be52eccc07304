"""The file of events that another system kept: what it must hold, and every check before a row of it is taken.

One row an event, in Parquet, or in CSV (UTF-8, comma, header, a line feed at the end):

| column | type | meaning |
|---|---|---|
| `event_id` | text | identifies the event for ever; imported again, it changes nothing |
| `entity_id` | text | to whom it happened |
| `type` | text | one of the use case's event types |
| `event_time` | integer microseconds, or a time with zone (RFC 3339 in CSV) | when it happened |
| `ingested_time` | as `event_time` | when the other system knew of it; without it, so long after `event_time` as the source declares |
| fields | as the event types declare them | the fields of each row's type; null where its type has none of that name |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from contracts.errors import DataRefused
from contracts.events import BUILT_IN_TYPES, EventSchema, EventType, FieldType
from contracts.spelling import meant
from training import columns

_NEEDED = ("event_id", "entity_id", "type", "event_time")
_TIMES = ("event_time", "ingested_time")
_POLARS: Mapping[FieldType, pl.DataType] = {FieldType.INT: pl.Int64(), FieldType.STR: pl.String(), FieldType.BOOL: pl.Boolean()}


@dataclass(frozen=True, slots=True)
class EventRules:
    """What a file of events may hold.

    Attributes:
        now_us: nothing may be later.
        lag_us: how long after an event the source knew of it, where rows do not say.
    """

    schema: EventSchema
    now_us: int
    lag_us: int | None = None


def read_events(path: Path, rules: EventRules) -> pl.DataFrame:
    """Read and check a file of events as a whole.

    Returns:
        `event_id, entity_id, type, event_time, ingested_time` and a column a field, each event once, in the order in which they were known.

    Raises:
        DataRefused: the file is unreadable or half-written, or rows are wrong: every reason, with a count and the first rows.
    """
    raw = columns.read(path)
    _check_columns(path, raw, rules)
    typed, reasons = _typed(raw, rules.schema)
    reasons += _broken_rows(typed, rules)
    if not typed.height:
        reasons.append("it has no rows")
    if reasons:
        raise DataRefused(path.name, reasons)
    known = pl.col("ingested_time").fill_null(pl.min_horizontal(pl.col("event_time") + (rules.lag_us or 0), rules.now_us))
    once = typed.drop("row").with_columns(ingested_time=known).unique(maintain_order=True)
    return once.sort("ingested_time", "event_time", "event_id")


def own_types(schema: EventSchema) -> dict[str, EventType]:
    """The types that can be sent or imported."""
    built_in = {event_type.name for event_type in BUILT_IN_TYPES}
    return {name: event_type for name, event_type in schema.types.items() if name not in built_in}


def _check_columns(path: Path, raw: pl.DataFrame, rules: EventRules) -> None:
    fields = {field: kind for event_type in own_types(rules.schema).values() for field, kind in event_type.fields.items()}
    known = (*_NEEDED, "ingested_time", *fields)
    reasons = [f"it has no column {name}. {meant(name, raw.columns)}" for name in _NEEDED if name not in raw.columns]
    reasons += [f"column {name} is not known. {meant(name, known)}" for name in raw.columns if name not in known]
    if "ingested_time" not in raw.columns and rules.lag_us is None:
        reasons.append("it does not say when events were known: add ingested_time, or declare the source's lag")
    if reasons:
        raise DataRefused(path.name, reasons)


def _typed(raw: pl.DataFrame, schema: EventSchema) -> tuple[pl.DataFrame, list[str]]:
    kinds: dict[str, tuple[Callable[[pl.Series], pl.Series], str, pl.DataType]] = {
        name: (columns.text, "a text", pl.String()) for name in ("event_id", "entity_id", "type")
    }
    kinds |= {name: (columns.time, "integer microseconds, or a time with its zone", pl.Int64()) for name in _TIMES}
    kinds |= {name: (_CONVERT[kind], f"of type {kind}", _POLARS[kind]) for name, kind in schema.columns.items() if name in raw.columns}
    made, reasons = [pl.Series("row", range(1, raw.height + 1), dtype=pl.Int64)], []
    for name, (convert, expected, dtype) in kinds.items():
        column = pl.Series(name, [None] * raw.height, dtype=dtype)
        if name in raw.columns:
            try:
                column = column if raw[name].dtype == pl.Null else convert(raw[name]).alias(name)
            except pl.exceptions.PolarsError:
                reasons.append(f"column {name} is of type {raw[name].dtype}; expected {expected}")
            else:
                wrong = column.is_null() & (raw[name].is_not_null() if name not in _NEEDED else True)
                if wrong.any():
                    rows = raw.with_row_index("row", offset=1).filter(wrong)
                    reasons.append(f"{wrong.sum()} rows have no {name} that is {expected}{columns.first(rows, name)}")
        made.append(column)
    return pl.DataFrame(made), reasons


def _broken_rows(rows: pl.DataFrame, rules: EventRules) -> list[str]:
    types = own_types(rules.schema)
    once = rows.drop("row").unique()
    broken: dict[str, tuple[str, pl.Expr]] = {
        "stand more than once with other content": ("event_id", pl.col("event_id").is_in(_twice(once).implode())),
        f"are longer than {columns.LONGEST_ID} bytes, empty, or hold a NUL": ("event_id", columns.unfit_id("event_id")),
        f"of entities are longer than {columns.LONGEST_ID} bytes, empty, or hold a NUL": ("entity_id", columns.unfit_id("entity_id")),
        f"are no event type ({', '.join(types)})": ("type", ~pl.col("type").is_in(list(types))),
        "lie in the future": ("event_time", pl.col("event_time") > rules.now_us),
        "are not after 1970": ("event_time", pl.col("event_time") <= 0),
        "lie in the future or are not after 1970": (
            "ingested_time",
            (pl.col("ingested_time") > rules.now_us) | (pl.col("ingested_time") <= 0),
        ),
    }
    reasons = []
    for text, (name, condition) in broken.items():
        wrong = rows.filter(condition.fill_null(False))
        if wrong.height:
            reasons.append(f"{wrong.height} rows: values of {name} {text}{columns.first(wrong, name)}")
    for event_type in types.values():
        reasons += _broken_fields(rows.filter(pl.col("type") == event_type.name), event_type, rules.schema)
    return reasons


def _broken_fields(rows: pl.DataFrame, event_type: EventType, schema: EventSchema) -> list[str]:
    reasons = []
    for name, kind in schema.columns.items():
        column = rows[name] if name in rows.columns else pl.Series(name, [None] * rows.height, dtype=_POLARS[kind])
        if name in event_type.fields and name not in event_type.optional:
            wrong, what = column.is_null(), "has none"
        elif name in event_type.fields:
            continue
        else:
            wrong, what = column.is_not_null(), "declares none"
        if kind is FieldType.STR and not wrong.any():
            wrong, what = (
                (column.str.len_chars() > 256) | column.str.contains("\0", literal=True),
                "is longer than 256 characters, or holds a NUL",
            )
        if count := wrong.fill_null(False).sum():
            shown = rows.filter(wrong.fill_null(False)).with_columns(column.filter(wrong.fill_null(False)).alias(name))
            reasons.append(f"{count} rows of type {event_type.name}: field {name} {what}{columns.first(shown, name)}")
    return reasons


def _twice(once: pl.DataFrame) -> pl.Series:
    return once.filter(pl.col("event_id").is_duplicated())["event_id"].unique()


def _truth(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Boolean:
        return column
    if column.dtype != pl.String:
        raise pl.exceptions.InvalidOperationError("no truth value")
    return column.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)


def _plain_text(column: pl.Series) -> pl.Series:
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise pl.exceptions.InvalidOperationError("no text")
    return column.cast(pl.String)


_CONVERT: Mapping[FieldType, Callable[[pl.Series], pl.Series]] = {
    FieldType.INT: columns.integer,
    FieldType.STR: _plain_text,
    FieldType.BOOL: _truth,
}
