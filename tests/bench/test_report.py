from pathlib import Path

import pytest

from bench.guarantees import ALL, GUARANTEES, Cost, Median
from bench.machine import machine
from bench.page import page
from bench.record import COST, PATH, Kept, Record, cost_of, figures_of
from bench.report import main, read, write
from bench.rows import Figure, Measurement, Series

MEASURED = Measurement(
    "P7",
    (Figure("8 connections", 1.25, 0.9, "×", at_most=False), Figure("failed", 3.0, 0.0, "")),
    ("two replicas",),
    (Series("Decisions", "connections", "a second", {"ours": {"1": 900.0, "8": 2_500.0}, "theirs": {"8": 2_000.0}}),),
)


def kept(date: str = "2026-01-02") -> Kept:
    return Kept(date, "abc123", machine())


def test_the_page_says_what_was_measured_when_and_what_was_missed() -> None:
    text = page(Record({"P7": figures_of(MEASURED)(kept())}), {"P7": ["p7-0.svg"]}, flame=False)
    assert "| P7 | 8 connections | 1.25 × | ≥ 0.9 × | reached | 2026-01-02, `abc123` |" in text
    assert "|  | failed | 3 | ≤ 0 | **missed** |  |" in text
    assert "![P7](performance/p7-0.svg)\n" in text and "- two replicas" in text and machine().words in text


def test_the_three_largest_costs_stand_in_words_beside_the_flame_graph() -> None:
    phases = {"scoring": (50.0,), "features": (30.0,), "HTTP": (15.0,), "the rest": (5.0,)}
    text = page(Record({PATH: Kept("2026-01-02", "abc", machine(), notes=("2,000 decisions/s",), amounts=phases)}), {}, flame=True)
    assert "The three largest costs are: **scoring**, 50 µs (50%); **features**, 30 µs (30%); **HTTP**, 15 µs (15%)." in text
    assert "(performance/hot-path.svg)" in text


def test_each_guarantee_has_a_line_with_what_it_costs() -> None:
    whole, key = Cost(Median(100.0, 99.0, 101.0), Median(900.0, 850.0, 950.0)), Cost(Median(12.0, 11.0, 13.0), Median(-1.0, -3.0, 2.0))
    said, fill = cost_of({ALL: whole} | dict.fromkeys(GUARANTEES, key), "compiled")
    text = page(Record({COST: fill(kept())}), {}, flame=False)
    assert "| all on | 100.0 µs (99.0 to 101.0) | 900.0 µs (850.0 to 950.0) |" in text
    assert "| the key | +12.0 µs (11.0 to 13.0) | −1.0 µs (−3.0 to 2.0) | whatever key is sent is the owner's |" in text
    assert "compiled" in said


def test_what_is_not_measured_again_keeps_its_date(tmp_path: Path) -> None:
    record = Record({"P7": figures_of(MEASURED)(kept("2025-12-31"))})
    (tmp_path / "performance").mkdir()
    write(tmp_path, record)
    first = (tmp_path / "performance.md").read_text()
    assert main(["--rows", ""], tmp_path) == 0
    assert read(tmp_path / "performance") == record
    assert (tmp_path / "performance.md").read_text() == first and "2025-12-31" in first
    assert (tmp_path / "performance" / "p7-0.svg").read_text().startswith("<?xml")


def test_a_row_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rows", "P7,Q1"], tmp_path) == 2
    assert "Q1: no speed row" in capsys.readouterr().err
