"""What a command prints: tables for people, JSON for machines."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from contracts.clock import to_datetime

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(function: Command) -> Command:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")(function)


def print_json(content: object) -> None:
    """Print anything that msgspec knows as JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(content, enc_hook=str)).decode())


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns whose name ends with `#` hold numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", expand=False)
    for column in columns:
        table.add_column(column.rstrip("#"), justify="right" if column.endswith("#") else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console().print(table)


def console() -> Console:
    """Where people read; on no terminal, wide enough to be searched."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=200)


def moment(time_us: int | None) -> str:
    """A time as people read it, UTC."""
    return "" if time_us is None else f"{to_datetime(time_us):%Y-%m-%d %H:%M:%S}"


def number(value: float | None) -> str:
    """A number short enough for a table."""
    return "" if value is None else f"{value:.6g}"
