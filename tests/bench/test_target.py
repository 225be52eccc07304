import importlib
import json

import pytest

from bench.rows import ROWS, Figure, Measurement, RowNotMeasured
from bench.target import MEASURED, find, line, main, table

FAST = Figure("help", 0.25, 0.5, "s")
SLOW = Figure("first decision", 75.0, 60.0, "s")
MORE = Figure("decisions", 900.0, 1000.0, "a second", at_most=False)


def test_a_row_is_a_line_of_json_with_its_figure() -> None:
    assert json.loads(line(Measurement("P14", (FAST,)))) == {"row": "P14", "figure": 0.25, "target": 0.5, "ok": True}


def test_several_figures_are_named_and_all_must_reach_their_targets() -> None:
    assert json.loads(line(Measurement("P14", (FAST, SLOW)))) == {
        "row": "P14",
        "figure": {"help": 0.25, "first decision": 75.0},
        "target": {"help": 0.5, "first decision": 60.0},
        "ok": False,
    }
    assert not MORE.ok


def test_the_table_names_the_bound_and_what_missed_it() -> None:
    lines = table(Measurement("P14", (FAST, SLOW, MORE), ("on 2 cores",))).splitlines()
    assert lines[2].split() == ["help", "0.25", "s", "≤", "0.5", "s", "ok"]
    assert lines[3].endswith("MISSED")
    assert "≥ 1000 a second" in lines[4]
    assert lines[5] == "· on 2 cores"


def test_rows_that_nothing_measures_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RowNotMeasured, match="P10 is not measured yet"):
        find("P10")
    assert main(["Z9"]) == 2
    assert "Z9 is no row of the targets" in capsys.readouterr().err
    assert main([]) == 2


def test_every_measured_row_is_one_of_the_targets_and_has_its_function() -> None:
    assert len(ROWS) == 15 + 18 + 7
    assert MEASURED.keys() <= ROWS.keys()
    assert all(callable(importlib.import_module(module).measure) for module in MEASURED.values())
