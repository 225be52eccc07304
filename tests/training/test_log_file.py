"""The file of a logged experiment: what is taken, and what is refused with counts and first rows."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contracts.clock import DAY_US, HOUR_US
from contracts.errors import DataRefused
from tests.training.conftest import NOW, SHOP
from training.log_file import LogRules, read_log

RULES = LogRules(SHOP, NOW)
AT = NOW - 3 * DAY_US
ROWS: list[dict[str, Any]] = [
    {"decision_id": "a", "entity_id": "x", "decided_at": AT, "action": "red", "propensity": 0.5, "reward": 0},
    {"decision_id": "b", "entity_id": "y", "decided_at": AT + 1, "action": "blue", "propensity": 0.25, "reward": 1_500_000},
]


def written(folder: Path, rows: list[dict[str, Any]], kind: str = "parquet") -> Path:
    path = folder / f"log.{kind}"
    frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    if kind == "parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path)
    return path


def refusal(path: Path, rules: LogRules = RULES) -> str:
    with pytest.raises(DataRefused) as refused:
        read_log(path, rules)
    return str(refused.value)


def test_parquet_and_csv_say_the_same(tmp_path: Path) -> None:
    assert read_log(written(tmp_path, ROWS), RULES).equals(read_log(written(tmp_path, ROWS, "csv"), RULES))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("propensity", 0.0, "1 rows: values of propensity lie outside (0, 1] (first: row 2: 0.0)"),
        ("propensity", 1.5, "lie outside (0, 1] (first: row 2: 1.5)"),
        ("propensity", -0.1, "lie outside (0, 1]"),
        ("propensity", float("nan"), "1 rows have no propensity that is a number"),
        ("propensity", float("inf"), "1 rows have no propensity that is a number"),
        ("propensity", None, "1 rows have no propensity that is a number"),
        ("action", "green", "1 rows: values of action are not in the catalogue (red, blue, none) (first: row 2: 'green')"),
        ("action", None, "1 rows have no action that is a text"),
        ("decision_id", "a", "2 rows: values of decision_id stand more than once (first: row 1: 'a', row 2: 'a')"),
        ("decision_id", "x" * 200, "are longer than 128 bytes"),
        ("entity_id", None, "1 rows have no entity_id"),
        ("entity_id", "x" * 200, "of entities are longer than 128 bytes"),
        ("reward", -1, "1 rows: values of reward are negative"),
        ("reward", None, "1 rows have no reward that is an integer"),
        ("decided_at", NOW + 1, "lie in the future"),
        ("decided_at", NOW - HOUR_US, "have no reward yet"),
        ("decided_at", -5, "are not after 1970"),
        ("decided_at", None, "1 rows have no decided_at"),
    ],
)
def test_wrong_rows_are_refused_with_their_count_and_place(tmp_path: Path, kind: str, column: str, value: object, said: str) -> None:
    assert said in refusal(written(tmp_path, [ROWS[0], {**ROWS[1], column: value}], kind))


def test_all_reasons_are_given_at_once(tmp_path: Path) -> None:
    told = refusal(written(tmp_path, [{**ROWS[0], "propensity": 0.0, "action": "green"}, ROWS[1]]))
    assert "propensity" in told and "green" in told


@pytest.mark.parametrize("column", ["decision_id", "entity_id", "action", "propensity", "reward"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    rows = [{name: value for name, value in row.items() if name != column} for row in ROWS]
    assert f"columns are missing: {column}" in refusal(written(tmp_path, rows))


def test_unknown_columns_and_half_a_pair_are_refused(tmp_path: Path) -> None:
    told = refusal(written(tmp_path, [{**row, "colour": 1, "p_in_arm": "[1]"} for row in ROWS]))
    assert "columns are not known: colour" in told and "belong together" in told


def test_columns_of_a_wrong_type_are_refused(tmp_path: Path) -> None:
    rows = [{**row, "decided_at": datetime(2020, 1, 1), "reward": 1.5, "propensity": True, "decision_id": 0.5} for row in ROWS]
    told = refusal(written(tmp_path, rows))
    for column in ("decided_at", "reward", "propensity", "decision_id"):
        assert f"column {column} is of type" in told


def test_rewards_in_parts_of_a_unit_are_refused(tmp_path: Path) -> None:
    assert "2 rows have no reward that is an integer" in refusal(written(tmp_path, [{**row, "reward": 1.5} for row in ROWS], "csv"))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_half_written_file_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = written(tmp_path, ROWS * 1, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "half-written" in refusal(path)


def test_empty_files_and_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    pl.read_parquet(path).head(0).write_parquet(path)
    assert "it has no rows" in refusal(path)
    (tmp_path / "empty.csv").touch()
    assert "cannot be read as CSV" in refusal(tmp_path / "empty.csv")
    assert "cannot be opened" in refusal(tmp_path / "gone.csv")
    assert "cannot be opened" in refusal(tmp_path / "gone.parquet")


def test_negative_rewards_are_taken_where_that_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, [{**ROWS[0], "reward": -7}, ROWS[1]])
    assert read_log(path, LogRules(SHOP, NOW, negative=True))["reward"].to_list() == [-7, 1_500_000]


def test_times_may_be_written_with_their_zone(tmp_path: Path) -> None:
    moment = datetime.fromtimestamp(AT // 1_000_000, UTC)
    parquet = written(tmp_path, [{**row, "decided_at": moment} for row in ROWS])
    text = written(tmp_path, [{**row, "decided_at": moment.isoformat()} for row in ROWS], "csv")
    assert read_log(parquet, RULES)["decided_at"].to_list() == read_log(text, RULES)["decided_at"].to_list() == [AT, AT]
    naive = written(tmp_path, [{**row, "decided_at": "2020-01-01T00:00:00"} for row in ROWS], "csv")
    assert "2 rows have no decided_at" in refusal(naive)


def test_what_could_have_been_shown_may_be_said(tmp_path: Path) -> None:
    rows = [
        {**ROWS[0], "candidate_ids": ["red", "none"], "p_in_arm": [0.5, 0.5]},
        {**ROWS[1], "candidate_ids": ["none", "red", "blue"], "p_in_arm": [0.5, 0.25, 0.25]},
    ]
    text = [{**row, "candidate_ids": str(row["candidate_ids"]).replace("'", '"'), "p_in_arm": str(row["p_in_arm"])} for row in rows]
    parquet, csv = read_log(written(tmp_path, rows), RULES), read_log(written(tmp_path, text, "csv"), RULES)
    assert parquet.equals(csv) and parquet["p_in_arm"].to_list() == [[0.5, 0.5], [0.5, 0.25, 0.25]]


@pytest.mark.parametrize(
    ("ids", "shares", "said"),
    [
        (["red", "none"], [0.5, 0.6], "sum to 1"),
        (["red", "none"], [0.5], "one number in [0, 1] for each candidate"),
        (["red", "none"], [1.5, -0.5], "one number in [0, 1] for each candidate"),
        (["red", "red"], [0.5, 0.5], "one twice"),
        (["red", "green"], [0.5, 0.5], "name an unknown candidate"),
        (["blue", "none"], [0.5, 0.5], "not the action"),
        (["red", "none"], [0.25, 0.75], "propensity is not the p_in_arm of the action"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path: Path, ids: list[str], shares: list[float], said: str) -> None:
    good = {**ROWS[1], "candidate_ids": ["blue", "red"], "p_in_arm": [0.25, 0.75]}
    assert said in refusal(written(tmp_path, [{**ROWS[0], "candidate_ids": ids, "p_in_arm": shares}, good]))


@pytest.mark.parametrize("moment", [AT - 1, AT + DAY_US, NOW + 1])
def test_a_reward_out_of_its_window_is_refused(tmp_path: Path, moment: int) -> None:
    assert "rewarded_at lie before" in refusal(written(tmp_path, [{**ROWS[0], "rewarded_at": moment}]))


@pytest.mark.parametrize(("hour", "read"), [(7, [7, 8]), (7.5, [7.5, 8.0])])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_context_that_a_feature_takes_as_a_number_is_one_in_csv_too(tmp_path: Path, kind: str, hour: float, read: list[float]) -> None:
    rows = [{**ROWS[0], "context_hour": hour}, {**ROWS[1], "context_hour": type(hour)(8)}]
    assert read_log(written(tmp_path, rows, kind), RULES)["context_hour"].to_list() == read


def test_other_context_stays_what_it_is(tmp_path: Path) -> None:
    rows = [{**row, "context_postcode": "00123", "context_hour": "true"} for row in ROWS]
    log = read_log(written(tmp_path, rows, "csv"), RULES)
    assert log["context_postcode"].to_list() == ["00123"] * 2 and log["context_hour"].to_list() == [True] * 2


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_context_that_is_not_finite_is_refused(tmp_path: Path, kind: str) -> None:
    told = refusal(written(tmp_path, [{**ROWS[0], "context_hour": 1.5}, {**ROWS[1], "context_hour": float("inf")}], kind))
    assert "1 rows: values of context_hour are no finite numbers (first: row 2:" in told
    assert "1 rows: values of context_hour are no finite numbers (first: row 2: 'noon')" in refusal(
        written(tmp_path, [{**ROWS[0], "context_hour": "7"}, {**ROWS[1], "context_hour": "noon"}], kind)
    )
