"""`offerloop quarantine`."""

import click

from cli.here import layout_of, settings_of
from cli.output import json_option, moment, print_json, print_table
from cli.stores import journal_of
from contracts.settings import Settings
from serving.quarantine import Entry, counts, entries, replay
from serving.service import DecisionService
from storage.tables import Tables
from use_cases.definition import load

_reason = click.option("--reason", default="", help="Only those whose reason has this text in it.")


@click.group()
def quarantine() -> None:
    """What was sent and not taken: events and outcomes that break their contract. Nothing of it is lost."""


@quarantine.command("list")
@click.argument("use_case")
@_reason
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The newest so many.")
@json_option
@click.pass_context
def list_entries(context: click.Context, use_case: str, reason: str, limit: int, as_json: bool) -> int:
    """List what is in quarantine, newest first: when it came, why it was not taken, and what was sent."""
    found = _entries(settings_of(context), use_case, reason)
    if as_json:
        print_json(found[:limit])
        return 0
    rows = [(moment(entry.ingested_time), entry.kind, entry.times, entry.reason, _short(entry.payload)) for entry in found[:limit]]
    print_table(f"Quarantine of {use_case}: {len(found)} entries", ("came (UTC)", "kind", "times#", "reason", "what was sent"), rows)
    return 0


@quarantine.command("counts")
@click.argument("use_case")
@_reason
@json_option
@click.pass_context
def count_entries(context: click.Context, use_case: str, reason: str, as_json: bool) -> int:
    """Count what is in quarantine by its reason, the most frequent first."""
    found = counts(_entries(settings_of(context), use_case, reason))
    if as_json:
        print_json(found.to_dicts())
        return 0
    rows = [(row["kind"], row["count"], row["reason"], moment(row["newest"])) for row in found.to_dicts()]
    print_table(f"Quarantine of {use_case}", ("kind", "count#", "reason", "newest (UTC)"), rows)
    return 0


@quarantine.command("replay")
@click.argument("use_case")
@_reason
@json_option
@click.pass_context
def replay_entries(context: click.Context, use_case: str, reason: str, as_json: bool) -> int:
    """Take in what fits by now, known from now on; what does not fit stays. Doing it again changes nothing."""
    settings = settings_of(context)
    layout_of(settings)
    chosen = load(use_case)
    with DecisionService(settings, {use_case: chosen}) as service:
        found = entries(service.journal, Tables(service.layout.tables), chosen.schema, reason)
        done = replay(service, use_case, found)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{done.accepted:,} taken in, {done.duplicates:,} had been taken in before, {done.unfit:,} do not fit still")
    return 0


def _entries(settings: Settings, use_case: str, reason: str) -> list[Entry]:
    with journal_of(settings) as journal:
        return entries(journal, Tables(layout_of(settings).tables), load(use_case).schema, reason)


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:119]}…"
