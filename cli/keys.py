"""`offerloop keys`."""

import click
import msgspec

from cli.here import layout_of, settings_of
from cli.output import json_option, print_json, print_table
from contracts.errors import NotFound
from serving.keys import Key, Scope, drop_key, keys_path, make_key, owner_key


@click.group()
def keys() -> None:
    """Keys of the API. Only digests are kept, but for the owner's key, which stands in the secrets folder."""


@keys.command("list")
@json_option
@click.pass_context
def list_keys(context: click.Context, as_json: bool) -> int:
    """List names and scopes."""
    path = keys_path(layout_of(settings_of(context)))
    known = msgspec.json.decode(path.read_bytes(), type=list[Key]) if path.exists() else []
    if as_json:
        print_json([{"name": key.name, "scopes": key.scopes} for key in known])
    else:
        print_table("Keys", ("name", "may"), [(key.name, ", ".join(key.scopes)) for key in known])
    return 0


@keys.command("make")
@click.argument("name")
@click.option(
    "--scope", "scopes", type=click.Choice([scope.value for scope in Scope]), multiple=True, help="What it may do; all by default."
)
@click.pass_context
def make(context: click.Context, name: str, scopes: tuple[str, ...]) -> int:
    """Make a key and print it: the only time it can be seen. Replicas accept it within a second."""
    click.echo(make_key(layout_of(settings_of(context)), name, tuple(Scope(scope) for scope in scopes) or tuple(Scope)))
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
