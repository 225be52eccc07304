"""Policies in words, on a log."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import DataRefused, InvalidInput, NotFound
from tests.training.test_log_file import written
from tests.training.test_plain_log import LISTED, ROWS, TARGETS
from training.log_policy import target_of
from training.plain_log import read_plain

Q = np.array([[1.0, 2.0, 3.0], [5.0, 2.0, -np.inf]])
"""Of blue, green and red, in two decisions; the first could not show green, the second not red."""


@pytest.mark.parametrize(
    ("words", "probabilities"),
    [
        ("uniform", [[0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]),
        ("logged", [[0.5, 0.0, 0.5], [0.25, 0.75, 0.0]]),
        ("always:red", [[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]]),
        ("learned", [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
        ("epsilon_greedy:0.5", [[0.25, 0.0, 0.75], [0.75, 0.25, 0.0]]),
    ],
)
def test_each_policy(tmp_path: Path, words: str, probabilities: list[list[float]]) -> None:
    target = target_of(words, read_plain(written(tmp_path, LISTED)), Q)
    assert target.probabilities is not None and target.probabilities.tolist() == probabilities
    assert target.shown.tolist() == [probabilities[0][2], probabilities[1][0]]


def test_the_logged_policy_of_a_log_without_lists_is_known_where_it_acted(tmp_path: Path) -> None:
    target = target_of("logged", read_plain(written(tmp_path, ROWS)), None)
    assert target.probabilities is None and target.shown.tolist() == [0.5, 0.25]


def test_probabilities_may_stand_in_the_log(tmp_path: Path) -> None:
    target = target_of("columns", read_plain(written(tmp_path, TARGETS)), None)
    assert target.probabilities is not None and target.probabilities.tolist() == [[0.75, 0.25], [0.75, 0.25]]


def rows_of(*rows: tuple[str, str, float]) -> list[dict[str, Any]]:
    return [{"decision_id": decision, "action": action, "probability": share} for decision, action, share in rows]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_or_in_a_file_of_their_own(tmp_path: Path, kind: str) -> None:
    (tmp_path / "policy").mkdir()
    given = written(tmp_path / "policy", rows_of(("b", "blue", 1.0), ("a", "red", 0.25), ("a", "blue", 0.75)), kind)
    target = target_of(f"file:{given}", read_plain(written(tmp_path, ROWS)), None)
    assert target.probabilities is not None and target.probabilities.tolist() == [[0.75, 0.25], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (rows_of(("a", "red", 1.0)), "1 decisions of the log have probabilities that do not sum to 1 (first: b: 0)"),
        (rows_of(("a", "red", 1.0), ("b", "red", 1.0), ("c", "red", 1.0)), "name decisions that the log does not have (first: row 3: 'c')"),
        (
            rows_of(("a", "red", 1.0), ("b", "grey", 1.0)),
            "name actions that the log neither shows nor could have shown (first: row 2: 'grey')",
        ),
        (rows_of(("a", "red", 1.0), ("b", "red", 1.5)), "are no probability (first: row 2: 1.5)"),
        (rows_of(("a", "red", 0.5), ("a", "red", 0.5), ("b", "red", 1.0)), "2 rows: values of action stand more than once"),
    ],
)
def test_a_file_that_is_no_policy_of_the_log_is_refused(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    (tmp_path / "policy").mkdir()
    with pytest.raises(DataRefused) as refused:
        target_of(f"file:{written(tmp_path / 'policy', rows)}", read_plain(written(tmp_path, ROWS)), None)
    assert said in str(refused.value)


@pytest.mark.parametrize("words", ["greedy", "uniform:1", "always:", "epsilon_greedy:2", "epsilon_greedy:much", ""])
def test_words_that_are_no_policy_are_refused(tmp_path: Path, words: str) -> None:
    with pytest.raises(InvalidInput):
        target_of(words, read_plain(written(tmp_path, ROWS)), Q)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    log = read_plain(written(tmp_path, ROWS))
    with pytest.raises(NotFound, match="Known: blue, red"):
        target_of("always:green", log, None)
    with pytest.raises(DataRefused, match="no columns target_"):
        target_of("columns", log, None)
    with pytest.raises(DataRefused, match="without a model"):
        target_of("learned", log, None)
