"""`offerloop live`."""

import click

from cli.here import desk_of, settings_of
from cli.options import MOMENT
from cli.output import json_option, moment, print_json, print_table
from serving.operations import Then, live_at


@click.command()
@click.argument("use_case")
@click.option("--at", "at_us", type=MOMENT, help="A moment, such as 2026-03-01T12:00Z. By default now.")
@json_option
@click.pass_context
def live(context: click.Context, use_case: str, at_us: int | None, as_json: bool) -> int:
    """Say what served a use case at a moment: releases with their shares, since when, by whose step and with whose approval."""
    with desk_of(settings_of(context)) as desk:
        asked_us = desk.clock.now_us() if at_us is None else at_us
        then = live_at(desk, use_case, asked_us)
    if as_json:
        print_json({"use_case": use_case, "at": asked_us, "then": then})
        return 0
    _say(use_case, asked_us, then)
    return 0


def _say(use_case: str, asked_us: int, then: Then) -> None:
    plan, row = then.plan, then.row
    rest = 1.0 - plan.control_share
    champion = plan.champion.release_id
    rows = [("control", champion, f"{plan.control_share:.1%}", _digest(then, champion), "its baseline, whatever it scores")]
    rows += [
        (arm.name, arm.release_id, f"{rest * arm.share:.1%}", _digest(then, arm.release_id), _approval(then, arm.release_id))
        for arm in plan.arms
    ]
    if plan.shadow:
        rows.append(("(shadow)", plan.shadow, "0.0%", "", ""))
    print_table(f"{use_case} at {moment(asked_us)} UTC", ("arm", "release", "share#", "digest", "signed off"), rows)
    release = f" {row.release_id}" if row.release_id else ""
    click.echo(
        f"Since {moment(row.at)} UTC: {row.actor} did {row.action}{release}: {row.reason} (plan {plan.version}, ledger row {row.id})"
    )
    if plan.withheld:
        click.echo(f"Withheld from everybody: {', '.join(plan.withheld)}")


def _digest(then: Then, release_id: str) -> str:
    return next((row.digest[:16] for row in then.releases.values() if row.release_id == release_id), "")


def _approval(then: Then, release_id: str) -> str:
    approval = then.approvals.get(release_id)
    return f"{approval.actor}, {moment(approval.at)}: {approval.comment}" if approval else "no sign-off"
