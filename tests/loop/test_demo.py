"""The demo of the game, small: the whole loop turns in the real parts, reports, and leaves nothing behind."""

from pathlib import Path

import pytest

from cli.main import main
from services.processes import instance_of, members

pytestmark = pytest.mark.installation


def test_the_loop_turns_and_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state, page = tmp_path / "state", tmp_path / "report.html"

    code = main(["--state", str(state), "demo", "--seed", "5", "--players", "900", "--decisions", "2600", "--report", str(page)])

    printed = capsys.readouterr().out
    assert code in (0, 1), printed  # why: so few decisions may not show that it earns; that is the full demo's to show
    for title in (
        "Who earned what",
        "How far from the best possible",
        "Did the forecasts come true",
        "Releases on a time line",
        "How long it took",
    ):
        assert title in printed and title in page.read_text()
    assert printed.count("register") >= 3
    assert members(instance_of(state)) == []


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious.txt").write_text("mine")

    assert main(["--state", str(tmp_path), "demo"]) == 2
    assert "not a demo's" in capsys.readouterr().err
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_data_set_that_is_another_is_refused_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.csv"
    other.write_text("recency,history\n1,2\n")

    assert main(["--state", str(tmp_path / "state"), "demo", "--data", "hillstrom", "--path", str(other)]) == 2
    assert "SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()
