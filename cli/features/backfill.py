"""`offerloop features backfill`."""

import click

from cli.here import layout_of, settings_of
from cli.output import json_option, print_json
from cli.stores import drained
from features.backfill import backfill
from features.materialize import refresh
from features.tiles import Tiles
from flows.engine import ENGINES, jobs_of
from use_cases.definition import load


@click.command("backfill")
@click.argument("use_case")
@click.option("--engine", type=click.Choice(ENGINES), help="By default what the settings say.")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, engine: str | None, as_json: bool) -> int:
    """Compute every feature of every logged decision that is not there yet, as it was known then. Interrupted, run it again.

    Training does the same when it needs it; here it can be done before, and by Spark.
    """
    settings = settings_of(context)
    chosen, layout, memory = load(use_case), layout_of(settings), settings.store.duckdb_memory
    tables, jobs = drained(settings), jobs_of(settings, engine)
    store, laid_out = layout.backfilled(use_case), layout.tiles(use_case)

    def told(done: int, of: int) -> None:
        if not as_json:
            click.echo(f"{done:,} of {of:,} days")

    refresh(tables, chosen.schema, laid_out, memory, make=jobs.make_tiles)
    done = backfill(tables, chosen.schema, chosen.feature_set, store, memory, tiles=Tiles(laid_out), jobs=jobs, progress=told)
    if as_json:
        print_json(done)
    else:
        named = ", ".join(done.features) or "nothing that was not there"
        click.echo(f"{done.rows:,} rows of {done.days:,} days of decisions; computed: {named}")
    return 0
