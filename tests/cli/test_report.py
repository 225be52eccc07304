"""The report: the same content in a terminal and on one page that needs nothing else."""

import io
import re
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from cli.plots import Interval, bars, course, intervals
from cli.report import Figure, Report, Section, Table, show, to_html

FIGURES = {
    "intervals": intervals(
        [Interval("control", 0.1, 0.05, 0.15, "control"), Interval("learned", 0.3, 0.2, 0.4, "learned")], "dollars", "two arms", 0.1
    ),
    "course": course([0, 1, 2], {"learned": ("learned", [1, 2, 3])}, [(1, "r-1 champion")], ("day", "share"), "a line"),
    "bars": bars([("train", 12.0, "learned"), ("start", 40.5, "other")], "seconds", "two bars"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_plot_is_svg_that_parses(name: str) -> None:
    assert ET.fromstring(FIGURES[name].svg).tag.endswith("svg")


def report(name: str = "<arm>") -> Report:
    section = Section("Who earns?", "Each arm.", Table(["arm", "dollars"], [[name, "0.25"]]), Figure("<svg></svg>", "a <plot>"))
    return Report("Demo", "It earns.", True, [section, Section("Words", "only")])


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    page = to_html(report())
    assert "&lt;arm&gt;" in page and "a &lt;plot&gt;" in page and "<arm>" not in page
    assert not re.findall(r"(?:src|href)=", page)


def test_the_terminal_shows_verdict_words_and_rows() -> None:
    console = Console(file=io.StringIO(), width=100)
    show(report("learned"), console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(word in printed for word in ("It earns.", "Who earns?", "learned", "0.25", "only"))
