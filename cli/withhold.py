"""`offerloop withhold`."""

import click

from cli.here import actor, clock_of, ledger_of, settings_of
from cli.output import json_option, print_json
from contracts.errors import NotFound
from releases.ledger import Act
from releases.stages import restore
from releases.stages import withhold as take_away
from use_cases.definition import load


@click.command()
@click.argument("use_case")
@click.argument("candidate_ids", nargs=-1, required=True, metavar="CANDIDATE…")
@click.option("--restore", "back", is_flag=True, help="Let them be shown again.")
@click.option("--reason", default="by hand", show_default=True, help="Stands in the ledger.")
@json_option
@click.pass_context
def withhold(context: click.Context, use_case: str, candidate_ids: tuple[str, ...], back: bool, reason: str, as_json: bool) -> int:
    """Show candidates to nobody, whatever release answers, as when they are sold out; replicas follow within a second."""
    settings = settings_of(context)
    known = tuple(load(use_case).catalogue.index)
    for candidate_id in candidate_ids:
        if candidate_id not in known and not back:
            raise NotFound("candidate", candidate_id, known)
    act = Act(actor(), clock_of(settings).now_us(), reason)
    with ledger_of(settings) as ledger:
        plan = (restore if back else take_away)(ledger, use_case, candidate_ids, act)
    if as_json:
        print_json(plan)
    else:
        click.echo(f"{use_case} withholds {', '.join(plan.withheld) or 'nothing'} (plan {plan.version})")
    return 0
