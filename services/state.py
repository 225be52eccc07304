"""What runs of an installation, noted in its state folder for whoever asks: `status`, `down`, a second `up`, the exporter."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from contracts.errors import StateRefused
from storage.layout import Layout

Stage: TypeAlias = Literal["waiting", "starting", "ready", "broken", "failed", "ended"]


class ServiceState(msgspec.Struct, frozen=True):
    """How a service is.

    Attributes:
        pid: of the process that was started last; 0 before.
        starts: how often it was started.
        since_s: real seconds since 1970 of the last change.
        ready_after_s: how long it took from its last start to ready; 0 until then.
        reason: why it is broken or failed.
    """

    name: str
    title: str
    address: str
    stage: Stage = "waiting"
    pid: int = 0
    starts: int = 0
    since_s: float = 0.0
    ready_after_s: float = 0.0
    reason: str = ""


class State(msgspec.Struct, frozen=True):
    """All services, under the supervisor of process id `pid`, which began at `started_s`."""

    pid: int
    started_s: float
    services: tuple[ServiceState, ...]

    @property
    def ready(self) -> bool:
        """Whether everything answers."""
        return all(service.stage == "ready" for service in self.services)


def write(layout: Layout, state: State) -> None:
    """Note how everything is; beside it the process id of each service, for the exporter."""
    pids = {service.name: service.pid for service in state.services if service.pid}
    for name, content in (("state.json", msgspec.json.encode(state)), ("services.json", msgspec.json.encode(pids))):
        # why: whole, but not synced: after a power cut nothing of it runs, and services wait on each other here
        temporary = layout.run / f".{name}.{threading.get_ident()}.tmp"
        temporary.write_bytes(content)
        temporary.replace(layout.run / name)


def read(layout: Layout) -> State | None:
    """How everything was when it last changed; None where nothing was ever started."""
    path = layout.run / "state.json"
    return msgspec.json.decode(path.read_bytes(), type=State) if path.exists() else None


@contextmanager
def claimed(layout: Layout) -> Iterator[None]:
    """Be the one supervisor of this state until the block ends, or this process dies.

    Raises:
        StateRefused: another process is; the message names it.
    """
    layout.run.mkdir(parents=True, exist_ok=True)
    with _lock(layout).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = supervisor(layout)
            mend = "Use it (`offerloop status`), or end it with `offerloop down`."
            raise StateRefused(str(layout.root), f"process {pid or '?'} runs this installation", mend) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def supervisor(layout: Layout) -> int | None:
    """The process id of the supervisor that runs this installation now; None when none does."""
    try:
        with _lock(layout).open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                said = file.read().strip()
                return int(said) if said else None
            return None
    except FileNotFoundError:
        return None


def _lock(layout: Layout) -> Path:
    return layout.run / "supervisor.lock"
