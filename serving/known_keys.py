"""The keys that a process accepts, as their file has them at most a moment ago."""

import logging
import threading

from contracts.errors import StateRefused
from serving.keys import Keys, keys_version, read_keys
from storage.layout import Layout

LOOK_S = 0.5
_LOG = logging.getLogger(__name__)


class KnownKeys:
    """Follows the file of keys, on a thread of its own: that a key was dropped is seen whatever else a process waits for.

    Args:
        layout: of the installation.
    """

    def __init__(self, layout: Layout) -> None:
        self.now = Keys(())
        self._layout = layout
        self._version: tuple[int, int, int] | None = None
        self._said = ""
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)

    def start(self) -> None:
        """Look now, and every half a second from now on."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Take what the file says, if it has changed. If it cannot be read, that is said, and what was known counts on."""
        with self._looking:
            try:
                version = keys_version(self._layout)
                if version != self._version:
                    self.now = read_keys(self._layout)
                    self._version = version
            except (StateRefused, OSError) as error:
                if repr(error) != self._said:
                    _LOG.error("keys cannot be read, and those known before count on: %s", error)
                self._said = repr(error)
            else:
                self._said = ""

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.look()
