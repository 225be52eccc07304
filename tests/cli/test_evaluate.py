"""`offerloop evaluate`, on a log that needs neither a use case nor an installation."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.training.test_log_value import log_of


@pytest.fixture
def log(tmp_path: Path) -> str:
    log_of(tmp_path, 1_200)
    return str(tmp_path / "log.parquet")


def test_values_are_shown_with_overlap_and_slices(run: Run, log: str) -> None:
    said = run("evaluate", log, "--policy", "always:red", "--by", "town", "--estimator", "snips").out
    assert "1,200 decisions of 600 entities, 2 actions" in said
    assert "mean weight" in said and "snips ←" in said and "switch_dr" in said
    assert "over the log itself" in said and "Bonn" in said and "(Holm)" in said


def test_json_says_the_same_to_the_last_digit(run: Run, log: str) -> None:
    first, again = (run("evaluate", log, "--policy", "epsilon_greedy:0.2", "--json", "--seed", "5").out for _ in range(2))
    found = json.loads(first)
    assert first == again
    assert found["values"]["dr"]["estimate"]["low"] < found["values"]["dr"]["estimate"]["value"]
    assert found["overlap"]["refusals"] == []


def test_a_value_that_the_log_cannot_tell_is_refused(run: Run, log: str, tmp_path: Path) -> None:
    log_of(tmp_path, 60)
    ran = run("evaluate", log, "--policy", "always:red", "--no-model")
    assert ran.code == 1 and "refused" in ran.out and "unweighted ones; 100 are needed" in ran.out
    assert "snips" not in ran.out


def test_a_wrong_log_and_wrong_words_are_refused_in_a_line(run: Run, log: str, tmp_path: Path) -> None:
    wrong = run("evaluate", log, "--policy", "best")
    assert wrong.code == 2 and "expected one of uniform, logged" in wrong.err
    assert run("evaluate", str(tmp_path / "gone.parquet"), "--policy", "uniform").code == 2
    assert "ends in .html or .svg" in run("evaluate", log, "--policy", "uniform", "--plot", "a.png").err


def test_plots_are_a_page_or_a_picture(run: Run, log: str, tmp_path: Path) -> None:
    assert run("evaluate", log, "--policy", "learned", "--by", "age", "--plot", str(tmp_path / "a.html")).code == 0
    page = (tmp_path / "a.html").read_text()
    assert all(title in page for title in ("What would it have earned?", "Can the model be relied on?", "For whom?")) and "<svg" in page
    assert run("evaluate", log, "--policy", "uniform", "--plot", str(tmp_path / "a.svg")).code == 0
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
