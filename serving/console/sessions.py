"""Who looks at the console: a key typed once becomes a signed cookie, which is void when the key is dropped, and after twelve hours."""

import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from contracts.errors import Forbidden, OfferloopError, StateRefused
from serving.console.ended import EndedSessions
from serving.keys import Scope, console_secret, read_keys
from storage.layout import Layout

LASTS_S = 12 * 3_600
"""How long a session lasts, in real seconds."""

SLOWER_S = 0.25
"""How long the answer to a first failed sign-in is held back; each further one twice as long."""

SLOWEST_S = 4.0
FORGET_S = 300.0
"""How long a failed sign-in makes the next ones of its address slower."""

_ADDRESSES = 1_000


class TokenRefused(OfferloopError):
    """A form was sent without the token of its page, or with an old one."""

    def __init__(self) -> None:
        super().__init__(
            "This form was not sent from a page of yours, or you signed in anew since. Load the page again, and do it once more."
        )


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in. `session` is of this one sign-in."""

    name: str
    scopes: tuple[Scope, ...]
    session: str

    @property
    def operates(self) -> bool:
        """Whether they may act, and not only see."""
        return Scope.OPERATE in self.scopes


class _Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    name: str
    key: str
    until_s: float
    session: str


class Sessions:
    """Opens sessions, finds them again, and signs what comes back from browsers.

    Args:
        layout: of the installation, whose keys count.
        now_s: real seconds since 1970.
    """

    def __init__(self, layout: Layout, now_s: Callable[[], float] = time.time) -> None:
        self._layout = layout
        self._now_s = now_s
        self._secret = console_secret(layout)
        self._ended = EndedSessions(layout.secrets / "console_ended.json", now_s)

    def open(self, key: str) -> str:
        """The cookie of a new session of the key's holder.

        Raises:
            Unauthorized: the key is not known.
            Forbidden: it may not see the console.
            StateRefused: the keys, or the sessions that were signed out, cannot be read.
        """
        found = read_keys(self._layout, self._now_s).holder(key)
        if Scope.VIEW not in found.scopes:
            raise Forbidden(found.name, Scope.VIEW)
        session = _Session(found.name, found.mark, self._now_s() + LASTS_S, secrets.token_urlsafe(18))
        self._ended.holds(session.session, session.until_s)
        return self.seal("session", session)

    def find(self, cookie: str | None) -> Person | None:
        """Who has this cookie; None where it is not ours, has run out, was signed out, or its key is not what it was."""
        found = self._session(cookie)
        if found is None or found.until_s < self._now_s():
            return None
        try:
            if self._ended.holds(found.session, found.until_s):
                return None
            key = read_keys(self._layout, self._now_s).marked(found.name, found.key)
        except StateRefused:
            return None
        if key is None or Scope.VIEW not in key.scopes:
            return None
        return Person(key.name, key.scopes, found.session)

    def end(self, cookie: str | None) -> None:
        """Sign out: the cookie is void from now on, also after a restart.

        Raises:
            StateRefused: the sessions that were signed out cannot be read.
        """
        found = self._session(cookie)
        if found is not None:
            self._ended.add(found.session, found.until_s)

    def token(self, session: str) -> str:
        """What each form of a session carries, so that no other site can send it."""
        return self._sign("form", session.encode())

    def check_token(self, session: str, token: str) -> None:
        """Check what a form carried.

        Raises:
            TokenRefused: it is not of this session.
        """
        if not hmac.compare_digest(self.token(session).encode(), token.encode(errors="replace")):
            raise TokenRefused

    def seal(self, purpose: str, content: Any) -> str:
        """Content as text that a browser may keep and cannot change."""
        body = msgspec.json.encode(content)
        return f"{urlsafe_b64encode(body).decode().rstrip('=')}.{self._sign(purpose, body)}"

    def unseal(self, purpose: str, text: str | None, kind: type[Any]) -> Any:
        """What was sealed for this purpose; None where this is not it."""
        body, _, signature = (text or "").partition(".")
        try:
            content = urlsafe_b64decode(body + "=" * (-len(body) % 4))
        except ValueError:
            return None
        if not hmac.compare_digest(self._sign(purpose, content).encode(), signature.encode(errors="replace")):
            return None
        return msgspec.json.decode(content, type=kind)

    def _session(self, cookie: str | None) -> _Session | None:
        found: _Session | None = self.unseal("session", cookie, _Session)
        return found

    def _sign(self, purpose: str, content: bytes) -> str:
        return hmac.new(self._secret, purpose.encode() + b"\0" + content, "sha256").hexdigest()


class Attempts:
    """Counts failed sign-ins by address, so that guessing becomes slow.

    Nobody is locked out: behind a proxy all may have one address, and keys are too long to be guessed.

    Args:
        now_s: seconds of a clock that does not run backwards.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._failed: dict[str, tuple[int, float]] = {}

    def failed(self, address: str) -> float:
        """Note a failure; for how many seconds its answer is to be held back."""
        count = self._count(address) + 1
        if len(self._failed) >= _ADDRESSES:
            self._failed.pop(next(iter(self._failed)))
        self._failed[address] = (count, self._now_s())
        return min(SLOWEST_S, SLOWER_S * 2.0 ** min(count - 1, 10))

    def succeeded(self, address: str) -> None:
        """Forget an address's failures."""
        self._failed.pop(address, None)

    def _count(self, address: str) -> int:
        count, at = self._failed.get(address, (0, 0.0))
        return count if self._now_s() - at < FORGET_S else 0
