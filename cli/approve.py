"""`offerloop approve`."""

import click

from cli.here import actor, desk_of, settings_of
from cli.output import json_option, print_json
from cli.shortened import whole_id
from serving import operations


@click.command()
@click.argument("use_case")
@click.argument("release")
@click.option("--comment", required=True, help="What you have looked at, and why it may go on. Stands in the ledger.")
@click.option("--subject", help="Of what you have looked at, as `scenarios` prints it; something else by now refuses.")
@click.option("--plan-version", type=int, help="Of the traffic plan you have looked at; another by now refuses.")
@json_option
@click.pass_context
def approve(
    context: click.Context, use_case: str, release: str, comment: str, subject: str | None, plan_version: int | None, as_json: bool
) -> int:
    """Sign a release off, as the user of this machine that you are; one of the use case's approvers must do it.

    It counts for this release, beside this champion, on these scenarios, until any of them changes. The flow then takes the release on.
    """
    with desk_of(settings_of(context)) as desk:
        release_id = whole_id(desk.ledger, release, [use_case])
        approval = operations.approve(desk, use_case, release_id, actor(), comment, subject_digest=subject, expected_version=plan_version)
    if as_json:
        print_json(approval)
    else:
        click.echo(f"{release_id} is signed off by {approval.actor} (ledger row {approval.ledger_id}); the flow rollout takes it on")
    return 0
