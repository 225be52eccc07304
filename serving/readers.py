"""Who may read HAProxy's statistics: follows the installation's keys while HAProxy runs."""

import logging
import threading
from pathlib import Path

from contracts.errors import StateRefused
from contracts.settings import Settings
from serving.edge import READERS, readers
from serving.environment import short_folder
from serving.haproxy import ask, command, each_proxy
from storage.files import write_bytes

LOOK_S = 1.0
_LOG = logging.getLogger(__name__)


class Readers(threading.Thread):
    """Tells every HAProxy of an installation which keys read its statistics, until `ended` is set; what cannot be told is tried again.

    A file has them, too, for those that start later.
    """

    def __init__(self, settings: Settings, ended: threading.Event, look_s: float = LOOK_S) -> None:
        super().__init__(name="readers", daemon=True)
        self._settings = settings
        self._ended = ended
        self._look_s = look_s
        self._in_force = b""

    def run(self) -> None:
        """Look, again and again."""
        said = ""
        while not self._ended.wait(self._look_s):
            try:
                self.look()
                said = ""
            except (StateRefused, OSError) as error:
                if repr(error) != said:
                    _LOG.error("who may read HAProxy's statistics stays as it was, and is tried again: %s", error)
                said = repr(error)

    def look(self) -> None:
        """Tell, if anything has changed.

        Raises:
            StateRefused: the file of keys is not readable.
            OSError: a HAProxy cannot be told.
        """
        path = short_folder(self._settings) / READERS
        if not path.exists():
            return
        wanted = readers(self._settings)
        if wanted == self._in_force and wanted == path.read_bytes():
            return
        write_bytes(path, wanted, 0o600)
        each_proxy(self._settings, lambda place: _tell(place, path, wanted.decode().split()))
        self._in_force = wanted


def _tell(place: Path, path: Path, digests: list[str]) -> None:
    version = ask(place, f"prepare acl {path}\n").rpartition(" ")[2]
    for digest in digests:
        command(place, f"add acl @{version} {path} {digest}\n")
    command(place, f"commit acl @{version} {path}\n")
