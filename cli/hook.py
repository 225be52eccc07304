"""`offerloop hook`."""

import click

from cli.here import layout_of, settings_of
from serving.keys import hook_secret


@click.group()
def hook() -> None:
    """Webhooks that start flows."""


@hook.command("secret")
@click.pass_context
def secret(context: click.Context) -> int:
    """Print the secret that signs webhooks (standard-webhooks.com)."""
    click.echo(hook_secret(layout_of(settings_of(context))))
    return 0
