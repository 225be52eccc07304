"""`offerloop features profile`."""

from pathlib import Path

import click
import polars as pl

from cli.features.pages import report
from cli.here import layout_of, settings_of
from cli.output import json_option, print_json, print_table
from cli.report import to_html
from cli.stores import drained
from contracts.errors import NotFound
from contracts.settings import Settings
from contracts.tables import DECISIONS
from features.profile import FeatureProfile, Period, logged_rows, profile
from serving.messages import time_us
from storage.files import write_bytes
from use_cases.definition import UseCase, load


@click.command("profile")
@click.argument("use_case")
@click.option("--latest", is_flag=True, help="Every entity as it was materialized last, instead of logged decisions.")
@click.option("--by", type=click.Choice(["day", "week"]), default="day", show_default=True, help="The periods that are compared for drift.")
@click.option("--since", help="Only decisions from a moment on, such as 2026-01-31T12:00:00Z.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with plots there, too.")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, latest: bool, by: Period, since: str | None, html: Path | None, as_json: bool) -> int:
    """Say how the values of features are distributed, what is missing or stale, and how that drifts over time."""
    settings = settings_of(context)
    chosen = load(use_case)
    rows = _latest(settings, chosen) if latest else _logged(settings, chosen, since)
    found = profile(rows, chosen.feature_set, by)
    what = "entities" if latest else "decisions"
    if html is not None:
        write_bytes(html, to_html(report(chosen, found, rows.height, what)).encode())
    if as_json:
        print_json(found)
    else:
        print_table(f"{chosen.feature_set.name}: {rows.height:,} {what}", COLUMNS, [_row(one) for one in found])
        if html is not None:
            click.echo(f"plots in {html}")
    return 0


COLUMNS = ("feature", "missing#", "stale#", "distinct#", "mean#", "least#", "5 %#", "median#", "95 %#", "greatest#", "periods#", "drift#")


def _logged(settings: Settings, use_case: UseCase, since: str | None) -> pl.DataFrame:
    rows = logged_rows(drained(settings).frame(use_case.schema, DECISIONS), use_case.feature_set)
    return rows if since is None else rows.filter(pl.col("moment") >= time_us(since, "--since"))


def _latest(settings: Settings, use_case: UseCase) -> pl.DataFrame:
    file = layout_of(settings).latest(use_case.name)
    if not file.exists():
        raise NotFound("table of all features", f"{file}; `offerloop features materialize {use_case.name}` writes it")
    rows = pl.read_parquet(file)
    if missing := [name for name in use_case.feature_set.names if name not in rows.columns]:
        raise NotFound("column of the table of all features", f"{missing[0]}; `offerloop features materialize {use_case.name}` writes it")
    return rows


def _row(one: FeatureProfile) -> tuple[str, ...]:
    quantiles = [f"{value:.6g}" for value in one.quantiles] or [""] * 5
    mean = "" if one.mean is None else f"{one.mean:.6g}"
    shares = f"{one.missing:.1%}", f"{one.stale:.1%}"
    return (
        one.name,
        *shares,
        f"{one.distinct:,}",
        mean,
        *quantiles,
        str(len(one.periods) or ""),
        f"{one.drift:.3f}" if one.periods else "",
    )
