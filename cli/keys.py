"""`offerloop keys`."""

import time

import click

from cli.here import actor, clock_of, layout_of, ledger_of, settings_of
from cli.options import DURATION
from cli.output import json_option, moment, print_json, print_table
from contracts.clock import SECOND_US
from releases.ledger import Act
from serving import audit
from serving import keys as kept
from serving.keys import OF_PROGRAMS, Key, Scope, owner_key


@click.group()
def keys() -> None:
    """Keys of the API. Only digests are kept, but for the owner's key, which stands in the secrets folder."""


@keys.command("list")
@json_option
@click.pass_context
def list_keys(context: click.Context, as_json: bool) -> int:
    """List names, scopes, last four characters, when each was made and when it expires."""
    known = kept.list_keys(layout_of(settings_of(context)))
    if as_json:
        print_json(
            [
                {
                    "name": key.name,
                    "scopes": key.scopes,
                    "ends": key.ends,
                    "made_at_s": key.made_at_s or None,
                    "expires_at_s": key.expires_at_s,
                    "requests_per_s": key.requests_per_s or None,
                    "valid": key.valid(time.time()),
                }
                for key in known
            ]
        )
    else:
        rows = [(key.name, ", ".join(key.scopes), f"…{key.ends}" if key.ends else "", _made(key), _expires(key)) for key in known]
        print_table("Keys", ("name", "may", "ends", "made (UTC)", "expires (UTC)"), rows)
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
@click.option("--expires", "expires_us", type=DURATION, help="After so long it is accepted no more, such as 90d; never by default.")
@click.option("--requests-per-s", type=click.FloatRange(min=0.0), default=0.0, help="That it may ask for; else as many as any key.")
@click.option("--reason", default="", help="Stands in the ledger.")
@click.pass_context
def make(context: click.Context, name: str, scopes: tuple[str, ...], expires_us: int | None, requests_per_s: float, reason: str) -> int:
    """Make a key and print it: the only time it can be seen. Replicas accept it within a second.

    A person who uses the console needs `--scope view` to see, and `--scope operate` too, to approve, reject, promote and roll back. The
    key's name is the person's: that is who stands in the ledger, and whom a use case names among its approvers.
    """
    settings = settings_of(context)
    chosen = tuple(dict.fromkeys(Scope(scope) for scope in scopes)) or OF_PROGRAMS
    act = Act(actor(), clock_of(settings).now_us(), reason)
    with ledger_of(settings) as ledger:
        click.echo(audit.make_key(ledger, layout_of(settings), act, name, chosen, _seconds(expires_us), requests_per_s))
    return 0


@keys.command("rotate")
@click.argument("name")
@click.option("--keep-for", "keep_us", type=DURATION, default="0s", show_default=True, help="How long the old one stays valid: 24h.")
@click.option("--expires", "expires_us", type=DURATION, help="After so long the new one is accepted no more; never by default.")
@click.option("--reason", default="", help="Stands in the ledger.")
@click.pass_context
def rotate(context: click.Context, name: str, keep_us: int, expires_us: int | None, reason: str) -> int:
    """Make a new key of a name, with the same scopes, and print it. The old one ends now, or after --keep-for.

    Of the owner's key, the secrets folder has the new one from then on.
    """
    settings = settings_of(context)
    act = Act(actor(), clock_of(settings).now_us(), reason)
    with ledger_of(settings) as ledger:
        click.echo(audit.rotate_key(ledger, layout_of(settings), act, name, keep_us / SECOND_US, _seconds(expires_us)))
    return 0


@keys.command("drop")
@click.argument("name")
@click.option("--reason", default="", help="Stands in the ledger.")
@click.pass_context
def drop(context: click.Context, name: str, reason: str) -> int:
    """Forget a key, and what is kept of it by a rotation. Replicas refuse it within a second; sessions by it end at once."""
    settings = settings_of(context)
    act = Act(actor(), clock_of(settings).now_us(), reason)
    with ledger_of(settings) as ledger:
        audit.drop_key(ledger, layout_of(settings), act, name)
    return 0


@keys.command("show")
@click.pass_context
def show(context: click.Context) -> int:
    """Print the owner's key."""
    click.echo(owner_key(layout_of(settings_of(context))))
    return 0


def _seconds(length_us: int | None) -> float | None:
    return None if length_us is None else length_us / SECOND_US


def _made(key: Key) -> str:
    return moment(int(key.made_at_s * SECOND_US)) if key.made_at_s else ""


def _expires(key: Key) -> str:
    if key.expires_at_s is None:
        return "never"
    return moment(int(key.expires_at_s * SECOND_US)) + ("" if key.valid(time.time()) else ", expired")
