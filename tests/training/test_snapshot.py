from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contracts.clock import DAY_US
from contracts.tables import DECISIONS, EVENTS, OUTCOMES
from storage.tables import Tables, polars_schema
from tests.training.conftest import NOW, SHOP
from training.snapshot import Partition, digest_of_rows, snapshot


def table(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=polars_schema(name, SHOP.schema))


EVENT = {"entity_id": "c-1", "type": "customer", "event_time": NOW, "ingested_time": NOW, "seq": 1, "simulated": False, "kind": "r"}
TWO = [EVENT | {"event_id": "a"}, EVENT | {"event_id": "b", "kind": None, "seq": 2}]
DECISION = {
    "entity_id": "c-1",
    "decided_at": NOW,
    "candidate_ids": ["red", "none"],
    "p_in_arm": [0.5, float("nan")],
    "features": [],
    "missing": ["hour"],
    "draw": 0.25,
}


def test_the_order_of_rows_does_not_matter() -> None:
    assert digest_of_rows(table(EVENTS, TWO), EVENTS) == digest_of_rows(table(EVENTS, TWO[::-1]), EVENTS)


def test_a_column_that_was_added_later_does_not_matter() -> None:
    rows = table(EVENTS, TWO)
    assert digest_of_rows(rows, EVENTS) == digest_of_rows(rows.with_columns(new=pl.lit(None, pl.String)), EVENTS)


@pytest.mark.parametrize("change", [{"kind": "b"}, {"kind": ""}, {"kind": None}, {"seq": 3}, {"simulated": True}, {"entity_id": "c-11"}])
def test_any_value_matters(change: dict[str, Any]) -> None:
    changed = [TWO[0] | change, TWO[1]]
    assert digest_of_rows(table(EVENTS, changed), EVENTS) != digest_of_rows(table(EVENTS, TWO), EVENTS)


@pytest.mark.parametrize(
    "change",
    [
        {"candidate_ids": ["rednone"]},
        {"candidate_ids": ["red", None]},
        {"candidate_ids": None},
        {"p_in_arm": [0.5]},
        {"p_in_arm": [0.5, 0.0]},
        {"missing": []},
        {"draw": 0.5},
        {"draw": None},
    ],
)
def test_any_value_of_a_list_matters(change: dict[str, Any]) -> None:
    # why: a column without any value says nothing, so another row has one
    other = DECISION | {"decision_id": "d-2", "features": [1.0]}
    one, changed = (table(DECISIONS, [DECISION | {"decision_id": "d-1"} | what, other]) for what in ({}, change))
    assert digest_of_rows(changed, DECISIONS) != digest_of_rows(one, DECISIONS)


def test_values_do_not_run_into_each_other() -> None:
    one, other = ([EVENT | {"event_id": "a", "entity_id": entity, "kind": kind}] for entity, kind in (("c-1", "rb"), ("c-1r", "b")))
    assert digest_of_rows(table(EVENTS, one), EVENTS) != digest_of_rows(table(EVENTS, other), EVENTS)


def written(folder: Path, *parts: list[dict[str, Any]]) -> Tables:
    tables = Tables(folder)
    for number, rows in enumerate(parts):
        tables.commit(tables.write_parts(SHOP.schema, EVENTS, table(EVENTS, rows), f"{number}"), number)
    return tables


def test_a_snapshot_names_what_was_read_by_table_and_day_whatever_files_it_lies_in(tmp_path: Path) -> None:
    decisions = table(DECISIONS, [DECISION | {"decision_id": f"d-{day}", "decided_at": NOW + day * DAY_US} for day in range(2)])
    outcomes = table(
        OUTCOMES,
        [
            {"outcome_id": "o-1", "decision_id": "d-0", "entity_id": "c-1", "reward": 7, "ingested_time": NOW + 5},
            {"outcome_id": "o-2", "decision_id": "d-9", "entity_id": "c-9", "reward": 7, "ingested_time": NOW + 5},
            {"outcome_id": "o-3", "decision_id": None, "entity_id": "c-1", "reward": 7, "ingested_time": NOW + 6},
            {"outcome_id": "o-4", "decision_id": None, "entity_id": "c-1", "reward": 7, "ingested_time": NOW + 9 * DAY_US},
        ],
    )
    late = [EVENT | {"event_id": "z", "ingested_time": NOW + 3 * DAY_US}]
    yesterday = [EVENT | {"event_id": "y", "ingested_time": NOW - DAY_US}]
    found = snapshot(written(tmp_path / "one", [*TWO, *yesterday], late), SHOP, decisions, outcomes)
    assert [(part.table, part.rows) for part in found] == [
        ("decisions", 1),
        ("decisions", 1),
        ("outcomes", 2),
        ("events", 1),
        ("events", 2),
    ]
    assert [part.day for part in found if part.table == "decisions"] == ["2024-10-04", "2024-10-05"]
    assert found == snapshot(written(tmp_path / "other", yesterday, TWO[1:], TWO[:1]), SHOP, decisions, outcomes)
    assert found[-1] == Partition("events", "2024-10-04", 2, digest_of_rows(table(EVENTS, TWO), EVENTS))


def test_without_decisions_nothing_was_read(tmp_path: Path) -> None:
    assert snapshot(Tables(tmp_path), replace(SHOP), table(DECISIONS, []), table(OUTCOMES, [])) == ()
