"""`offerloop reject`."""

import click

from cli.here import actor, desk_of, settings_of
from cli.output import json_option, print_json
from cli.shortened import whole_id
from serving import operations


@click.command()
@click.argument("use_case")
@click.argument("release")
@click.option("--comment", required=True, help="Why. Stands in the ledger.")
@click.option("--plan-version", type=int, help="Of the traffic plan you have looked at; another by now refuses.")
@json_option
@click.pass_context
def reject(context: click.Context, use_case: str, release: str, comment: str, plan_version: int | None, as_json: bool) -> int:
    """Refuse a release for good: it leaves the shadow, its canary or its experiment, and never comes again."""
    with desk_of(settings_of(context)) as desk:
        release_id = whole_id(desk.ledger, release, [use_case])
        row = operations.reject(desk, use_case, release_id, actor(), comment, expected_version=plan_version)
    if as_json:
        print_json(row)
    else:
        click.echo(f"{row.release_id} is {row.stage} (ledger row {row.ledger_id})")
    return 0
