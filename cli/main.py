"""The `offerloop` command."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from cli.commands import Lazy
from contracts.errors import OfferloopError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("cli.demo", "Watch the whole loop turn, from nothing to a model that earns."),
    "up": ("cli.up", "Start everything, and keep it running."),
    "down": ("cli.down", "End everything that `up` started."),
    "status": ("cli.status", "Say what runs, where, and which releases answer."),
    "console": ("cli.console", "Say where the console is, and who may sign in."),
    "capacity": ("cli.capacity", "Say what one replica carries on this machine, and how many it holds."),
    "doctor": ("cli.doctor", "Say what is missing on this machine, and how to mend it."),
    "import": ("cli.importing", "Take in decisions and outcomes, or events, that were logged elsewhere."),
    "evaluate": ("cli.evaluate", "Say what a policy would have earned, from a log that another one made."),
    "train": ("cli.train", "Start a training by its signed webhook, and follow it."),
    "releases": ("cli.releases", "List releases: where they stand, what is foreseen, who signed them off."),
    "diff": ("cli.diff", "Say what differs between two releases."),
    "scenarios": ("cli.scenarios", "Show what a release would show the personas of a use case, and why."),
    "approve": ("cli.approve", "Sign a release off."),
    "reject": ("cli.reject", "Refuse a release for good."),
    "promote": ("cli.promote", "Take a release one step further, up to champion."),
    "experiments": ("cli.experiments", "Say what every arm earns, what is concluded, and how far along it is."),
    "plan": ("cli.plan", "Say how long it takes to see a gain, and what it costs."),
    "challenge": ("cli.challenge", "Compare a release with the champion, beside others; or end that."),
    "rollback": ("cli.rollback", "Put the champion before this one, or a named one, back."),
    "live": ("cli.live", "Say what served at a moment, by whose step and with whose approval."),
    "withhold": ("cli.withhold", "Show candidates to nobody, as when they are sold out; or again."),
    "explain": ("cli.explain", "Compute a decision again, to the last bit."),
    "ledger": ("cli.ledger", "Say who did what to which release, when and why."),
    "why": ("cli.why", "Say who changed what, when and why: ledger and inbox."),
    "features": ("cli.features", "Features: what each is, where it comes from, and how it behaves."),
    "quarantine": ("cli.quarantine", "What was sent and not taken, and why; take in what fits by now."),
    "keys": ("cli.keys", "Keys of the API: list, make, rotate, drop, show the owner's."),
    "hook": ("cli.hook", "The secret that signs webhooks."),
    "monitoring": ("cli.monitoring", "Dashboards of what Offerloop decides and earns."),
}
"""Where each command is (a function named as it, or `command`), and what it does."""


@click.command(cls=Lazy, members=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file instead of ./offerloop.toml.")
@click.option("--state", type=click.Path(file_okay=False), help="State folder instead of the settings' one.")
@click.version_option(package_name="offerloop")
@click.pass_context
def offerloop(context: click.Context, config: Path | None, state: str | None) -> None:
    """Decide, record, learn, prove it with money, release, undo."""
    context.obj = {"config": config, "state": state}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code. What Offerloop raises on purpose is one red line, and 2."""
    try:
        found = offerloop.main(args=None if arguments is None else list(arguments), prog_name="offerloop", standalone_mode=False)
    except OfferloopError as error:
        click.secho(f"Error: {error}", fg="red", err=True)
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("", err=True)
        return 130
    return found if isinstance(found, int) else 0


if __name__ == "__main__":
    sys.exit(main())
