"""Thirty days of simulated traffic that comes late, twice and broken: what was served is what the tables say, on every engine."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl
import pytest

import features.point_in_time
import spark_jobs.point_in_time
from contracts import clock
from contracts.records import Event
from contracts.tables import DECISIONS, EVENTS, OUTCOMES, QUARANTINE
from features.backfill import backfill, read_backfilled
from features.jobs import Compute
from features.skew import compare, logged_features
from features.tiles import Tiles
from tests.engines.reference import reference
from tests.engines.rows import Row
from tests.loop.disturbance import BROKEN, LATE, TWICE
from tests.loop.month import DAYS, Machine, Month, play_month
from training.parity import check

SAMPLED = 5
"""One decision in so many is held against the definitions themselves."""

JOBS = ["duckdb", "tiles", pytest.param("spark", marks=pytest.mark.engines)]


def job_named(name: str, month: Month, request: pytest.FixtureRequest) -> Compute:
    if name == "spark":
        request.getfixturevalue("spark")
        return spark_jobs.point_in_time.compute
    return partial(features.point_in_time.compute, tiles=Tiles(month.tiles) if name == "tiles" else None)


@pytest.fixture(scope="module")
def month(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    machine = Machine()
    players = int(request.config.getoption("--players", 40))
    seed = int(request.config.getoption("--traffic-seed", 30))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", machine.time_ns)
        patch.setattr(clock, "STEADY", clock.SteadyTime())
        yield play_month(tmp_path_factory.mktemp("month"), machine, players, seed)


@pytest.fixture(scope="module")
def decisions(month: Month) -> pl.DataFrame:
    return month.tables.frame(month.use_cases[0].schema, DECISIONS)


@pytest.fixture(scope="module")
def events(month: Month) -> pl.DataFrame:
    return month.tables.frame(month.use_cases[0].schema, EVENTS)


@pytest.mark.parametrize("job", JOBS)
def test_what_was_served_is_what_the_tables_say(month: Month, job: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    compute = job_named(job, month, request)
    first, second = (check(month.tables, use_case, compute=compute, folder=tmp_path) for use_case in month.use_cases)
    assert (first.examples, first.missing) == ((), {})
    assert (second.examples, second.missing) == ((), {})
    assert first.equal and second.equal
    assert first.rows + second.rows == month.decided
    assert (sum(first.other_sets.values()), sum(second.other_sets.values())) == (second.rows, first.rows)
    assert min(first.rows, second.rows) > month.decided // 4


def test_a_backfill_is_what_was_served(month: Month, decisions: pl.DataFrame, tmp_path: Path) -> None:
    for use_case in month.use_cases:
        own = use_case.feature_set
        backfill(month.tables, use_case.schema, own, tmp_path, tiles=Tiles(month.tiles))
        made = read_backfilled(tmp_path, own)
        found = compare(logged_features(decisions, own), made, own)
        assert (made.height, found.examples, found.differing_rows) == (month.decided, (), 0)
        assert found.rows > month.decided // 4


def test_what_was_served_is_what_the_definitions_say(month: Month, decisions: pl.DataFrame, events: pl.DataFrame) -> None:
    types = month.use_cases[0].schema.types
    held = [
        Event(row["event_id"], row["entity_id"], row["type"], row["event_time"], row["ingested_time"], row["seq"], own)
        for row in events.iter_rows(named=True)
        for own in [{name: row[name] for name in types[row["type"]].fields}]
    ]
    for use_case in month.use_cases:
        names = use_case.feature_set.names
        logged = decisions.filter(pl.col("feature_set") == use_case.feature_set.digest).gather_every(SAMPLED)
        rows = [
            Row(row["decision_id"], row["entity_id"], row["decided_at"], row["seen_seq"], json.loads(row["context"]))
            for row in logged.iter_rows(named=True)
        ]
        expected = reference(use_case.feature_set, use_case.schema, held, rows)
        for row in logged.iter_rows(named=True):
            one = expected[row["decision_id"]]
            assert {name: value.hex() for name, value in zip(names, row["features"], strict=True)} == one.values
            assert set(row["missing"]) == set(one.missing)
            assert dict(zip(names, row["ages_us"], strict=True)) == one.ages_us
            assert row["degraded"] == [f"stale:{name}" for name in names if name in (one.stale or ())]


def test_it_was_a_month_of_disturbed_traffic(month: Month, decisions: pl.DataFrame) -> None:
    counts, sent = month.disturbance.counts, month.disturbance.sent
    assert counts.total() == sent > 100 * DAYS
    for harm, share in (("late", LATE), ("twice", TWICE), ("broken", BROKEN)):
        assert 0.6 * share < counts[harm] / sent < 1.5 * share, harm
    assert decisions["decided_at"].max() - decisions["decided_at"].min() > (DAYS - 1) * 86_400_000_000  # type: ignore[operator]
    assert (decisions.height, month.asked_again > 0) == (month.decided, True)


def test_what_was_received_is_what_was_sent(month: Month, events: pl.DataFrame) -> None:
    counts, disturbance = month.disturbance.counts, month.disturbance
    assert month.received == {
        "accepted": disturbance.sent - counts["broken"],
        "duplicates": counts["twice"],
        "quarantined": counts["broken"],
    }
    own = events.filter(pl.col("type") != "decision")
    assert own.height == month.received["accepted"] == own.select("type", "event_id").n_unique()
    kinds = own.select(pl.when(pl.col("type") == "outcome").then(pl.lit("outcome")).otherwise(pl.lit("event")), "event_id")
    assert not disturbance.broken_ids & set(kinds.iter_rows())


def test_what_was_broken_is_in_quarantine_with_the_reason(month: Month) -> None:
    kept = month.tables.frame(month.use_cases[0].schema, QUARANTINE)
    assert kept.height == month.disturbance.counts["broken"]
    assert kept["reason"].str.len_chars().min() > 10  # type: ignore[operator]
    payloads = [json.loads(payload) for payload in kept["payload"]]
    named = {(kind, payload[f"{kind}_id"]) for kind, payload in zip(kept["kind"], payloads, strict=True)}
    assert named == month.disturbance.broken_ids


def test_decisions_were_disturbed_by_what_came_late_and_what_came_at_once(decisions: pl.DataFrame, events: pl.DataFrame) -> None:
    pairs = decisions.select("decision_id", "entity_id", "decided_at", "seen_seq").join(
        events.filter(pl.col("type") != "decision").select("entity_id", "event_time", "seq"), on="entity_id"
    )
    before = pl.col("event_time") < pl.col("decided_at")
    unseen = pairs.filter(before & (pl.col("seq") > pl.col("seen_seq")))["decision_id"].n_unique()
    same_moment = pairs.filter((pl.col("event_time") == pl.col("decided_at")) & (pl.col("seq") <= pl.col("seen_seq")))
    assert unseen > decisions.height // 10
    assert same_moment["decision_id"].n_unique() > decisions.height // 10
    assert pairs.filter(before & (pl.col("seq") <= pl.col("seen_seq")))["decision_id"].n_unique() > decisions.height // 2


def test_refunds_and_what_followed_decisions_are_there(month: Month) -> None:
    outcomes = month.tables.frame(month.use_cases[0].schema, OUTCOMES)
    assert (outcomes["reward"] < 0).sum() > 0
    assert (outcomes["reward"] > 0).sum() > 0


def test_every_feature_moved(month: Month, decisions: pl.DataFrame) -> None:
    for use_case in month.use_cases:
        logged = logged_features(decisions, use_case.feature_set)
        assert {name for name in use_case.feature_set.names if logged[name].n_unique() < 2} == set()
