"""`offerloop promote`."""

import click

from cli.here import actor, desk_of, settings_of
from cli.output import json_option, print_json
from cli.shortened import whole_id
from contracts.traffic import TrafficPlan
from serving import operations


@click.command()
@click.argument("use_case")
@click.argument("release")
@click.option("--at-once", is_flag=True, help="Straight to champion, past the steps that are left.")
@click.option("--reason", default="promoted by hand", show_default=True, help="Stands in the ledger.")
@click.option("--plan-version", type=int, help="Of the traffic plan you have looked at; another by now refuses.")
@json_option
@click.pass_context
def promote(
    context: click.Context, use_case: str, release: str, at_once: bool, reason: str, plan_version: int | None, as_json: bool
) -> int:
    """Take a release one step further: into the shadow, to the next share of a canary, at last to champion.

    Replicas follow within a second. What a step asks for by itself (time, decisions, evidence) is not waited for.
    """
    with desk_of(settings_of(context)) as desk:
        release_id = whole_id(desk.ledger, release, [use_case])
        plan = operations.promote(desk, use_case, release_id, actor(), reason, at_once=at_once, expected_version=plan_version)
    if as_json:
        print_json(plan)
    else:
        click.echo(f"{release_id} {_now(plan, release_id)} (plan {plan.version})")
    return 0


def _now(plan: TrafficPlan, release_id: str) -> str:
    if plan.champion.release_id == release_id:
        return f"answers {plan.use_case} now"
    if plan.shadow == release_id:
        return f"scores in the shadow of {plan.use_case}, unseen"
    share = sum(arm.share for arm in plan.arms if arm.release_id == release_id)
    return f"answers {share:.1%} of {plan.use_case} outside control"
