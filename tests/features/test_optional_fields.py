"""A field that may be null means the same online and in the tables: where it is null, there is no value."""

import math
from pathlib import Path

import polars as pl

from contracts.clock import DAY_US
from contracts.events import EventSchema, EventType, FieldType
from contracts.records import FieldValue
from decisions.record import make_event, record_event
from features.online import OnlineFeatures
from features.point_in_time import compute
from features.vocabulary import attributes, events, feature_set
from storage.drain import drain
from storage.journal import Journal
from storage.tables import Tables

FIELDS = {"country": FieldType.STR, "age": FieldType.INT, "vip": FieldType.BOOL}
SCHEMA = EventSchema.build("shop", [EventType("profile", FIELDS, optional=tuple(FIELDS))])
FEATURES = feature_set(
    "shop",
    attributes("profile").text("country", ("de", "us")),
    attributes("profile").number("age", default=math.nan),
    attributes("profile").number("vip"),
    events("profile").mean("age", days=7),
    events("profile").distinct("country", days=7),
    events("profile").last("age", days=7),
)
NOON = 20_000 * DAY_US
SENT: list[dict[str, FieldValue]] = [
    {"country": "de", "age": 5, "vip": True},
    {"country": None, "age": None, "vip": None},
    {"age": 9},
    {"country": "us"},
]
EXPECTED = [
    ([0.0, 5.0, 1.0, 5.0, 1.0, 5.0], set()),
    ([-1.0, None, 0.0, 5.0, 1.0, 5.0], {"country", "age", "vip"}),
    ([-1.0, 9.0, 0.0, 7.0, 1.0, 9.0], {"country", "vip"}),
    ([1.0, None, 0.0, 7.0, 2.0, 9.0], {"age", "vip"}),
]


def plain(values: list[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]


def test_a_null_is_no_value_in_every_engine(tmp_path: Path) -> None:
    online = OnlineFeatures(SCHEMA, 30 * DAY_US, ready=[FEATURES])
    journal, tables = Journal(tmp_path / "journal", 2**26), Tables(tmp_path / "tables")
    try:
        for number, (fields, (values, missing)) in enumerate(zip(SENT, EXPECTED, strict=True), start=1):
            SCHEMA.check("profile", fields)
            at_us = NOON + number
            event = make_event(f"e-{number}", "x", "profile", at_us, fields, ingested_time=at_us)
            journal.write(lambda write, event=event: record_event(write, "shop", event, online.apply))  # type: ignore[misc]
            with journal.read() as read:
                row = online.read(read.get_state("shop", "x"), FEATURES, at_us + 1, {})
            assert (plain(row.values.tolist()), set(row.missing)) == (values, missing)
            drain(journal, tables, {"shop": SCHEMA})
            spine = tmp_path / "spine.parquet"
            asked = {"row_id": ["r"], "entity_id": ["x"], "moment": [at_us + 1], "seen_seq": [number]}
            pl.DataFrame(asked).write_parquet(spine)
            compute(tables.files("shop", "events"), spine, FEATURES, SCHEMA, tmp_path / "out.parquet")
            (found,) = pl.read_parquet(tmp_path / "out.parquet").to_dicts()
            assert (plain([found[name] for name in FEATURES.names]), set(found["missing"])) == (values, missing)
    finally:
        journal.close()
