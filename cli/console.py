"""`offerloop console`."""

import click

from cli.here import layout_of, settings_of
from cli.output import json_option, print_json
from services import ports
from serving.console import ROOT
from serving.keys import Scope, list_keys, owner_key


@click.command()
@json_option
@click.pass_context
def console(context: click.Context, as_json: bool) -> int:
    """Say where the console is, who may sign in, and how one more person may."""
    settings = settings_of(context)
    layout = layout_of(settings)
    found = ports.read(layout)
    address = f"{found.public if found else f'http://{settings.host}:{settings.ports.api}'}{ROOT}/"
    owner_key(layout)
    people = [key for key in list_keys(layout) if Scope.VIEW in key.scopes]
    if as_json:
        print_json({"address": address, "people": [{"name": key.name, "acts": Scope.OPERATE in key.scopes} for key in people]})
        return 0
    click.echo(f"The console: {address}")
    for key in people:
        click.echo(f"  {key.name} may {'look and act' if Scope.OPERATE in key.scopes else 'look'}")
    click.echo("Sign in with a key: `offerloop keys show` prints the owner's; one of a person's own, whose name then stands in the ledger:")
    click.echo("  offerloop keys make NAME --scope view --scope operate")
    return 0
