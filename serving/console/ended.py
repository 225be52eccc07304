"""Sessions that were signed out, kept on disk until they would have run out anyway: a restart does not bring them back."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import msgspec

from contracts.errors import StateRefused
from storage.files import write_bytes

MOST = 1_000
"""Sign-outs that are remembered one by one."""


class _Ended(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`until_s`: all sessions that run out by then are ended. `sessions`: single ones, with when they run out."""

    until_s: float = 0.0
    sessions: dict[str, float] = {}


class EndedSessions:
    """What sessions were ended before their time. One process writes the file.

    When more are ended than are remembered one by one, all that are as old as the oldest of them end, too.

    Args:
        path: of the file, made at the first sign-out, readable by its owner alone.
        now_s: real seconds since 1970.
    """

    def __init__(self, path: Path, now_s: Callable[[], float]) -> None:
        self._path = path
        self._now_s = now_s
        self._lock = Lock()

    def add(self, session: str, until_s: float) -> None:
        """End a session, which would run out by itself at `until_s`.

        Raises:
            StateRefused: the file cannot be read.
        """
        with self._lock:
            before, now = self._read(), self._now_s()
            sessions = {known: until for known, until in before.sessions.items() if until >= now} | {session: until_s}
            soonest = sorted(sessions, key=lambda known: sessions[known])[: max(0, len(sessions) - MOST)]
            floor = max([before.until_s, *(sessions.pop(known) for known in soonest)])
            write_bytes(self._path, msgspec.json.encode(_Ended(floor, sessions)), 0o600)

    def holds(self, session: str, until_s: float) -> bool:
        """Whether a session that runs out at `until_s` was ended.

        Raises:
            StateRefused: the file cannot be read.
        """
        found = self._read()
        return session in found.sessions or until_s <= found.until_s

    def _read(self) -> _Ended:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Ended)
        except FileNotFoundError:
            return _Ended()
        except msgspec.DecodeError as error:
            mend = "Delete it, and `console_secret` beside it: that ends all sessions, and everybody signs in anew."
            raise StateRefused(str(self._path.parent), f"{self._path.name} is not readable ({error})", mend) from error
