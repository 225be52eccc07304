"""The demos, from an empty folder to a finished report; nothing is left running, however they end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from cli.demo import game as simulated
from cli.demo import game_report, hillstrom_report
from cli.demo import hillstrom as logged
from cli.demo.stage import ENDING, staged
from cli.report import Report, show, to_html
from contracts.settings import ClockSettings
from decisions.value import Estimate
from releases.bundle import read_bundle
from storage.files import write_bytes
from storage.layout import Layout
from training.train import forecast
from use_cases.email_promotion.hillstrom import fetch


@contextmanager
def ending_on_signals(stopping: threading.Event) -> Iterator[None]:
    """Let Ctrl-C, a closed terminal and `kill` end the demo in order, whatever it is doing."""

    def end(number: int, frame: FrameType | None) -> None:
        stopping.set()
        raise KeyboardInterrupt

    before = [signal.signal(number, end) for number in ENDING]
    try:
        yield
    finally:
        for number, handler in zip(ENDING, before, strict=True):
            signal.signal(number, handler)


def game(state: Path, console: Console, stopping: threading.Event, *, seed: int, players: int, decisions: int) -> Report:
    """The simulated game."""
    with staged(state, console, simulated.changes(state), simulated.CLOCK, stopping) as stage:
        played = stage.run(simulated.play(stage, seed=seed, players=players, decisions=decisions))
        played.truth.save(stage.layout.root / "truth.parquet")
        forecasts = forecasts_of(stage.layout, [row.release_id for row in played.ledger if row.action == "register" and row.release_id])
    return game_report.report(played, stage.steps, forecasts)


def hillstrom(state: Path, console: Console, stopping: threading.Event, *, path: Path | None, seed: int) -> Report:
    """The real promotion.

    Raises:
        DataRefused: the file is not the published one.
        ToolMissing: it is not there, and cannot be fetched.
    """
    found = fetch(path, Path.home() / ".cache" / "offerloop")
    with staged(state, console, logged.changes(state), ClockSettings(), stopping) as stage:
        replayed = logged.replay(stage, path=found, seed=seed)
    return hillstrom_report.report(replayed, stage.steps)


def forecasts_of(layout: Layout, release_ids: list[str]) -> dict[str, Estimate]:
    """What the gate foresaw of the trained releases that went on, in the order they were made."""
    found = {}
    for release_id in release_ids:
        parts = read_bundle(layout.bundles, release_id).parts
        if "forecast" in parts.gate and parts.gate["accepted"]:
            found[release_id] = forecast(parts)
    return found


def finish(report: Report, page: Path, console: Console) -> int:
    """Show the report, write its page, and say how the demo ends."""
    show(report, console)
    write_bytes(page, to_html(report).encode())
    console.print(f"\nThe same with plots: {page}", highlight=False, soft_wrap=True)
    return 0 if report.holds else 1
