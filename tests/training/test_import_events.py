"""The import of events that another system kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contracts.clock import DAY_US, HOUR_US
from contracts.errors import DataRefused
from contracts.tables import DECISIONS, EVENTS
from decisions.record import make_event, record_event
from features.skew import compare, decision_spine
from tests.training.conftest import NOW, SHOP, Installed
from tests.training.test_log_file import ROWS, written
from training.backfill import recompute
from training.import_events import EventsReport, import_events
from training.import_log import import_log

THEN = NOW - 30 * DAY_US
EVENTS_ROWS: list[dict[str, Any]] = [
    {"event_id": "e-1", "entity_id": "x", "type": "visit", "event_time": THEN, "ingested_time": THEN + HOUR_US, "kind": None},
    {"event_id": "e-2", "entity_id": "x", "type": "customer", "event_time": THEN - 5, "ingested_time": THEN + 5, "kind": "r"},
    {"event_id": "e-3", "entity_id": "y", "type": "visit", "event_time": THEN + 9, "ingested_time": THEN + 9, "kind": None},
]


def take(stores: Installed, path: Path, lag_us: int | None = None) -> EventsReport:
    return import_events(stores.journal, SHOP, path, stores.online.apply, now_us=NOW, lag_us=lag_us)


def without(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def changed(number: int, **changes: object) -> list[dict[str, Any]]:
    return [row | changes if position == number else row for position, row in enumerate(EVENTS_ROWS)]


def events(stores: Installed) -> pl.DataFrame:
    stores.drain()
    return stores.tables.frame(SHOP.schema, EVENTS).sort("event_id")


def position(stores: Installed) -> int:
    with stores.journal.read() as read:
        return read.last_position()


def test_events_keep_when_they_were_known_apart_from_when_they_were_loaded(installed: Installed, tmp_path: Path) -> None:
    report = take(installed, written(tmp_path, EVENTS_ROWS))
    assert report == EventsReport(events=3, new=3, entities=2, first_us=THEN - 5, last_us=THEN + 9)
    columns = ("event_id", "event_time", "ingested_time", "loaded_at", "seq", "kind")
    assert events(installed).select(columns).rows() == [
        ("e-1", THEN, THEN + HOUR_US, NOW, 2, None),
        ("e-2", THEN - 5, THEN + 5, NOW, 1, "r"),
        ("e-3", THEN + 9, THEN + 9, NOW, 1, None),
    ]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_source_that_declares_its_lag_needs_no_column_of_it(installed: Installed, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"events.{suffix}"
    frame = pl.DataFrame(without(changed(0, event_time=NOW - 60_000_000), "ingested_time"))
    frame.write_parquet(path) if suffix == "parquet" else frame.write_csv(path)
    take(installed, path, lag_us=5 * 60_000_000)
    found = dict(events(installed).select("event_id", "ingested_time").rows())
    assert found == {"e-1": NOW, "e-2": THEN - 5 + 300_000_000, "e-3": THEN + 9 + 300_000_000}


def test_importing_again_changes_nothing_and_a_file_that_grew_adds_its_new_rows(installed: Installed, tmp_path: Path) -> None:
    assert take(installed, written(tmp_path, EVENTS_ROWS[:2])).new == 2
    before = position(installed)
    assert take(installed, written(tmp_path, [*EVENTS_ROWS[:2], EVENTS_ROWS[0]])).new == 0
    assert position(installed) == before
    assert take(installed, written(tmp_path, EVENTS_ROWS)).new == 1


def test_an_event_that_was_known_before_it_happened_is_clamped(installed: Installed, tmp_path: Path) -> None:
    take(installed, written(tmp_path, changed(0, ingested_time=THEN - 7)))
    row = events(installed).row(0, named=True)
    assert (row["event_time"], row["original_time"], row["ingested_time"]) == (THEN - 7, THEN, THEN - 7)


def test_backfilled_features_know_an_event_from_when_the_source_knew_it(installed: Installed, tmp_path: Path) -> None:
    known_us = NOW - 5 * DAY_US
    late = {"event_id": "late", "entity_id": "x", "type": "visit", "event_time": known_us - DAY_US, "ingested_time": known_us, "kind": None}
    take(installed, written(tmp_path, [late]))
    asked = [ROWS[0] | {"decision_id": name, "decided_at": at_us} for name, at_us in (("before", known_us - 1), ("after", known_us))]
    import_log(installed.journal, SHOP, written(tmp_path, asked), installed.online.apply, now_us=NOW)
    installed.drain()
    decisions = installed.tables.frame(SHOP.schema, DECISIONS)
    found = recompute(decisions, installed.tables, SHOP, tmp_path / "between", "1GB")
    assert dict(found.select("row_id", "visits").rows()) == {"before": 0.0, "after": 1.0}


def test_what_a_decision_had_seen_stays_what_it_had_seen(installed: Installed, tmp_path: Path) -> None:
    visit = make_event("v", "x", "visit", NOW - 9, {}, ingested_time=NOW - 9)
    installed.journal.write(lambda write: record_event(write, SHOP.name, visit, installed.online.apply))
    decisions = pl.DataFrame(
        {"decision_id": ["d"], "entity_id": ["x"], "decided_at": [NOW - 5], "seen_seq": [1], "context": ["{}"], "source": ["served"]}
    )
    installed.drain()
    before = recompute(decisions, installed.tables, SHOP, tmp_path / "one", "1GB")
    take(installed, written(tmp_path, changed(0, event_time=NOW - 7, ingested_time=NOW - 6)))
    installed.drain()
    after = recompute(decisions, installed.tables, SHOP, tmp_path / "two", "1GB")
    assert decision_spine(decisions).height == 1 and before["visits"].to_list() == [1.0]
    assert compare(before, after, SHOP.feature_set).differing_rows == 0


def test_ids_that_come_with_other_content_are_refused_and_nothing_is_taken(installed: Installed, tmp_path: Path) -> None:
    take(installed, written(tmp_path, EVENTS_ROWS[2:]))
    before = position(installed)
    with pytest.raises(DataRefused, match=r"1 event_id were accepted before with other content \(first: e-3\)"):
        take(installed, written(tmp_path, changed(2, entity_id="z")))
    assert position(installed) == before


WRONG: list[tuple[Callable[[], list[dict[str, Any]]], str]] = [
    (lambda: without(EVENTS_ROWS, "type"), "it has no column type"),
    (lambda: without(EVENTS_ROWS, "ingested_time"), "it does not say when events were known"),
    (lambda: changed(0, king=1), "column king is not known. Did you mean `kind`?"),
    (lambda: changed(0, type="visits"), "1 rows: values of type are no event type (customer, visit) (first: row 1: 'visits')"),
    (lambda: changed(0, type="decision"), "are no event type"),
    (lambda: changed(0, event_time=NOW + 1, ingested_time=NOW), "values of event_time lie in the future"),
    (lambda: changed(0, event_time=-1), "values of event_time are not after 1970"),
    (lambda: changed(0, ingested_time=NOW + 1), "values of ingested_time lie in the future"),
    (lambda: changed(0, event_id=None), "1 rows have no event_id that is a text"),
    (lambda: changed(0, event_id=""), "values of event_id are longer than 128 bytes, empty"),
    (lambda: changed(0, event_id="e-2"), "values of event_id stand more than once with other content"),
    (lambda: changed(1, kind=None), "1 rows of type customer: field kind has none"),
    (lambda: changed(0, kind="r"), "1 rows of type visit: field kind declares none"),
    (lambda: changed(1, kind="r" * 257), "1 rows of type customer: field kind is longer than 256"),
    (lambda: [row | {"kind": 7.5} for row in EVENTS_ROWS], "column kind is of type Float64; expected of type str"),
    (lambda: [row | {"event_time": float("nan")} for row in EVENTS_ROWS], "column event_time is of type Float64"),
    (
        lambda: [row | {"event_time": "2026-01-01T00:00:00"} for row in EVENTS_ROWS],
        "3 rows have no event_time that is integer microseconds",
    ),
    (list, "it has no column event_id"),
]


@pytest.mark.parametrize("rows, said", WRONG, ids=[said for _, said in WRONG])
def test_nothing_of_a_wrong_file_is_taken(
    installed: Installed, tmp_path: Path, rows: Callable[[], list[dict[str, Any]]], said: str
) -> None:
    with pytest.raises(DataRefused) as caught:
        take(installed, written(tmp_path, rows()))
    assert said in str(caught.value)
    assert position(installed) == 0


def test_half_written_and_empty_files_are_said_to_be_so(installed: Installed, tmp_path: Path) -> None:
    path = written(tmp_path, EVENTS_ROWS)
    empty = tmp_path / "empty.parquet"
    pl.read_parquet(path).clear().write_parquet(empty)
    path.write_bytes(path.read_bytes()[:-9])
    for wrong, said in ((path, "it may be half-written"), (empty, "it has no rows")):
        with pytest.raises(DataRefused, match=said):
            take(installed, wrong)
