"""The table of all entities' features: as of a moment, whatever days there are events of."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from contracts.clock import DAY_US
from contracts.events import EventSchema, EventType, FieldType
from decisions.record import make_event, record_event
from features.latest import Materialized, materialize
from features.online import OnlineFeatures
from features.vocabulary import attributes, events, feature_set
from storage.drain import drain
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables

SCHEMA = EventSchema.build("shop", [EventType("visit", {"page": FieldType.STR}), EventType("profile", {"level": FieldType.INT})])
FEATURES = feature_set(
    "shop",
    events("visit").count(days=(1, 7)),
    events("visit").distinct("page", days=7),
    attributes("profile").number("level", default=-1.0),
)
MONDAY = 20_003 * DAY_US


class Shop:
    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder)
        self.journal, self.tables = Journal(folder / "journal", 2**26), Tables(folder / "tables")
        self.online = OnlineFeatures(SCHEMA, 30 * DAY_US)
        self.sent = 0

    def visit(self, entity_id: str, at_us: int, page: str = "/") -> None:
        self.sent += 1
        event = make_event(f"v-{self.sent}", entity_id, "visit", at_us, {"page": page}, ingested_time=at_us)
        self.journal.write(lambda write: record_event(write, "shop", event, self.online.apply))

    def materialize(self, moment_us: int) -> Materialized:
        drain(self.journal, self.tables, {"shop": SCHEMA})
        return materialize(self.tables, SCHEMA, FEATURES, self.layout, moment_us)

    def rows(self) -> dict[str, tuple[float, ...]]:
        found = pl.read_parquet(self.layout.latest("shop"))
        return {row["row_id"]: tuple(row[name] for name in FEATURES.names) for row in found.to_dicts()}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.journal.close()


def test_without_events_there_is_nothing_to_write(shop: Shop) -> None:
    assert shop.materialize(MONDAY) == Materialized(0, 0, shop.layout.latest("shop"))
    assert not shop.layout.latest("shop").exists()


def test_a_day_without_events_is_a_day_like_others(shop: Shop) -> None:
    shop.visit("a", MONDAY, "/")
    shop.visit("a", MONDAY + 2 * DAY_US, "/hats")
    shop.visit("b", MONDAY + 2 * DAY_US)
    done = shop.materialize(MONDAY + 2 * DAY_US + 1)
    assert (done.days, done.entities) == (2, 2)
    assert shop.rows() == {"a": (1.0, 2.0, 2.0, -1.0), "b": (1.0, 1.0, 1.0, -1.0)}


def test_what_is_new_is_added_and_what_is_old_stays(shop: Shop) -> None:
    shop.visit("a", MONDAY)
    assert shop.materialize(MONDAY + 1).days == 1
    assert shop.materialize(MONDAY + 2).days == 0
    shop.visit("a", MONDAY + 3)
    shop.visit("c", MONDAY + 3)
    assert shop.materialize(MONDAY + 4).days == 1
    assert shop.rows() == {"a": (2.0, 2.0, 1.0, -1.0), "c": (1.0, 1.0, 1.0, -1.0)}
    shop.materialize(MONDAY + 30 * DAY_US)
    assert shop.rows() == dict.fromkeys(("a", "c"), (0.0, 0.0, 0.0, -1.0))
