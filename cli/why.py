"""`offerloop why`."""

import click

from cli.here import layout_of, ledger_of, settings_of
from cli.output import json_option, moment, print_json, print_table
from releases.inbox import Inbox


@click.command()
@click.argument("use_case", required=False)
@click.option("--limit", default=20, show_default=True, help="Rows of each, newest first.")
@json_option
@click.pass_context
def why(context: click.Context, use_case: str | None, limit: int, as_json: bool) -> int:
    """Say who changed what, when and why (the ledger), and what became of everything that asked for a flow (the inbox)."""
    settings = settings_of(context)
    with ledger_of(settings) as ledger:
        changes = ledger.rows(use_case, limit=limit)
    inbox = Inbox(layout_of(settings).ledger)
    try:
        asked = inbox.rows(limit=limit)
    finally:
        inbox.close()
    asked = [row for row in asked if use_case is None or row.payload.get("use_case", use_case) == use_case]
    if as_json:
        print_json({"ledger": changes, "inbox": asked})
        return 0
    print_table(
        "Ledger: what changed",
        ("#", "at (UTC)", "use case", "who", "did", "release", "why"),
        [(row.id, moment(row.at), row.use_case, row.actor, row.action, row.release_id, row.reason) for row in changes],
    )
    print_table(
        "Inbox: what was asked for",
        ("#", "at (UTC)", "flow", "by", "with", "ended as", "run or reason"),
        [(row.id, moment(row.at), row.name, row.source, row.payload, row.status, row.run_id or row.reason) for row in asked],
    )
    return 0
