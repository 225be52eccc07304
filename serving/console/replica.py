"""The console as Ray Serve runs it: one replica of its own, which steps back for those that answer decisions."""

import logging
import os

import msgspec

from contracts.settings import Settings
from serving.console.app import Console
from serving.console.desk import Office
from serving.replica import keep_to_loopback

NICENESS = 10
"""How far it steps back."""


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
    os.nice(NICENESS)
    office = Office(msgspec.json.decode(settings, type=Settings))
    return Console(office, on_shutdown=office.close)


class ConsoleReplica:
    """The deployment's class: Ray gives it the settings, then asks it for the application."""

    def __init__(self, settings: bytes) -> None:
        self._settings = settings

    def __serve_build_asgi_app__(self) -> Console:
        return build(self._settings)
