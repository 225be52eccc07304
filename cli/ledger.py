"""`offerloop ledger`."""

import click

from cli.here import ledger_of, settings_of
from cli.options import MOMENT
from cli.output import json_option, moment, print_json, print_table
from cli.shortened import whole_id


@click.command()
@click.argument("use_case", required=False)
@click.option("--release", help="Only what was done to this one.")
@click.option("--action", help="Only such rows: register, shadow, canary, champion, rollback, approve, denied, …")
@click.option("--since", "since_us", type=MOMENT, help="Only since a moment, such as 2026-03-01T12:00Z.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=40, show_default=True, help="Rows, newest first.")
@click.option("--before", type=int, help="A row's number, to page on: only rows before it.")
@json_option
@click.pass_context
def ledger(
    context: click.Context,
    use_case: str | None,
    release: str | None,
    action: str | None,
    since_us: int | None,
    limit: int,
    before: int | None,
    as_json: bool,
) -> int:
    """Say who did what to which release, when and why; what was asked and refused too. With --json also the figures behind each row."""
    settings = settings_of(context)
    with ledger_of(settings) as opened:
        release_id = whole_id(opened, release, [use_case] if use_case else settings.use_cases) if release else None
        rows = opened.rows(use_case, limit, before, release_id=release_id, action=action, since_us=since_us)
    if as_json:
        print_json(rows)
        return 0
    print_table(
        "Ledger, newest first",
        ("row#", "at (UTC)", "use case", "who", "did", "release", "plan#", "why"),
        [
            (row.id, moment(row.at), row.use_case, row.actor, row.action, row.release_id, row.plan.version if row.plan else "", row.reason)
            for row in rows
        ],
    )
    if len(rows) == limit:
        click.echo(f"There may be more: --before {rows[-1].id}")
    return 0
