"""The console as Ray Serve runs it: one replica of its own, which steps back for those that answer decisions."""

import logging
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from contracts.settings import Settings
from serving.console.app import Console
from serving.console.desk import Office
from serving.replica import keep_to_loopback

NICENESS = 15
"""How far it steps back."""

_THREADS = Path("/proc/self/task")


def build(settings: bytes) -> Console:
    """The application of the replica, its stores opened.

    Args:
        settings: of the installation, as JSON, since a deployment's arguments travel through Ray.

    Raises:
        StateRefused: the state is another installation's.
        StoreUnavailable: a store cannot be opened.
    """
    logging.getLogger("serving").setLevel(logging.INFO)
    keep_to_loopback()
    step_back(NICENESS)
    office = Office(msgspec.json.decode(settings, type=Settings))
    return Console(office, on_shutdown=office.close)


def step_back(niceness: int) -> None:
    """Let all threads of this process step back so far, and with them those that they will start.

    On Linux `os.nice` is for the thread alone that calls it, and Ray has started its own by then.
    """
    if not _THREADS.is_dir():
        os.nice(niceness)
        return
    for thread in _THREADS.iterdir():
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), niceness)


class ConsoleReplica:
    """The deployment's class: Ray gives it the settings, then asks it for the application."""

    def __init__(self, settings: bytes) -> None:
        self._settings = settings

    def __serve_build_asgi_app__(self) -> Console:
        return build(self._settings)
