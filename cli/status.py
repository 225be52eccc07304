"""`offerloop status`."""

import click

from cli.here import layout_of, ledger_of, settings_of
from cli.output import console, json_option, moment, print_json, print_table
from cli.up import table_of
from contracts.traffic import TrafficPlan
from services import state as noted
from services.state import supervisor
from storage.rollouts import RolloutMeasure, read_rollouts


@click.command()
@json_option
@click.pass_context
def status(context: click.Context, as_json: bool) -> int:
    """Say what runs, where it listens, and which releases answer; 0 when all of it is ready, else 1."""
    settings = settings_of(context)
    layout = layout_of(settings)
    pid, state = supervisor(layout), noted.read(layout)
    with ledger_of(settings) as ledger:
        plans = {name: ledger.plan(name) for name in settings.use_cases}
        since = {row.release_id: row.changed_at for name in settings.use_cases for row in ledger.releases(name)}
    ready = pid is not None and state is not None and state.ready
    if as_json:
        print_json(
            {"state": str(layout.root), "supervisor": pid, "ready": ready, "services": state.services if state else (), "plans": plans}
        )
        return 0 if ready else 1
    if state is not None and pid is not None:
        console().print(table_of(state))
    else:
        click.secho(f"{layout.root} is not running; `offerloop up` starts it.", fg="yellow")
    rows = [row for name, plan in plans.items() for row in _rows(name, plan, since)]
    print_table("Who answers", ("use case", "arm", "release", "share#", "since (UTC)"), rows)
    for name, rollout in read_rollouts(layout).items():
        for said in _rolling_out(rollout):
            click.echo(f"{name}: {said}")
    for name, plan in plans.items():
        if plan is not None and plan.withheld:
            click.echo(f"{name} withholds {', '.join(plan.withheld)}; `offerloop withhold --restore` lets them be shown again.")
    return 0 if ready else 1


def _rolling_out(rollout: RolloutMeasure) -> list[str]:
    """How far a roll-out is, and what waits for a person."""
    said = [f"{release_id} waits for a sign-off (`offerloop scenarios`, `offerloop approve`)." for release_id in rollout.waiting]
    canary = rollout.canary
    if canary is not None:
        step = f"step {canary.step} of {canary.steps}" if canary.step else "a share given by hand"
        came = f"{canary.decisions} of at least {canary.needed} decisions, until {moment(canary.until_us)} at least"
        said.append(
            f"{canary.release_id} is canary at {canary.share:.0%}, {step}: {came}; {canary.failed} failed, {canary.degraded} degraded."
        )
    return said


def _rows(use_case: str, plan: TrafficPlan | None, since: dict[str, int]) -> list[tuple[object, ...]]:
    if plan is None:
        return [(use_case, "", "no release yet", "", "")]
    rest = 1.0 - plan.control_share
    champion = plan.champion.release_id
    arms = [(use_case, arm.name, arm.release_id, f"{rest * arm.share:.1%}", moment(since.get(arm.release_id))) for arm in plan.arms]
    shadow = [(use_case, "(shadow)", plan.shadow, "0.0%", moment(since.get(plan.shadow)))] if plan.shadow else []
    return [(use_case, "control", champion, f"{plan.control_share:.1%}", ""), *arms, *shadow]
