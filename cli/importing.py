"""`offerloop import`."""

import tempfile
from pathlib import Path

import click

from cli.here import layout_of, settings_of
from cli.options import DURATION
from cli.output import json_option, moment, print_json
from contracts.settings import Settings
from serving.service import DecisionService
from training.import_events import EventsReport, import_events
from training.import_log import ImportReport, import_log
from use_cases.definition import load
from use_cases.email_promotion import hillstrom
from use_cases.product_recommendation import open_bandit


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


def take_in_events(settings: Settings, use_case: str, path: Path, lag_us: int | None = None) -> EventsReport:
    """Import events into the journal of an installation, which may be serving meanwhile.

    Raises:
        DataRefused: the file or rows of it are wrong; nothing of it is taken.
    """
    chosen = load(use_case)
    with DecisionService(settings, {use_case: chosen}) as service:
        return import_events(
            service.journal,
            chosen,
            path,
            service.apply_event(use_case),
            now_us=service.clock.now_us(),
            lag_us=lag_us,
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
    _say(take_in(settings, use_case, file, negative=negative), as_json)
    return 0


@command.command("open-bandit")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--policy", type=click.Choice(open_bandit.POLICIES), default="random", show_default=True, help="Whose log.")
@json_option
@click.pass_context
def open_bandit_command(context: click.Context, path: Path, policy: open_bandit.Policy, as_json: bool) -> int:
    """Take in a log of the Open Bandit Dataset: its folder or zip file. The campaign for men, for the use case product_recommendation."""
    settings = settings_of(context)
    layout_of(settings)
    with tempfile.TemporaryDirectory(prefix="offerloop-open-bandit-") as folder:
        log = Path(folder) / "log.parquet"
        open_bandit.write_log(open_bandit.read(path, policy, open_bandit.HERE), policy, log)
        _say(take_in(settings, "product_recommendation", log), as_json)
    return 0


@command.command("hillstrom")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def hillstrom_command(context: click.Context, path: Path, as_json: bool) -> int:
    """Take in Hillstrom's e-mail experiment, as published: what is known of each customer, then the log. For email_promotion."""
    settings = settings_of(context)
    layout_of(settings)
    hillstrom.check(path)
    customers = hillstrom.read(path)
    with tempfile.TemporaryDirectory(prefix="offerloop-hillstrom-") as folder:
        known, log = Path(folder) / "customers.parquet", Path(folder) / "log.parquet"
        hillstrom.write_events(customers, known)
        hillstrom.write_log(customers, log)
        take_in_events(settings, "email_promotion", known)
        _say(take_in(settings, "email_promotion", log), as_json)
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
    report = take_in_events(settings, use_case, file, lag_us)
    if as_json:
        print_json(report)
    else:
        span = f"from {moment(report.first_us)} to {moment(report.last_us)} UTC"
        click.echo(f"{report.events:,} events of {report.entities:,} entities, {report.new:,} of them new, {span}")
    return 0


def _say(report: ImportReport, as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        click.echo(f"{report.rows:,} rows, {report.new:,} of them new, {report.rewarded:,} with a reward, {report.earned:,} earned in all")
