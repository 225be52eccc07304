"""`offerloop features parity`."""

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from cli.here import settings_of
from cli.output import json_option, print_json, print_table
from cli.stores import drained
from flows.engine import ENGINES, jobs_of
from serving.messages import time_us
from training.parity import ParityReport, check
from use_cases.definition import load


@click.command("parity")
@click.argument("use_case")
@click.option(
    "--engine", "engines", type=click.Choice(ENGINES), multiple=True, default=ENGINES, show_default=True, help="May be given twice."
)
@click.option("--since", help="Only decisions from a moment on, such as 2026-01-31T12:00:00Z.")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, engines: tuple[str, ...], since: str | None, as_json: bool) -> int:
    """Compute the features of logged decisions again from the tables, and compare them to the last bit; 0 when all are equal, else 1."""
    settings = settings_of(context)
    chosen, tables = load(use_case), drained(settings)
    since_us = None if since is None else time_us(since, "--since")
    found: dict[str, ParityReport] = {}
    with TemporaryDirectory(prefix="offerloop-parity-") as folder:
        for engine in dict.fromkeys(engines):
            found[engine] = check(
                tables,
                chosen,
                compute=jobs_of(settings, engine).compute,
                folder=Path(folder),
                memory=settings.store.duckdb_memory,
                since_us=since_us,
            )
    equal = all(report.equal for report in found.values())
    if as_json:
        print_json({"use_case": use_case, "equal": equal, "engines": found})
        return 0 if equal else 1
    for engine, report in found.items():
        _say(engine, report)
    return 0 if equal else 1


def _say(engine: str, report: ParityReport) -> None:
    others = f"; {sum(report.other_sets.values()):,} decisions of other feature sets were left out" if report.other_sets else ""
    if report.equal:
        click.secho(f"{engine}: {report.rows:,} decisions, every feature equal to the last bit{others}", fg="green")
        return
    click.secho(f"{engine}: {report.differing_rows:,} of {report.rows:,} decisions differ{others}", fg="red")
    rows = [
        (one.row_id, one.feature, repr(one.logged), repr(one.recomputed), f"{one.recomputed - one.logged:g}") for one in report.examples
    ]
    print_table("Values that differ, the first", ("decision", "feature", "logged#", "recomputed#", "by#"), rows)
    for decision_id, (logged, recomputed) in list(report.missing.items())[:10]:
        click.echo(f"{decision_id} names as missing {', '.join(logged) or 'nothing'}; recomputed: {', '.join(recomputed) or 'nothing'}")
