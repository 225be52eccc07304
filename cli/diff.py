"""`offerloop diff`."""

import click

from cli.here import layout_of, ledger_of, settings_of
from cli.output import console, json_option, print_json, print_table
from cli.shortened import whole_id
from releases.bundle import read_bundle
from releases.diff import diff as compare
from releases.ledger import Ledger
from releases.stages import previous_champion


@click.command()
@click.argument("release")
@click.argument("other", required=False)
@json_option
@click.pass_context
def diff(context: click.Context, release: str, other: str | None, as_json: bool) -> int:
    """Say what differs between the champion and a release, or between two: from RELEASE to OTHER.

    The champion itself is compared with the one before it. An id may be shortened to its first digits.
    """
    settings = settings_of(context)
    layout = layout_of(settings)
    with ledger_of(settings) as ledger:
        first, *second = (whole_id(ledger, text, settings.use_cases) for text in (release, other) if text)
        before, after = (first, second[0]) if second else (_compared_with(ledger, first), first)
    found = compare(read_bundle(layout.bundles, before), read_bundle(layout.bundles, after))
    if as_json:
        print_json(found)
        return 0
    for section in found.sections:
        if section.changes:
            rows = [(change.what, change.before, change.after) for change in section.changes]
            print_table(section.name.capitalize(), ("what", f"before: {before}", f"after: {after}"), rows)
    console().print(found.words, soft_wrap=True)
    return 0


def _compared_with(ledger: Ledger, release_id: str) -> str:
    row = ledger.release(release_id)
    plan = ledger.plan(row.use_case)
    champion = plan.champion.release_id if plan else release_id
    return previous_champion(ledger, row.use_case) if champion == release_id else champion
