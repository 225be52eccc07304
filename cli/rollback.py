"""`offerloop rollback`."""

import getpass

import click

from cli.here import clock_of, ledger_of, settings_of
from cli.output import json_option, print_json
from releases.ledger import Act
from releases.stages import rollback as roll_back


@click.command()
@click.argument("use_case")
@click.option("--to", "release_id", help="An earlier champion, instead of the one before this.")
@click.option("--reason", default="rolled back by hand", show_default=True, help="Stands in the ledger.")
@json_option
@click.pass_context
def rollback(context: click.Context, use_case: str, release_id: str | None, reason: str, as_json: bool) -> int:
    """Put the champion before this one, or a named one, back before everybody; replicas follow within a second. Experiments end."""
    settings = settings_of(context)
    act = Act(getpass.getuser(), clock_of(settings).now_us(), reason)
    with ledger_of(settings) as ledger:
        plan = roll_back(ledger, use_case, act, release_id)
    if as_json:
        print_json(plan)
    else:
        click.echo(f"{plan.champion.release_id} answers {use_case} again (plan {plan.version})")
    return 0
