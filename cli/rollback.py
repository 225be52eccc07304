"""`offerloop rollback`."""

import click

from cli.here import actor, desk_of, settings_of
from cli.options import MOMENT
from cli.output import json_option, print_json
from cli.shortened import whole_id
from serving.operations import roll_back


@click.command()
@click.argument("use_case")
@click.option("--to", "release_id", help="An earlier champion, instead of the one before this.")
@click.option("--at", "at_us", type=MOMENT, help="A moment, such as 2026-03-01T12:00Z: the release that was champion then.")
@click.option("--reason", default="rolled back by hand", show_default=True, help="Stands in the ledger.")
@click.option("--plan-version", type=int, help="Of the traffic plan you have looked at; another by now refuses.")
@json_option
@click.pass_context
def rollback(
    context: click.Context, use_case: str, release_id: str | None, at_us: int | None, reason: str, plan_version: int | None, as_json: bool
) -> int:
    """Put an earlier champion back before everybody, with all that belongs to it; replicas follow within a second. Experiments end."""
    with desk_of(settings_of(context)) as desk:
        to = release_id and whole_id(desk.ledger, release_id, [use_case])
        plan = roll_back(desk, use_case, actor(), reason, to=to, at_us=at_us, expected_version=plan_version)
    if as_json:
        print_json(plan)
    else:
        click.echo(f"{plan.champion.release_id} answers {use_case} again (plan {plan.version})")
    return 0
