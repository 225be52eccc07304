"""`offerloop features materialize`."""

import click

from cli.here import clock_of, layout_of, settings_of
from cli.output import json_option, print_json
from cli.stores import drained
from features.latest import materialize
from flows.engine import ENGINES, jobs_of
from use_cases.definition import load


@click.command("materialize")
@click.argument("use_case")
@click.option("--engine", type=click.Choice(ENGINES), help="By default what the settings say.")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, engine: str | None, as_json: bool) -> int:
    """Lay events out as tiles, kept up by what is new, and write the features of every entity as of now. Interrupted, run it again."""
    settings = settings_of(context)
    chosen, layout = load(use_case), layout_of(settings)
    moment_us = clock_of(settings).now_us()
    tables = drained(settings)

    def told(done: int, of: int) -> None:
        if not as_json:
            click.echo(f"{done:,} of {of:,} rows laid out")

    memory, jobs = settings.store.duckdb_memory, jobs_of(settings, engine)
    done = materialize(tables, chosen.schema, chosen.feature_set, layout, moment_us, memory, told, jobs)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{done.days} days laid out; features of {done.entities:,} entities in {done.file}")
    return 0
