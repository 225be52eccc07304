"""A report, once as data; shown in a terminal and as one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rich.console import Console
from rich.panel import Panel
from rich.table import Table as RichTable


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under named columns; the first column is a name, the others are numbers or words."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot as SVG text, with the words that say what it shows to who cannot see it."""

    svg: str
    alternative: str


@dataclass(frozen=True, slots=True)
class Section:
    """One question of the reader: the answer in words, and a table and plot behind it."""

    title: str
    text: str
    table: Table | None = None
    figure: Figure | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a run showed. `verdict` is the one sentence to take away; `holds` whether what was hoped for came true."""

    title: str
    verdict: str
    holds: bool
    sections: Sequence[Section]


def show(report: Report, console: Console) -> None:
    """Print the report: verdict first, then each section's words and table."""
    console.print()
    console.print(Panel(report.verdict, title=report.title, border_style="green" if report.holds else "red", expand=False))
    for section in report.sections:
        console.print(f"\n[bold]{section.title}[/bold]\n{section.text}", highlight=False)
        if section.table is not None:
            table = RichTable(box=None, pad_edge=False, header_style="dim")
            for position, column in enumerate(section.table.columns):
                figures = position > 0 and all(_is_figure(row[position]) for row in section.table.rows)
                table.add_column(column, justify="right" if figures else "left", overflow="fold")
            for row in section.table.rows:
                table.add_row(*row)
            console.print(table)


def _is_figure(cell: str) -> bool:
    """Whether a cell is read as a number: empty, or beginning with a digit or a sign."""
    return not cell or cell.lstrip("+-−$ ")[:1].isdigit()


_STYLE = """
:root{color-scheme:light dark}
:root{--ink:#1d2733;--dim:#5b6875;--page:#f6f7f9;--card:#fff;--line:#dfe4ea;--good:#12805c;--bad:#b3261e}
@media (prefers-color-scheme:dark){
:root{--ink:#e6ebf0;--dim:#9aa7b4;--page:#12171d;--card:#1b222b;--line:#303a45;--good:#3fbf8f;--bad:#ff8a80}}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:76rem;margin:0 auto;padding:2rem 1rem 4rem}
h1{font-size:1.6rem;margin:0 0 1rem}h2{font-size:1.15rem;margin:0 0 .5rem}
.verdict{border-left:6px solid var(--good);background:var(--card);padding:1rem 1.2rem;font-size:1.15rem;border-radius:4px}
.verdict.bad{border-color:var(--bad)}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1.2rem;margin-top:1.2rem}
p{margin:.2rem 0 .8rem;color:var(--dim)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}td:last-child{white-space:normal}th{color:var(--dim);font-weight:600}
figure{margin:1rem 0 0;background:#fff;border-radius:6px;padding:.5rem}figure svg{width:100%;height:auto;display:block}
"""


def to_html(report: Report) -> str:
    """The whole report as one page that needs no other file and no network."""
    sections = "".join(_section(section) for section in report.sections)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head><body><main><h1>{escape(report.title)}</h1>"
        f'<div class="verdict{"" if report.holds else " bad"}">{escape(report.verdict)}</div>{sections}</main></body></html>'
    )


def _section(section: Section) -> str:
    table = figure = ""
    if section.table is not None:
        head = "".join(f'<th scope="col">{escape(column)}</th>' for column in section.table.columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in section.table.rows)
        table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    if section.figure is not None:
        figure = f'<figure role="img" aria-label="{escape(section.figure.alternative)}">{section.figure.svg}</figure>'
    return f"<section><h2>{escape(section.title)}</h2><p>{escape(section.text)}</p>{table}{figure}</section>"
