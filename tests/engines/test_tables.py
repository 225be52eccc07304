"""What tables may look like: no files, no rows, columns that came later, entities whose names look alike; all jobs make the same of it."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import polars as pl
import pytest

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from contracts.records import Event
from features.definitions import Derived, FeatureSet, Request
from features.expressions import col
from tests.engines.engines import EACH_JOB, Job, as_table, from_files, job_named
from tests.engines.random_histories import draw_history
from tests.engines.random_sets import SCHEMA as BAZAAR
from tests.engines.random_sets import draw_set
from tests.engines.reference import reference
from tests.engines.rows import Found, Row
from tests.engines.world import FEATURES, KINDS, NOON, SCHEMA, aggregate

ALIKE = ("p", "P", "p ", " p", "é", "e\u0301", "it's", 'a\\"b', "日本", "p%20", "null", "0", "00", "{p}", "a" * 128)


@pytest.fixture(params=EACH_JOB)
def job(request: pytest.FixtureRequest) -> Job:
    return job_named(request.param, request)


def purchases(entity: str, *times: int) -> list[Event]:
    return [
        Event(f"e{number}", entity, "purchase", at, at, number, {"amount": number * 10 + len(entity), "product": entity[:1], "gift": False})
        for number, at in enumerate(times, start=1)
    ]


def written(folder: Path, *parts: Sequence[Event]) -> list[Path]:
    files = []
    for number, part in enumerate(parts):
        files.append(folder / f"part-{number}.parquet")
        as_table(part, SCHEMA).write_parquet(files[-1])
    return files


def test_no_files_are_an_empty_table(job: Job) -> None:
    rows = [Row("r", "p", NOON, None, {"hour": 3}), Row("s", "p", NOON, 7)]
    assert from_files(job, FEATURES, SCHEMA, [], rows) == reference(FEATURES, SCHEMA, [], rows)


def test_files_without_rows_are_one_too(job: Job, tmp_path: Path) -> None:
    rows = [Row("r", "p", NOON)]
    assert from_files(job, FEATURES, SCHEMA, written(tmp_path, [], []), rows) == reference(FEATURES, SCHEMA, [], rows)


def test_nothing_asked_is_nothing_found(job: Job, tmp_path: Path) -> None:
    assert from_files(job, FEATURES, SCHEMA, written(tmp_path, purchases("p", NOON)), []) == {}


def test_a_set_that_reads_no_events(job: Job, tmp_path: Path) -> None:
    asking = FeatureSet("asking", (Request(name="hour", field="hour", default=-1.0), Derived(name="half", expression=col("hour") / 2)))
    rows = [Row("r", "p", NOON, None, {"hour": 3}), Row("s", "q", NOON, 7)]
    assert from_files(job, asking, SCHEMA, written(tmp_path, purchases("p", NOON)), rows) == reference(asking, SCHEMA, [], rows)


def test_entities_whose_names_look_alike_stay_apart(job: Job, tmp_path: Path) -> None:
    events = [event for number, name in enumerate(ALIKE) for event in purchases(name, *(NOON - HOUR_US + n for n in range(number + 1)))]
    rows = [Row(f"r{number}", name, NOON) for number, name in enumerate(ALIKE)]
    expected = reference(FEATURES, SCHEMA, events, rows)
    assert len({row.values["sum_13d"] for row in expected.values()}) == len(ALIKE)
    assert from_files(job, FEATURES, SCHEMA, written(tmp_path, events[::2], events[1::2]), rows) == expected


def test_a_column_that_came_later_is_absent_before(job: Job, tmp_path: Path) -> None:
    old, new = purchases("p", NOON - DAY_US), purchases("p", NOON - 2 * DAY_US, NOON - HOUR_US)[1:]
    files = written(tmp_path, old, new)
    as_table(old, SCHEMA).drop("gift", "length_ms").with_columns(pl.lit("?").alias("colour")).write_parquet(files[0])
    held = [Event(e.event_id, e.entity_id, e.type, e.event_time, e.ingested_time, e.seq, {**e.fields, "gift": None}) for e in old]
    rows = [Row("r", "p", NOON)]
    assert from_files(job, FEATURES, SCHEMA, files, rows) == reference(FEATURES, SCHEMA, [*held, *new], rows)


def test_events_at_one_time_that_nothing_asks_about(job: Job, tmp_path: Path) -> None:
    early, late = NOON - 400 * DAY_US, NOON + 400 * DAY_US
    times = [early] * 3 + [NOON - MINUTE_US] * 3 + [late] * 3
    events = [
        Event(f"e{9 - number}", "p", "purchase", at, at, number, {"amount": number, "product": "a", "gift": False})
        for number, at in enumerate(times, start=1)
    ]
    ends = FeatureSet("ends", tuple(aggregate(kind, "1h", "") for kind in ("first", "last", "sum")))
    rows = [Row("r", "p", NOON), Row("s", "p", NOON, 5), Row("t", "q", NOON)]
    expected = reference(ends, SCHEMA, events, rows)
    assert expected["r"].values == {"first_1h": (6.0).hex(), "last_1h": (4.0).hex(), "sum_1h": (15.0).hex()}
    assert from_files(job, ends, SCHEMA, written(tmp_path, events[::2], events[1::2]), rows) == expected


@pytest.fixture(scope="module")
def crowd() -> tuple[FeatureSet, list[Event], list[Row], dict[str, Found]]:
    """A thousand rows of one entity, and what they are by the definitions."""
    chance = Random(3)
    times = sorted(NOON - chance.randrange(15 * DAY_US) for _ in range(150))
    events = purchases("p", *times)
    moments = [NOON - chance.randrange(15 * DAY_US) // MINUTE_US * MINUTE_US for _ in range(700)] + chance.choices(times, k=300)
    rows = [Row(f"r{number}", "p", moment, chance.choice((None, number % 151))) for number, moment in enumerate(moments)]
    asked = FeatureSet("crowd", tuple(aggregate(kind, window, "") for kind in KINDS for window in ("1h", "2d")))
    return asked, events, rows, reference(asked, SCHEMA, events, rows)


def test_a_thousand_rows_of_one_entity(
    job: Job, tmp_path: Path, crowd: tuple[FeatureSet, list[Event], list[Row], dict[str, Found]]
) -> None:
    asked, events, rows, expected = crowd
    assert from_files(job, asked, SCHEMA, written(tmp_path, events[::2], events[1::2]), rows) == expected


def test_many_small_files_in_any_order(job: Job, tmp_path: Path) -> None:
    chance = Random(4)
    feature_set = draw_set(chance)
    histories = [draw_history(chance, f"p{number}", feature_set, NOON) for number in range(60)]
    events = [event for history in histories for event in history.events]
    chance.shuffle(events)
    files = []
    for number in range(0, len(events), 20):
        files.append(tmp_path / f"day={number}" / "part 1.parquet")
        files[-1].parent.mkdir()
        as_table(events[number : number + 20], BAZAAR).write_parquet(files[-1])
    rows = [row for history in histories for row in history.rows]
    assert from_files(job, feature_set, BAZAAR, files, rows) == reference(feature_set, BAZAAR, events, rows)
