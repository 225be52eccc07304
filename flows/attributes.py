"""Attribute sources: tables of slowly changing rows, read with SQL, that come in as events like everything else."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from contracts.digests import digest_of
from contracts.errors import InvalidInput, SettingsError, StoreUnavailable
from contracts.events import FieldType
from serving.messages import EventMessage
from use_cases.definition import AttributeSource, UseCase

_TIMES = ("valid_from", "recorded_at")


def where(source: AttributeSource, sources: Mapping[str, str]) -> Path:
    """The SQLite file of a source.

    Raises:
        SettingsError: the settings do not say where it is, or it is not there.
    """
    named = sources.get(source.name, "")
    if not named or not Path(named).is_file():
        raise SettingsError(f"attribute_sources.{source.name}", named, "the path of a SQLite file that is there")
    return Path(named)


def read(use_case: UseCase, source: AttributeSource, file: Path, since_us: int) -> Iterator[tuple[int, EventMessage]]:
    """Rows recorded at `since_us` or later, in the order they were recorded: when, and the event that says so.

    A row's event id is the digest of what it says, so that reading it twice changes nothing.

    Raises:
        InvalidInput: the query does not give the declared columns.
        StoreUnavailable: the file cannot be read now.
    """
    declared = use_case.schema.types[source.name].fields
    query = f"SELECT * FROM ({source.query.strip().rstrip(';')}) WHERE recorded_at >= ? ORDER BY recorded_at, valid_from, entity_id"
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10.0)) as connection:
            cursor = connection.execute(query, (since_us,))
            columns = [name for name, *_ in cursor.description]
            if set(columns) != {"entity_id", *_TIMES, *declared}:
                raise InvalidInput(
                    f"attribute source {source.name}", f"gives {columns}", f"entity_id, valid_from, recorded_at, {', '.join(declared)}"
                )
            for row in cursor:
                values = dict(zip(columns, row, strict=True))
                fields = {name: bool(values[name]) if kind is FieldType.BOOL else values[name] for name, kind in declared.items()}
                entity_id, valid_from, recorded_at = str(values["entity_id"]), int(values["valid_from"]), int(values["recorded_at"])
                event_id = "attribute-" + digest_of([source.name, entity_id, valid_from, recorded_at, fields])[:32]
                yield recorded_at, EventMessage(event_id, entity_id, source.name, valid_from, fields)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"attribute source {source.name} ({file})", str(error)) from error
