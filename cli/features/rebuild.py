"""`offerloop features rebuild`."""

import time

import click

from cli.features.using import releases_of
from cli.here import layout_of, settings_of
from cli.output import json_option, print_json
from cli.stores import journal_of
from features.coverage import cover, keep, read_coverage
from features.online import OnlineFeatures, retention
from features.rebuild import rebuild
from storage.tables import Tables
from use_cases.definition import load

SERVED = ("shadow", "canary", "challenger", "champion")
"""Stages whose features are kept ready."""

_SETTLE_S = 1.0
"""How long the processes that serve may take to keep events for longer, too."""


@click.command("rebuild")
@click.argument("use_case")
@click.option("--entity", "entities", multiple=True, help="Only this entity; may be given again. Without it, all.")
@json_option
@click.pass_context
def command(context: click.Context, use_case: str, entities: tuple[str, ...], as_json: bool) -> int:
    """Make the online state of entities anew from the tables and the journal, as after damage, or for windows that are longer than before.

    Decisions and events may go on meanwhile. Interrupted, run it again.
    """
    settings = settings_of(context)
    chosen = load(use_case)
    tables = Tables(layout_of(settings).tables)
    ready = {
        use.feature_set.digest: use.feature_set
        for use in releases_of(settings, use_case)
        if use.feature_set and use.release.stage in SERVED
    }
    needed = retention([chosen.feature_set, *ready.values()], [chosen.catalogue])
    with journal_of(settings) as journal:
        with journal.read() as read:
            before = read_coverage(read, use_case)
        coverage = journal.write(lambda write: keep(write, use_case, needed, empty=False))
        if coverage.kept != before.kept:
            time.sleep(_SETTLE_S)
        online = OnlineFeatures(chosen.schema, coverage.kept, ready=ready.values())
        report = rebuild(journal, tables, chosen.schema, online, entities or None)
        if not entities:
            journal.write(lambda write: cover(write, use_case, coverage.kept))
    if as_json:
        print_json(report)
    else:
        click.echo(f"{report.entities:,} states made anew, from {report.events:,} events of the tables and what the journal had besides")
    return 0
