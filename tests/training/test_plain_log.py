"""The file of a log that needs no use case: what is taken, and what is refused with counts and first rows."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contracts.errors import DataRefused
from tests.training.test_log_file import written
from training.plain_log import read_plain

ROWS: list[dict[str, Any]] = [
    {"decision_id": "a", "action": "red", "propensity": 0.5, "reward": 0.0, "x_age": 20, "x_town": "Rome"},
    {"decision_id": "b", "action": "blue", "propensity": 0.25, "reward": 1.5, "x_age": 40, "x_town": "Bonn"},
]
LISTED = [
    {**ROWS[0], "candidate_ids": ["red", "blue"], "p_in_arm": [0.5, 0.5]},
    {**ROWS[1], "candidate_ids": ["blue", "green"], "p_in_arm": [0.25, 0.75]},
]
TARGETS = [{**row, "target_red": 0.25, "target_blue": 0.75} for row in ROWS]


def refusal(path: Path) -> str:
    with pytest.raises(DataRefused) as refused:
        read_plain(path)
    return str(refused.value)


def test_a_log_becomes_arrays(tmp_path: Path) -> None:
    log = read_plain(written(tmp_path, ROWS))
    assert log.actions == ("blue", "red") and log.action.tolist() == [1, 0]
    assert log.eligible.all() and log.p_in_arm is None and log.entity is None
    assert log.features.tolist() == [[20.0, 1.0], [40.0, 0.0]]
    assert log.categories == {"x_age": (), "x_town": ("Bonn", "Rome")}


def test_parquet_and_csv_say_the_same(tmp_path: Path) -> None:
    first, second = read_plain(written(tmp_path, ROWS)), read_plain(written(tmp_path, ROWS, "csv"))
    assert first.rows.equals(second.rows) and first.categories == second.categories
    assert np.array_equal(first.features, second.features)


def test_what_could_have_been_shown_is_what_the_lists_say(tmp_path: Path) -> None:
    log = read_plain(written(tmp_path, LISTED))
    assert log.actions == ("blue", "green", "red")
    assert log.eligible.tolist() == [[True, False, True], [True, True, False]]
    assert log.p_in_arm is not None and log.p_in_arm.tolist() == [[0.5, 0.0, 0.5], [0.25, 0.75, 0.0]]


def test_rows_of_an_entity_belong_together(tmp_path: Path) -> None:
    log = read_plain(written(tmp_path, [{**ROWS[0], "entity_id": "x"}, {**ROWS[1], "entity_id": "x"}]))
    assert log.entity is not None and log.entity.tolist() == [0, 0]


def test_missing_features_are_missing(tmp_path: Path) -> None:
    log = read_plain(written(tmp_path, [{**ROWS[0], "x_age": None, "x_town": None}, ROWS[1]]))
    assert np.isnan(log.features[0]).all()


@pytest.mark.parametrize(
    ("rows", "changed", "said"),
    [
        (ROWS, {"propensity": 0.0}, "1 rows: values of propensity lie outside (0, 1] (first: row 2: 0.0)"),
        (ROWS, {"propensity": 1.5}, "1 rows: values of propensity lie outside (0, 1] (first: row 2: 1.5)"),
        (ROWS, {"propensity": None}, "1 rows have no propensity that is a number (first: row 2: None)"),
        (ROWS, {"propensity": float("nan")}, "1 rows have no propensity that is a number (first: row 2: nan)"),
        (ROWS, {"reward": float("inf")}, "1 rows have no reward that is a finite number (first: row 2: inf)"),
        (ROWS, {"decision_id": "a"}, "2 rows: values of decision_id stand more than once (first: row 1: 'a', row 2: 'a')"),
        (ROWS, {"action": None}, "1 rows have no action that is a text (first: row 2: None)"),
        (ROWS, {"x_age": float("inf")}, "1 rows: feature x_age is not finite (first: row 2: inf)"),
        (LISTED, {"p_in_arm": [0.25, 0.5]}, "sum to 1 (first: row 2: [0.25, 0.5])"),
        (LISTED, {"candidate_ids": ["red", "green"]}, "name a candidate twice, or not the action (first: row 2: ['red', 'green'])"),
        (LISTED, {"candidate_ids": ["blue", "blue"]}, "name a candidate twice, or not the action"),
        (LISTED, {"propensity": 0.5}, "1 rows: propensity is not the p_in_arm of the action (first: row 2: 0.5)"),
        (
            TARGETS,
            {"target_red": 0.5},
            "1 rows: values of target_red sum to something else than 1 with the other targets (first: row 2: 0.5)",
        ),
        (TARGETS, {"target_red": -0.5}, "1 rows: values of target_red lie outside [0, 1] (target_red) (first: row 2: -0.5)"),
        (
            [{**row, "decided_at": 5, "rewarded_at": 6} for row in ROWS],
            {"rewarded_at": 4},
            "1 rows: values of rewarded_at lie before the decision (first: row 2: 4)",
        ),
    ],
)
def test_wrong_rows_are_refused_with_their_number(tmp_path: Path, rows: list[dict[str, Any]], changed: dict[str, Any], said: str) -> None:
    assert said in refusal(written(tmp_path, [rows[0], {**rows[1], **changed}]))


def test_wrong_columns_are_refused_by_their_names(tmp_path: Path) -> None:
    assert "columns are missing: reward" in refusal(written(tmp_path, [{k: v for k, v in row.items() if k != "reward"} for row in ROWS]))
    assert "columns are not known: age" in refusal(written(tmp_path, [{**row, "age": 1} for row in ROWS]))
    assert "belong together" in refusal(written(tmp_path, [{**row, "p_in_arm": [1.0]} for row in ROWS]))


def test_an_empty_log_is_refused(tmp_path: Path) -> None:
    pl.DataFrame(ROWS).head(0).write_parquet(tmp_path / "log.parquet")
    assert "it has no rows" in refusal(tmp_path / "log.parquet")
