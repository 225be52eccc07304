"""The stage of a demo: an installation of its own that lives as long as the demo, and the steps that people watch."""

import asyncio
import shutil
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.flow_runs import follow, trigger
from contracts.clock import Clock
from contracts.errors import ServiceFailed, StateRefused
from contracts.settings import ClockSettings, Ports, Settings
from services.ports import Addresses
from services.state import State
from services.supervisor import Supervisor, supervised
from storage.installation import open_installation
from storage.layout import Layout

T = TypeVar("T")

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a demo: Ctrl-C, `kill`, a closed terminal."""

MARK = "demo"
"""The file that says that a state folder is a demo's, so that the next demo may clear it."""

Advance = Callable[[int, str], None]
"""Told how far a step is, of its total, and what to say beside its bar."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A step that was done, and how many seconds it took."""

    name: str
    seconds: float


class Stage:
    """An installation under a demo, with its settings, addresses and clock, and the steps taken so far."""

    def __init__(self, settings: Settings, supervisor: Supervisor, console: Console, stopping: threading.Event) -> None:
        self.settings = settings
        self.layout = Layout(settings.folder)
        self.addresses: Addresses = supervisor.addresses
        self.clock: Clock = open_installation(self.layout, settings.clock).clock
        self.steps: list[Timed] = []
        self.console = console
        self._supervisor = supervisor
        self._stopping = stopping

    @contextmanager
    def step(self, name: str, why: str, total: int | None = None) -> Iterator[Advance]:
        """Show one step while it is done: its name and why it is done, and a bar."""
        with timed_step(self.console, self.steps, name, why, total) as advance:
            self._supervisor.check()
            yield advance

    def flow(self, name: str, payload: Mapping[str, Any], tell: Callable[[str], None]) -> str:
        """Start a flow by its signed webhook and wait for its end; what came of it, in its words.

        Raises:
            ServiceFailed: it did not end well.
        """
        run = follow(self.layout, self.addresses, trigger(self.layout, self.addresses, name, payload), tell, self._stopping)
        if not run.completed:
            raise ServiceFailed(f"flow {name}", f"ended as {run.state}: {run.message}", str(self.layout.logs / "worker.log"))
        return run.message

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run asynchronous work to its end; a signal to end cancels it in order.

        Raises:
            KeyboardInterrupt: such a signal came.
        """

        async def guarded() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None

            def end() -> None:
                self._stopping.set()
                task.cancel()

            for number in ENDING:
                loop.add_signal_handler(number, end)
            return await work

        handlers = [signal.getsignal(number) for number in ENDING]
        try:
            return asyncio.run(guarded())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            for number, handler in zip(ENDING, handlers, strict=True):
                signal.signal(number, handler)


def telling(advance: Advance) -> Callable[[str], None]:
    """Shows each line that a flow logs beside its step's bar."""
    return lambda line: advance(0, line.splitlines()[0][:110] if line else "")


@contextmanager
def timed_step(console: Console, steps: list[Timed], name: str, why: str, total: int | None = None) -> Iterator[Advance]:
    """Show one step while it is done, and note how long it took."""
    began = time.monotonic()
    console.print(f"[bold]{len(steps) + 1}. {name}[/bold] [dim]{why}[/dim]")
    columns = (BarColumn(bar_width=28), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        said = ""

        def advance(done: int, words: str) -> None:
            nonlocal said
            said = words
            progress.update(task, completed=done, description=words)

        yield advance
    steps.append(Timed(name, time.monotonic() - began))
    console.print(f"   [green]done[/green] in {steps[-1].seconds:.1f} s  [dim]{said}[/dim]", highlight=False)


@contextmanager
def staged(state: Path, console: Console, changes: Mapping[str, Any], clock: ClockSettings, stopping: threading.Event) -> Iterator[Stage]:
    """Start an installation in a fresh state folder; everything of it ends with the block, however that ends.

    Raises:
        StateRefused: the folder holds something that is not a demo's.
        ServiceFailed: decisions cannot be served.
    """
    _clear(state)
    ports = Ports(api=0, mlflow=0, prefect=0, ray_dashboard=0, metrics=0, proxy_statistics=0)
    settings = msgspec.structs.replace(Settings(state=str(state), ports=ports, clock=clock), **changes)
    (state / MARK).touch()
    open_installation(Layout(settings.folder), settings.clock)
    shown = _Shown()
    with supervised(settings, shown.note, stopping) as supervisor:
        steps: list[Timed] = []
        with timed_step(console, steps, "Start the services", "decisions, training and registry are real servers", None) as advance:
            shown.advance = advance
            ready = supervisor.wait_until_ready()
        if stopping.is_set():
            raise KeyboardInterrupt
        failed = [service for service in ready.services if service.stage == "failed"]
        if failed:
            raise ServiceFailed(failed[0].title, failed[0].reason, str(Layout(settings.folder).logs / f"{failed[0].name}.log"))
        stage = Stage(settings, supervisor, console, stopping)
        stage.steps = steps
        yield stage


class _Shown:
    def __init__(self) -> None:
        self.advance: Advance = lambda done, words: None

    def note(self, state: State) -> None:
        ready = [service.title for service in state.services if service.stage == "ready"]
        waiting = [service.title for service in state.services if service.stage != "ready"]
        self.advance(
            len(ready), f"{len(ready)} of {len(state.services)} ready" + (f"; waiting for {', '.join(waiting)}" if waiting else "")
        )


def _clear(state: Path) -> None:
    if state.exists() and any(state.iterdir()) and not (state / MARK).exists():
        raise StateRefused(str(state), "is not a demo's", "Name another folder with --state, or none.")
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
