"""`offerloop features backfill`."""

from functools import partial

import click

from cli.here import layout_of, settings_of
from cli.output import json_option, print_json
from cli.stores import drained
from features.backfill import backfill
from features.materialize import refresh
from features.tiles import Tiles
from use_cases.definition import load


@click.command("backfill")
@click.argument("use_case")
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True, help="What computes.")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, engine: str, as_json: bool) -> int:
    """Compute every feature of every logged decision that is not there yet, as it was known then. Interrupted, run it again.

    Training does the same when it needs it; here it can be done before, and by Spark.
    """
    settings = settings_of(context)
    chosen, layout = load(use_case), layout_of(settings)
    tables, memory = drained(settings), settings.store.duckdb_memory

    def told(done: int, of: int) -> None:
        if not as_json:
            click.echo(f"{done:,} of {of:,} days")

    do = partial(backfill, tables, chosen.schema, chosen.feature_set, layout.backfilled(use_case), memory, progress=told)
    if engine == "spark":
        from spark_jobs.point_in_time import compute

        done = do(compute=compute)
    else:
        refresh(tables, chosen.schema, layout.tiles(use_case), memory)
        done = do(tiles=Tiles(layout.tiles(use_case)))
    if as_json:
        print_json(done)
    else:
        named = ", ".join(done.features) or "nothing that was not there"
        click.echo(f"{done.rows:,} rows of {done.days:,} days of decisions; computed: {named}")
    return 0
