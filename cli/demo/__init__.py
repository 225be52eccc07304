"""`offerloop demo`: the whole loop, watched from nothing to a model that earns."""

import threading
from pathlib import Path

import click

from cli.demo import run
from cli.output import console


@click.command()
@click.option(
    "--data", type=click.Choice(["game", "hillstrom"]), default="game", show_default=True, help="A simulated game, or a real promotion."
)
@click.option("--path", type=click.Path(dir_okay=False, path_type=Path), help="The data set's file; fetched when not given.")
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Of the players, or of the halves of the data.")
@click.option("--players", type=click.IntRange(min=200), default=3_500, show_default=True, help="Of the simulated game, on its first day.")
@click.option("--decisions", type=click.IntRange(min=500), default=25_000, show_default=True, help="Of each of the game's three phases.")
@click.option(
    "--report", "page", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the page; below the state otherwise."
)
@click.pass_context
def demo(context: click.Context, data: str, path: Path | None, seed: int, players: int, decisions: int, page: Path | None) -> int:
    """Start everything in a state folder of its own, let the loop turn, report, and end everything.

    Ends with 0 when what was released earned more than control (game) or than what was logged (hillstrom), beyond doubt.
    """
    stopping = threading.Event()
    state = Path(context.obj["state"] or Path(".offerloop") / f"demo-{data}")
    with run.ending_on_signals(stopping):
        if data == "hillstrom":
            report = run.hillstrom(state, console(), stopping, path=path, seed=seed)
        else:
            report = run.game(state, console(), stopping, seed=seed, players=players, decisions=decisions)
    return run.finish(report, page or state / "reports" / "demo.html", console())
