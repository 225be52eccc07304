"""`offerloop train`."""

from dataclasses import asdict

import click

from cli.flow_runs import follow, trigger
from cli.here import layout_of, settings_of
from cli.output import json_option, print_json
from contracts.errors import ServiceFailed
from services import ports


@click.command()
@click.argument("use_case")
@click.option(
    "--promote", type=click.Choice(["shadow", "challenger", "champion"]), default="champion", show_default=True, help="How far it may go."
)
@click.option(
    "--share", type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True), default=0.5, show_default=True, help="Of a challenger."
)
@click.option("--no-follow", is_flag=True, help="Return when it is in the inbox.")
@json_option
@click.pass_context
def train(context: click.Context, use_case: str, promote: str, share: float, no_follow: bool, as_json: bool) -> int:
    """Start a training by its signed webhook, and follow it to its end; 0 when the flow ended well, whatever its gate said."""
    layout = layout_of(settings_of(context))
    addresses = ports.read(layout)
    if addresses is None:
        raise ServiceFailed("decision API", "was never started; `offerloop up` starts it", str(layout.logs))
    inbox_id = trigger(layout, addresses, "train", {"use_case": use_case, "promote": promote, "challenger_share": share})
    if no_follow:
        _say({"inbox_id": inbox_id}, f"inbox row {inbox_id}", as_json)
        return 0
    run = follow(layout, addresses, inbox_id, (lambda line: None) if as_json else (lambda line: click.echo(f"  {line}")))
    said = f"{run.state.lower()}: {run.message}\n{addresses.prefect}/runs/flow-run/{run.run_id}"
    _say({"inbox_id": inbox_id, **asdict(run)}, said, as_json)
    return 0 if run.completed else 1


def _say(content: object, text: str, as_json: bool) -> None:
    if as_json:
        print_json(content)
    else:
        click.echo(text)
