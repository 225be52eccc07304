"""What runs of an installation, as `offerloop up` notes it."""

import os
from collections.abc import Mapping

import msgspec

from storage.layout import Layout


def services_up(layout: Layout) -> Mapping[str, bool]:
    """Each service that was started, and whether its process is alive. Nothing where nothing was ever started."""
    try:
        noted = msgspec.json.decode((layout.run / "services.json").read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return {}
    return {name: _alive(pid) for name, pid in noted.items()}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
