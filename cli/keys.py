"""`offerloop keys`."""

import click

from cli.here import layout_of, settings_of
from cli.output import json_option, print_json, print_table
from contracts.errors import NotFound
from serving import keys as kept
from serving.keys import OF_PROGRAMS, Scope, drop_key, make_key, owner_key


@click.group()
def keys() -> None:
    """Keys of the API. Only digests are kept, but for the owner's key, which stands in the secrets folder."""


@keys.command("list")
@json_option
@click.pass_context
def list_keys(context: click.Context, as_json: bool) -> int:
    """List names and scopes."""
    known = kept.list_keys(layout_of(settings_of(context)))
    if as_json:
        print_json([{"name": key.name, "scopes": key.scopes} for key in known])
    else:
        print_table("Keys", ("name", "may"), [(key.name, ", ".join(key.scopes)) for key in known])
    return 0


@keys.command("make")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    help="What it may do; decide, ingest, label and read by default.",
)
@click.pass_context
def make(context: click.Context, name: str, scopes: tuple[str, ...]) -> int:
    """Make a key and print it: the only time it can be seen. Replicas accept it within a second.

    A person who uses the console needs `--scope view` to see, and `--scope operate` too, to approve, reject, promote and roll back. The
    key's name is the person's: that is who stands in the ledger, and whom a use case names among its approvers.
    """
    click.echo(make_key(layout_of(settings_of(context)), name, tuple(Scope(scope) for scope in scopes) or OF_PROGRAMS))
    return 0


@keys.command("drop")
@click.argument("name")
@click.pass_context
def drop(context: click.Context, name: str) -> int:
    """Forget a key."""
    if not drop_key(layout_of(settings_of(context)), name):
        raise NotFound("key", name)
    return 0


@keys.command("show")
@click.pass_context
def show(context: click.Context) -> int:
    """Print the owner's key."""
    click.echo(owner_key(layout_of(settings_of(context))))
    return 0
