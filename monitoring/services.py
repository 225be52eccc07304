"""What runs of an installation, as its supervisor notes it."""

import os
from collections.abc import Mapping

import msgspec

from storage.layout import Layout

SUPERVISOR = "supervisor"


class _Service(msgspec.Struct):
    name: str
    stage: str


class _State(msgspec.Struct):
    pid: int
    services: tuple[_Service, ...]


def services_up(layout: Layout) -> Mapping[str, bool]:
    """The supervisor and each service, and whether it runs. Under a supervisor that is gone nothing counts as running: nobody would know.

    Nothing where nothing was ever started.
    """
    try:
        state = msgspec.json.decode((layout.run / "state.json").read_bytes(), type=_State)
    except FileNotFoundError:
        return {}
    watched = _alive(state.pid)
    return {SUPERVISOR: watched, **{service.name: watched and service.stage == "ready" for service in state.services}}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
