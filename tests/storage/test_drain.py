"""Draining: every record once, wherever it is killed."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest

from contracts.events import EventSchema, EventType, FieldType
from contracts.records import CandidateProbability, Decision, Event, Outcome, Quarantined, ShadowScore, StoredEvent
from storage import drain as drain_module
from storage.drain import drain
from storage.journal import Journal
from storage.tables import Tables

SCHEMA = EventSchema.build("shop", [EventType("purchase", {"amount_micros": FieldType.INT, "product": FieldType.STR})])
SCHEMAS = {"shop": SCHEMA}
DAY_US = 86_400_000_000


def stored_event(number: int, day: int = 0) -> bytes:
    event = Event(f"e{number}", "anna", "purchase", day * DAY_US, day * DAY_US, number, {"amount_micros": 5, "product": "hat"})
    return msgspec.msgpack.encode(StoredEvent("shop", event))


DECISION = Decision(
    decision_id="d1",
    use_case="shop",
    entity_id="anna",
    decided_at=5,
    expires_at=9,
    release_id="r-1",
    feature_set="f",
    catalogue="c",
    arm="champion",
    arm_probability=0.9,
    action="a",
    propensity=0.5,
    draw=0.25,
    candidates=(CandidateProbability("a", 0.5, 1.0), CandidateProbability("none", 0.5, 0.0)),
    features=(1.0, float("nan")),
    ages_us=(0, 7),
    missing=("level",),
    degraded=(),
    seen_seq=3,
    seq=4,
    context={"slot": "lobby"},
    request_digest="x",
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal", 2**26)
    yield opened
    opened.close()


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path / "tables")


def append(journal: Journal, stream: str, record: bytes) -> int:
    return journal.write(lambda write: write.append(stream, record))


def test_records_of_every_stream_become_rows(journal: Journal, tables: Tables) -> None:
    append(journal, "events", stored_event(1))
    append(journal, "decisions", msgspec.msgpack.encode(DECISION))
    append(journal, "outcomes", msgspec.msgpack.encode(Outcome("o1", "d1", "anna", "shop", 700, 8, 9, 5)))
    append(journal, "shadow", msgspec.msgpack.encode(ShadowScore("d1", "shop", "r-2", 6, (CandidateProbability("a", 1.0, 2.0),))))
    append(journal, "quarantine", msgspec.msgpack.encode(Quarantined("shop", "event", "no type", "{}", 6)))

    report = drain(journal, tables, SCHEMAS)

    assert report.position == 5
    events = tables.frame(SCHEMA, "events").sort("seq")
    assert events["type"].to_list() == ["purchase", "decision", "outcome"]
    assert events["reward"].to_list() == [None, None, 700]
    decision = tables.frame(SCHEMA, "decisions").row(0, named=True)
    assert decision["candidate_ids"] == ["a", "none"] and decision["context"] == '{"slot": "lobby"}'
    assert decision["features"][0] == 1.0 and decision["features"][1] != decision["features"][1]
    assert tables.frame(SCHEMA, "outcomes")["reward"].to_list() == [700]
    assert tables.frame(SCHEMA, "shadow")["release_id"].to_list() == ["r-2"]
    assert tables.frame(SCHEMA, "quarantine")["reason"].to_list() == ["no type"]
    with journal.read() as read:
        assert list(read.records()) == []


def test_a_table_without_rows_has_its_columns(tables: Tables) -> None:
    assert tables.frame(SCHEMA, "events").columns[-3:] == ["candidate_id", "product", "reward"]


def test_days_are_partitions_and_chunks_add_up(journal: Journal, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "CHUNK", 4)
    for number in range(1, 11):
        append(journal, "events", stored_event(number, day=number % 2))

    drain(journal, tables, SCHEMAS)

    assert sorted(tables.frame(SCHEMA, "events")["seq"].to_list()) == list(range(1, 11))
    assert {part.day for part in tables.manifest().parts} == {"1970-01-01", "1970-01-02"}


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("point", ["write_parts", "commit", "trim"])
def test_a_kill_at_any_step_neither_loses_nor_doubles(
    journal: Journal, tables: Tables, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 6):
        append(journal, "events", stored_event(number))

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Journal if point == "trim" else Tables, point, die)
        drain(journal, tables, SCHEMAS)
    append(journal, "events", stored_event(6))
    drain(journal, tables, SCHEMAS)

    assert sorted(tables.frame(SCHEMA, "events")["event_id"].to_list()) == [f"e{number}" for number in range(1, 7)]


def test_merging_keeps_the_digest_and_lessens_the_files(journal: Journal, tables: Tables) -> None:
    for number in range(1, 6):
        append(journal, "events", stored_event(number))
        drain(journal, tables, SCHEMAS)
    before = tables.digest(SCHEMA, "events")

    assert tables.merge(SCHEMAS, most=2) == 5

    assert len(tables.files("shop", "events")) == 1
    assert tables.digest(SCHEMA, "events") == before


def test_a_half_written_file_is_never_read(journal: Journal, tables: Tables, tmp_path: Path) -> None:
    append(journal, "events", stored_event(1))
    drain(journal, tables, SCHEMAS)
    stray = tables.files("shop", "events")[0].with_name("00000000000000000009-00000000000000000010.parquet")
    stray.write_bytes(b"PAR1 cut off")

    assert tables.frame(SCHEMA, "events").height == 1
    assert isinstance(tables.frame(SCHEMA, "events"), pl.DataFrame)


def test_a_file_from_before_a_column_is_read_with_nothing_in_it(journal: Journal, tables: Tables) -> None:
    outcome = Outcome("o1", "d1", "anna", "shop", 5, 7, 9, 3, corrects="o0")
    journal.write(lambda write: write.append("outcomes", msgspec.msgpack.encode(outcome)))
    drain(journal, tables, SCHEMAS)
    file = tables.files("shop", "outcomes")[0]
    pl.read_parquet(file).drop("corrects").write_parquet(file)
    journal.write(lambda write: write.append("outcomes", msgspec.msgpack.encode(msgspec.structs.replace(outcome, outcome_id="o2"))))
    drain(journal, tables, SCHEMAS)

    assert tables.frame(SCHEMA, "outcomes").sort("outcome_id").select("outcome_id", "corrects").rows() == [("o1", None), ("o2", "o0")]
