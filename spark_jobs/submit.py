"""The feature jobs for `spark-submit`: `spark-submit spark_jobs/submit.py materialize --state .offerloop --use-case NAME`.

Spark's master, memory and the like are `spark-submit`'s to say. The state folder must be where every worker finds it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from contracts.errors import OfferloopError
from contracts.tables import EVENTS
from features.backfill import backfill
from features.jobs import Jobs
from features.materialize import refresh
from features.tiles import Tiles
from spark_jobs.jobs import start
from storage.layout import Layout
from storage.tables import Tables
from use_cases.definition import load


def main(arguments: Sequence[str]) -> int:
    """Do a job; 0 when it is done, 1 when it could not be."""
    parser = argparse.ArgumentParser(prog="spark-submit spark_jobs/submit.py")
    parser.add_argument("job", choices=("materialize", "backfill", "point-in-time"))
    parser.add_argument("--state", type=Path, required=True, help="the installation's state folder")
    parser.add_argument("--use-case", required=True)
    parser.add_argument("--memory", default="2GB", help="of a machine's workers together")
    parser.add_argument("--spine", type=Path, help="of point-in-time: Parquet of row_id, entity_id, moment")
    parser.add_argument("--out", type=Path, help="of point-in-time: Parquet file to write")
    asked = parser.parse_args(arguments)
    if asked.job == "point-in-time" and not (asked.spine and asked.out):
        parser.error("point-in-time needs --spine and --out")
    jobs = start("local[*]", asked.memory)
    try:
        print(_run(asked, jobs), flush=True)
    except OfferloopError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(asked: argparse.Namespace, jobs: Jobs) -> str:
    layout, use_case = Layout(asked.state), load(asked.use_case)
    tables, laid_out = Tables(layout.tables), layout.tiles(use_case.name)
    if asked.job == "materialize":
        done = refresh(tables, use_case.schema, laid_out, asked.memory, make=jobs.make_tiles)
        return f"{done.days} days laid out, in {done.spans} spans"
    if asked.job == "backfill":
        filled = backfill(
            tables, use_case.schema, use_case.feature_set, layout.backfilled(use_case.name), asked.memory, tiles=Tiles(laid_out), jobs=jobs
        )
        return f"{filled.rows} values of {', '.join(filled.features) or 'no feature'} computed, in {filled.days} days"
    files = tables.files(use_case.name, EVENTS)
    rows = jobs.compute(files, asked.spine, use_case.feature_set, use_case.schema, asked.out, asked.memory)
    return f"{rows} rows in {asked.out}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
