"""Attributes from a real PostgreSQL server."""

from collections.abc import Callable, Iterator

import msgspec
import psycopg
import pytest

from contracts.clock import DAY_US, to_datetime
from contracts.errors import InvalidInput, StoreUnavailable
from flows.attributes import Taken, take_in
from flows.place import Place
from flows.sources import locate, rows
from serving.service import DecisionService
from tests.flows.conftest import USE_CASE
from tests.flows.running_postgresql import Server, running
from use_cases.definition import AttributeSource, load

pytestmark = pytest.mark.engines

SOURCE = load(USE_CASE).attribute_sources[0]
FIELDS = load(USE_CASE).schema.types["customer"].fields

TABLE = """
CREATE TABLE customers (
    entity_id uuid_or_text, valid_from timestamptz, recorded_at timestamptz DEFAULT clock_timestamp(), recency_months smallint,
    history_cents bigint, bought_mens boolean, bought_womens boolean, zip_code text, newbie boolean, channel varchar(20)
)""".replace("uuid_or_text", "text")


@pytest.fixture(scope="module")
def server(free_port: Callable[[], int]) -> Iterator[Server]:
    with running(free_port()) as started:
        yield started


@pytest.fixture
def service(server: Server, place: Place) -> Iterator[DecisionService]:
    server.do("DROP TABLE IF EXISTS customers CASCADE", TABLE)
    settings = msgspec.structs.replace(place.settings, attribute_sources={"customer": server.url})
    with DecisionService(settings) as opened:
        yield opened


def put(server: Server, entity_id: str, recorded_us: int, recency: int = 3, valid_us: int | None = None) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute(
            "INSERT INTO customers VALUES (%s, %s, %s, %s, 12345, true, false, 'Urban', false, 'Web')",
            (entity_id, to_datetime(recorded_us if valid_us is None else valid_us), to_datetime(recorded_us), recency),
        )


def taken(service: DecisionService, source: AttributeSource = SOURCE) -> Taken:
    return take_in(service, load(USE_CASE), source)


def recency(service: DecisionService, entity_id: str) -> float:
    decision = service.decide(USE_CASE, entity_id)
    return dict(zip(load(USE_CASE).feature_set.names, decision.features, strict=True))["recency"]


def test_rows_and_corrections_are_in_the_next_decision(server: Server, service: DecisionService) -> None:
    now_us = service.clock.now_us()
    put(server, "a", now_us - 2 * DAY_US, 7)
    put(server, "b", now_us - DAY_US, 9)
    assert taken(service) == Taken(accepted=2)
    assert taken(service) == Taken()
    assert (recency(service, "a"), recency(service, "b")) == (7.0, 9.0)
    put(server, "a", service.clock.now_us(), 5, valid_us=now_us - DAY_US)
    assert taken(service) == Taken(accepted=1)
    assert recency(service, "a") == 5.0


def test_a_row_of_a_transaction_that_commits_late_is_not_lost(server: Server, service: DecisionService) -> None:
    put(server, "first", service.clock.now_us())
    assert taken(service) == Taken(accepted=1)
    slow = psycopg.connect(server.url)
    try:
        slow.execute(
            "INSERT INTO customers VALUES ('slow', %s, %s, 4, 1, true, false, 'Urban', false, 'Web')",
            (to_datetime(service.clock.now_us()),) * 2,
        )
        put(server, "fast", service.clock.now_us())
        wide = AttributeSource(SOURCE.name, SOURCE.query, lag_us=10_000 * DAY_US)
        assert taken(service, wide) == Taken(accepted=1)
        slow.commit()
        assert taken(service, wide) == Taken(accepted=1)
    finally:
        slow.close()
    assert recency(service, "slow") == 4.0


def test_a_moment_that_is_none_goes_to_quarantine(server: Server, service: DecisionService) -> None:
    now_us = service.clock.now_us()
    put(server, "good", now_us)
    for wrong in ("NULL", "'infinity'", "'1950-01-01T00:00:00Z'"):
        server.do(
            f"INSERT INTO customers SELECT 'bad', {wrong}, recorded_at, 3, 1, true, true, 'Urban', true, 'Web' FROM customers LIMIT 1"
        )
    assert taken(service) == Taken(accepted=1, quarantined=3)
    assert taken(service) == Taken()


def test_texts_and_percent_signs_of_a_query_are_the_users(server: Server, service: DecisionService) -> None:
    put(server, "a%1", service.clock.now_us())
    put(server, "a", service.clock.now_us())
    source = AttributeSource(SOURCE.name, f"{SOURCE.query} WHERE entity_id LIKE '%1' OR entity_id = 'a';")
    found = list(rows(source, FIELDS, locate(source, {"customer": server.url}), 0))
    assert [row["entity_id"] for row in found] == ["a%1", "a"]


@pytest.mark.parametrize(
    "change, said",
    [
        ("DROP COLUMN newbie", 'column "newbie" does not exist'),
        ("ALTER COLUMN recency_months TYPE numeric", "has column `recency_months` of type numeric; expected of type int"),
        ("ALTER COLUMN newbie TYPE text", "has column `newbie` of type text; expected of type bool"),
        ("ALTER COLUMN valid_from TYPE timestamp", "has column `valid_from` of type timestamp; expected whole microseconds"),
        ("RENAME TO buyers", 'relation "customers" does not exist'),
    ],
)
def test_a_table_that_is_not_as_declared_is_named(server: Server, service: DecisionService, change: str, said: str) -> None:
    server.do("DROP TABLE IF EXISTS buyers", f"ALTER TABLE customers {change}")
    with pytest.raises(InvalidInput) as caught:
        taken(service)
    assert str(caught.value).startswith("`attribute source customer` ") and said in str(caught.value)


def test_whole_microseconds_are_times_too(server: Server, service: DecisionService) -> None:
    put(server, "a", 1_767_225_600_000_001)
    for column in ("valid_from", "recorded_at"):
        server.do(
            f"ALTER TABLE customers ALTER COLUMN {column} DROP DEFAULT",
            f"ALTER TABLE customers ALTER COLUMN {column} TYPE bigint USING (EXTRACT(EPOCH FROM {column}) * 1000000)::bigint",
        )
    (row,) = rows(SOURCE, FIELDS, locate(SOURCE, {"customer": server.url}), 1_767_225_600_000_001)
    assert row["valid_from"] == 1_767_225_600_000_001
    assert list(rows(SOURCE, FIELDS, locate(SOURCE, {"customer": server.url}), 1_767_225_600_000_002)) == []


def test_a_server_that_is_not_there_or_refuses_is_told_without_its_secret(server: Server, free_port: Callable[[], int]) -> None:
    for url in (f"postgresql://shop@127.0.0.1:{free_port()}/postgres", server.url.replace("/postgres?", "/nothing?")):
        with pytest.raises(StoreUnavailable, match=r"attribute source customer \(postgresql://shop@127") as caught:
            list(rows(SOURCE, FIELDS, locate(SOURCE, {"customer": url}), 0))
        assert "passfile" not in str(caught.value)


def test_nothing_is_ever_written_to_the_server(server: Server, service: DecisionService) -> None:
    writing = AttributeSource(SOURCE.name, SOURCE.query.replace("newbie", "(nextval('counter') > 0) AS newbie"))
    server.do("DROP SEQUENCE IF EXISTS counter", "CREATE SEQUENCE counter")
    put(server, "a", 1)
    with pytest.raises(StoreUnavailable, match="read-only"):
        list(rows(writing, FIELDS, locate(writing, {"customer": server.url}), 0))
