"""The import of a logged experiment into the journal."""

from pathlib import Path

import polars as pl
import pytest

from contracts.clock import DAY_US
from contracts.errors import DataRefused
from contracts.tables import DECISIONS, EVENTS, OUTCOMES
from decisions.rewards import matured
from tests.training.conftest import NOW, SHOP, Installed
from tests.training.test_log_file import AT, ROWS, written
from training.import_log import ImportReport, import_log


def imported(stores: Installed, path: Path, now_us: int = NOW) -> ImportReport:
    return import_log(stores.journal, SHOP, path, stores.online.apply, now_us=now_us)


def test_rows_become_decisions_events_and_matured_rewards(installed: Installed, tmp_path: Path) -> None:
    assert imported(installed, written(tmp_path, ROWS)) == ImportReport(rows=2, new=2, rewarded=1, earned=1_500_000)
    installed.drain()
    decisions, outcomes, events = (installed.tables.frame(SHOP.schema, table) for table in (DECISIONS, OUTCOMES, EVENTS))
    columns = ("decision_id", "entity_id", "decided_at", "arm", "action", "propensity", "source")
    assert decisions.select(columns).sort("decision_id").rows() == [
        ("a", "x", AT, "logged", "red", 0.5, "imported"),
        ("b", "y", AT + 1, "logged", "blue", 0.25, "imported"),
    ]
    assert decisions["p_in_arm"].list.sum().to_list() == [1.0, 1.0]
    assert sorted(events["type"].to_list()) == ["decision", "decision", "outcome"]
    rewards = matured(decisions, outcomes, window_us=SHOP.outcome_window_us, now_us=NOW)
    assert dict(rewards.select("decision_id", "reward").rows()) == {"a": 0, "b": 1_500_000}


def test_a_reward_without_a_time_is_not_known_before_its_window_ends(installed: Installed, tmp_path: Path) -> None:
    imported(installed, written(tmp_path, ROWS))
    installed.drain()
    assert installed.tables.frame(SHOP.schema, OUTCOMES)["ingested_time"].to_list() == [AT + 1 + DAY_US - 1]


@pytest.mark.parametrize("timed", [True, False])
def test_importing_again_changes_nothing(installed: Installed, tmp_path: Path, timed: bool) -> None:
    rows = ROWS if timed else [{name: value for name, value in row.items() if name != "decided_at"} for row in ROWS]
    path = written(tmp_path, rows)
    imported(installed, path)
    with installed.journal.read() as read:
        before = read.last_position()
    again = imported(installed, path, now_us=NOW + DAY_US)
    with installed.journal.read() as read:
        assert (again.new, read.last_position()) == (0, before)


def test_a_log_that_grew_adds_its_new_rows(installed: Installed, tmp_path: Path) -> None:
    imported(installed, written(tmp_path, ROWS[:1]))
    assert imported(installed, written(tmp_path, ROWS)).new == 1


def test_ids_that_come_with_other_content_are_refused_and_nothing_is_taken(installed: Installed, tmp_path: Path) -> None:
    imported(installed, written(tmp_path, ROWS[:1]))
    with installed.journal.read() as read:
        before = read.last_position()
    with pytest.raises(DataRefused, match=r"1 decision_id were accepted before with other content \(first: a\)"):
        imported(installed, written(tmp_path, [{**ROWS[0], "reward": 5}, ROWS[1]]))
    with installed.journal.read() as read:
        assert read.last_position() == before


def test_nothing_of_a_wrong_file_is_taken(installed: Installed, tmp_path: Path) -> None:
    with pytest.raises(DataRefused):
        imported(installed, written(tmp_path, [*ROWS, {**ROWS[0], "decision_id": "c", "propensity": 0.0}]))
    with installed.journal.read() as read:
        assert read.last_position() == 0


def test_data_without_time_knows_what_is_known_now(installed: Installed, tmp_path: Path) -> None:
    installed.know({"x": "r", "y": "b"}, NOW - 10 * DAY_US)
    imported(installed, written(tmp_path, [{name: value for name, value in row.items() if name != "decided_at"} for row in ROWS]))
    installed.drain()
    decisions = installed.tables.frame(SHOP.schema, DECISIONS)
    assert decisions.select("seen_seq", "decided_at").rows() == [(1, NOW - DAY_US)] * 2


def test_context_and_what_could_be_shown_are_kept(installed: Installed, tmp_path: Path) -> None:
    row = {**ROWS[0], "context_hour": 7, "candidate_ids": ["none", "red"], "p_in_arm": [0.5, 0.5]}
    imported(installed, written(tmp_path, [row]))
    installed.drain()
    decision = installed.tables.frame(SHOP.schema, DECISIONS).row(0, named=True)
    assert (decision["context"], decision["candidate_ids"]) == ('{"hour": 7}', ["red", "none"])


def test_many_rows_are_written_in_chunks(installed: Installed, tmp_path: Path) -> None:
    rows = pl.DataFrame({"decision_id": [f"d{number}" for number in range(2_500)]}).with_columns(
        entity_id=pl.lit("x"), decided_at=pl.lit(AT), action=pl.lit("red"), propensity=0.5, reward=0
    )
    rows.write_parquet(tmp_path / "log.parquet")
    assert imported(installed, tmp_path / "log.parquet").new == 2_500
