"""`offerloop import`."""

from pathlib import Path

import click

from cli.here import layout_of, settings_of
from cli.output import json_option, print_json
from contracts.settings import Settings
from serving.service import DecisionService
from training.import_log import ImportReport, import_log
from use_cases.definition import load


def take_in(settings: Settings, use_case: str, path: Path, *, negative: bool = False) -> ImportReport:
    """Import a log into the journal of an installation, which may be serving meanwhile.

    Raises:
        DataRefused: the file or rows of it are wrong; nothing of it is taken.
    """
    chosen = load(use_case)
    with DecisionService(settings, {use_case: chosen}) as service:
        return import_log(
            service.journal,
            chosen,
            path,
            service.apply_event(use_case),
            now_us=service.clock.now_us(),
            negative=negative,
            simulated=service.installation.simulated,
        )


@click.command("import")
@click.argument("use_case")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--negative", is_flag=True, help="Let rewards be negative, as where refunds outweigh purchases.")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, file: Path, negative: bool, as_json: bool) -> int:
    """Take in a log of decisions and outcomes made elsewhere: Parquet or CSV, all of it or nothing.

    Columns: decision_id, entity_id, action, propensity, reward; optional decided_at, rewarded_at, candidate_ids, p_in_arm, context_….
    """
    settings = settings_of(context)
    layout_of(settings)
    report = take_in(settings, use_case, file, negative=negative)
    if as_json:
        print_json(report)
    else:
        click.echo(f"{report.rows:,} rows, {report.new:,} of them new, {report.rewarded:,} with a reward, {report.earned:,} earned in all")
    return 0
