"""`offerloop import`."""

from pathlib import Path

import click

from cli.here import layout_of, settings_of
from cli.options import DURATION
from cli.output import json_option, moment, print_json
from contracts.settings import Settings
from serving.service import DecisionService
from training.import_events import import_events
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


@click.group("import")
def command() -> None:
    """Take in what other systems logged: decisions with their outcomes, or events. Parquet or CSV, all of a file or nothing."""


@command.command("decisions")
@click.argument("use_case")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--negative", is_flag=True, help="Let rewards be negative, as where refunds outweigh purchases.")
@json_option
@click.pass_context
def decisions(context: click.Context, use_case: str, file: Path, negative: bool, as_json: bool) -> int:
    """Take in a log of decisions and outcomes made elsewhere.

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


@command.command("events")
@click.argument("use_case")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--lag", "lag_us", type=DURATION, help="How long after an event the source knew of it, such as 5m; where the file does not say."
)
@json_option
@click.pass_context
def events(context: click.Context, use_case: str, file: Path, lag_us: int | None, as_json: bool) -> int:
    """Take in events that another system kept, as they were known there.

    Columns: event_id, entity_id, type, event_time, ingested_time (or --lag), and the fields of the event types.
    """
    settings = settings_of(context)
    layout_of(settings)
    chosen = load(use_case)
    with DecisionService(settings, {use_case: chosen}) as service:
        report = import_events(
            service.journal,
            chosen,
            file,
            service.apply_event(use_case),
            now_us=service.clock.now_us(),
            lag_us=lag_us,
            simulated=service.installation.simulated,
        )
    if as_json:
        print_json(report)
    else:
        span = f"from {moment(report.first_us)} to {moment(report.last_us)} UTC"
        click.echo(f"{report.events:,} events of {report.entities:,} entities, {report.new:,} of them new, {span}")
    return 0
