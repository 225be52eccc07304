"""`offerloop challenge`."""

from collections.abc import Iterator
from string import ascii_lowercase

import click

from cli.here import actor, desk_of, settings_of
from cli.output import json_option, print_json
from cli.shortened import whole_id
from contracts.traffic import CHALLENGER, TrafficPlan
from releases.ledger import Act
from releases.stages import retire
from serving.operations import challenge as begin


@click.command()
@click.argument("use_case")
@click.argument("release_id")
@click.option(
    "--share", type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True), default=0.2, show_default=True, help="Of all outside control."
)
@click.option("--arm", help="`canary`, `challenger`, or `challenger_` and a name. By default its own, or the next that is free.")
@click.option("--end", is_flag=True, help="End its comparison without a verdict; it may come again.")
@click.option("--reason", help="Stands in the ledger.")
@json_option
@click.pass_context
def challenge(
    context: click.Context, use_case: str, release_id: str, share: float, arm: str | None, end: bool, reason: str | None, as_json: bool
) -> int:
    """Compare a release with the champion, beside others; or change its share, or end it. Replicas follow within a second.

    A release that is not in the shadow is put there first, in the place of the one that is.
    """
    settings = settings_of(context)
    why = reason or ("comparison ended by hand" if end else "compared by hand")
    with desk_of(settings) as desk:
        release_id = whole_id(desk.ledger, release_id, [use_case])
        if end:
            retire(desk.ledger, use_case, release_id, Act(actor(), desk.clock.now_us(), why))
        else:
            given = arm or _free(desk.ledger.plan(use_case), release_id)
            begin(desk, use_case, release_id, actor(), why, share=share, arm=given)
        plan = desk.ledger.plan(use_case)
    assert plan is not None
    if as_json:
        print_json(plan)
    else:
        shares = ", ".join(f"{each.name} {each.release_id} {each.share:.1%}" for each in plan.arms)
        click.echo(f"{use_case}, outside control: {shares} (plan {plan.version})")
    return 0


def _free(plan: TrafficPlan | None, release_id: str) -> str:
    """The arm that a release has, or the first that nobody has."""
    taken = {arm.name: arm.release_id for arm in plan.arms[1:]} if plan else {}
    own = next((name for name, held in taken.items() if held == release_id), None)
    return own or next(name for name in _names() if name not in taken)


def _names() -> Iterator[str]:
    yield CHALLENGER
    yield from (f"{CHALLENGER}_{letter}" for letter in ascii_lowercase[1:])
