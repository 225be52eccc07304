import sqlite3
from pathlib import Path

import pytest

from contracts.errors import InvalidInput, SettingsError, StoreUnavailable
from flows.attributes import read, where
from flows.features import read_attributes, write_table
from flows.place import Place
from serving.service import DecisionService
from tests.flows.conftest import USE_CASE
from use_cases.definition import load

COLUMNS = "entity_id, valid_from, recorded_at, recency_months, history_cents, bought_mens, bought_womens, zip_code, newbie, channel"


def customers(file: Path, *rows: tuple[object, ...]) -> Path:
    with sqlite3.connect(file) as connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS customers ({COLUMNS})")
        connection.executemany(f"INSERT INTO customers VALUES ({', '.join('?' * 10)})", rows)
    connection.close()
    return file


def customer(entity_id: str, recorded_at: int, recency: int) -> tuple[object, ...]:
    return (entity_id, recorded_at, recorded_at, recency, 12_345, 1, 0, "Urban", 0, "Web")


def test_rows_come_in_the_order_they_were_recorded_and_only_new_ones(tmp_path: Path) -> None:
    file = customers(tmp_path / "customers.sqlite", customer("b", 30, 1), customer("a", 10, 2), customer("a", 20, 3))
    use_case = load(USE_CASE)
    found = list(read(use_case, use_case.attribute_sources[0], file, 15))
    assert [(recorded, message.entity_id, message.event_time) for recorded, message in found] == [(20, "a", 20), (30, "b", 30)]
    assert found[0][1].fields["recency_months"] == 3 and found[0][1].fields["bought_mens"] is True


def test_the_same_row_has_the_same_event_id_and_another_content_another(tmp_path: Path) -> None:
    use_case = load(USE_CASE)
    one = customers(tmp_path / "one.sqlite", customer("a", 10, 2))
    other = customers(tmp_path / "other.sqlite", customer("a", 10, 3))
    ids = [next(read(use_case, use_case.attribute_sources[0], file, 0))[1].event_id for file in (one, one, other)]
    assert ids[0] == ids[1] != ids[2]


def test_a_query_of_other_columns_and_a_file_that_is_none_are_named(tmp_path: Path) -> None:
    use_case = load(USE_CASE)
    (source,) = use_case.attribute_sources
    narrow = type(source)(source.name, "SELECT entity_id, valid_from, recorded_at FROM customers")
    file = customers(tmp_path / "customers.sqlite", customer("a", 10, 2))
    with pytest.raises(InvalidInput, match="attribute source customer"):
        list(read(use_case, narrow, file, 0))
    (tmp_path / "broken.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StoreUnavailable, match="attribute source customer"):
        list(read(use_case, source, tmp_path / "broken.sqlite", 0))
    with pytest.raises(SettingsError, match=r"attribute_sources\.customer"):
        where(source, {})


def test_attributes_are_in_the_next_decision_and_taken_in_once(place: Place) -> None:
    use_case = place.use_cases[USE_CASE]
    now_us = place.clock.now_us()
    file = customers(Path(place.settings.attribute_sources["customer"]), customer("a", now_us - 20, 7), customer("b", now_us - 10, 9))
    assert read_attributes.fn(place.settings, use_case) == 2
    assert read_attributes.fn(place.settings, use_case) == 0
    customers(file, customer("a", now_us - 5, 8))
    assert read_attributes.fn(place.settings, use_case) == 1
    with DecisionService(place.settings) as service:
        decision = service.decide(USE_CASE, "a")
    assert dict(zip(use_case.feature_set.names, decision.features, strict=True))["recency"] == 8.0
    place.drain()
    assert write_table.fn(place, use_case) == 2
    assert (place.layout.features / USE_CASE / "latest.parquet").exists()
