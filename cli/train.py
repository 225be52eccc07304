"""`offerloop train`."""

import time
from typing import Any

import click
import httpx

from cli.here import layout_of, settings_of
from cli.output import json_option, print_json
from client.client import Client
from contracts.errors import ServiceFailed, StepRefused
from releases.inbox import Inbox, InboxRow
from services import ports
from services.ports import Addresses
from serving.keys import hook_secret
from storage.layout import Layout

_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
LOOK_S = 0.3


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
    payload = {"use_case": use_case, "promote": promote, "challenger_share": share}
    with Client(addresses.api) as client:
        inbox_id = client.trigger("train", payload, hook_secret(layout)).inbox_id
    if no_follow:
        _say({"inbox_id": inbox_id}, f"inbox row {inbox_id}", as_json)
        return 0
    row = _row(layout, inbox_id)
    run = _run(addresses, str(row.run_id), quiet=as_json)
    said = {"inbox_id": inbox_id, "run_id": row.run_id, "state": run["state"]["type"], "message": run["state"]["message"]}
    _say(said, f"{run['state']['name']}: {run['state']['message']}\n{addresses.prefect}/runs/flow-run/{row.run_id}", as_json)
    return 0 if run["state"]["type"] == "COMPLETED" else 1


def _row(layout: Layout, inbox_id: int) -> InboxRow:
    inbox = Inbox(layout.ledger)
    try:
        while (row := inbox.row(inbox_id)).status in ("waiting", "claimed"):
            time.sleep(LOOK_S)
    finally:
        inbox.close()
    if row.run_id is None:
        raise StepRefused(f"inbox {row.id}", "become a run", row.reason)
    return row


def _run(addresses: Addresses, run_id: str, *, quiet: bool) -> dict[str, Any]:
    told = 0
    with httpx.Client(base_url=f"{addresses.prefect}/api", timeout=10.0, trust_env=False) as client:
        while True:
            try:
                run: dict[str, Any] = client.get(f"/flow_runs/{run_id}").raise_for_status().json()
                told = told if quiet else _tell(client, run_id, told)
                if run["state"]["type"] in _ENDED:
                    return run
            except httpx.HTTPError as error:
                click.secho(f"Prefect does not answer ({error}); the run goes on", fg="yellow", err=True)
            time.sleep(LOOK_S)


def _tell(client: httpx.Client, run_id: str, told: int) -> int:
    ask = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC", "offset": told}
    lines: list[dict[str, Any]] = client.post("/logs/filter", json=ask).raise_for_status().json()
    for line in lines:
        click.echo(f"  {line['message']}")
    return told + len(lines)


def _say(content: object, text: str, as_json: bool) -> None:
    if as_json:
        print_json(content)
    else:
        click.echo(text)
