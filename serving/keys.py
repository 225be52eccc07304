"""Keys of the API: made here, kept as digests, compared in constant time, replaced while the old ones stay valid for a while."""

import base64
import fcntl
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from hashlib import sha256
from math import inf
from pathlib import Path

import msgspec

from contracts.digests import digest_of_bytes
from contracts.errors import Forbidden, InvalidInput, NotFound, StateRefused, Unauthorized
from releases.signature import new_secret
from storage.files import write_bytes
from storage.layout import Layout

OWNER = "owner"
"""The key that an installation makes for whoever owns it, kept in full in the secrets folder."""

SERVICES = "services"
"""The key by which an installation's own processes reach its MLflow and Prefect, kept there likewise."""


class Scope(StrEnum):
    """What a key may do: ask for decisions; send events; send outcomes; read log and status; see the console; act on releases there."""

    DECIDE = "decide"
    INGEST = "ingest"
    LABEL = "label"
    READ = "read"
    VIEW = "view"
    OPERATE = "operate"


OF_PROGRAMS = (Scope.DECIDE, Scope.INGEST, Scope.LABEL, Scope.READ)
"""What a key may do that was made without saying so."""

METRICS = "prometheus"
"""The key with which Prometheus scrapes, kept there likewise."""

OF_SERVICES = (Scope.READ, Scope.OPERATE)
MOST_NAME = 64
NAME_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9 ._@+-]*[A-Za-z0-9._@+-])?"
"""Names of keys: what two people cannot read differently, since they stand in the ledger."""

MOST_SENT = 1_024
"""Characters of an `Authorization` header that are looked at; a longer one holds no key of ours."""

_OF_EARLIER_VERSIONS = {"record": (Scope.INGEST, Scope.LABEL)}


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as it is kept: never itself, only its SHA-256. It is random, so a slow hash would add nothing.

    Attributes:
        made_at_s, expires_at_s: real seconds since 1970; 0.0 where nobody noted when, None for one that does not expire.
        ends: its last four characters, by which people tell keys apart.
        requests_per_s: of the API that it may ask for; 0.0 for as many as the settings let every key ask for.
    """

    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    made_at_s: float = 0.0
    expires_at_s: float | None = None
    ends: str = ""
    requests_per_s: float = 0.0

    @property
    def mark(self) -> str:
        """What tells a key from one that was made later under its name."""
        return self.sha256[:32]

    def valid(self, now_s: float) -> bool:
        """Whether it has not expired."""
        return self.expires_at_s is None or now_s < self.expires_at_s


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    sha256: str
    scopes: tuple[str, ...]
    made_at_s: float = 0.0
    expires_at_s: float | None = None
    ends: str = ""
    requests_per_s: float = 0.0


class Keys:
    """The keys that are accepted.

    A key is looked up by its digest, which takes as long with one key as with ten thousand, and tells nobody who measures it anything: how
    far two digests agree says nothing of what they are digests of. The whole digest is then compared in constant time.

    Args:
        keys: as kept.
        now_s: real seconds since 1970, by which keys expire.
    """

    def __init__(self, keys: Sequence[Key], now_s: Callable[[], float] = time.time) -> None:
        self._keys = {bytes.fromhex(key.sha256): key for key in keys}
        self._rates = {key.name: key.requests_per_s for key in keys if key.requests_per_s}
        self._now_s = now_s

    def check(self, authorization: str | None, scope: Scope) -> str:
        """The name of the key in an `Authorization` header: `Bearer KEY`, or `Basic` with the key as password.

        Raises:
            Unauthorized: no key, or one that is not known or has expired.
            Forbidden: the key lacks the scope.
        """
        return self.check_any(authorization, (scope,))

    def check_any(self, authorization: str | None, scopes: Sequence[Scope]) -> str:
        """The name of the key in an `Authorization` header that has at least one of these scopes; raises as `check`."""
        found = self._of(_sent_key(authorization))
        for scope in scopes:
            if scope in found.scopes:
                return found.name
        raise Forbidden(found.name, scopes[0])

    def rate(self, name: str) -> float:
        """How many requests a second a key may ask for; 0.0 where nothing of its own is said."""
        return self._rates.get(name, 0.0)

    def holder(self, key: str) -> Key:
        """The key that is this one.

        Raises:
            Unauthorized: it is not known, or has expired.
        """
        return self._of(key.strip().encode(errors="replace"))

    def marked(self, name: str, mark: str) -> Key | None:
        """The key of a name and a mark; None when it is not accepted (any more)."""
        found = (key for key in self._keys.values() if key.name == name and hmac.compare_digest(key.mark, mark))
        return next((key for key in found if key.valid(self._now_s())), None)

    def _of(self, sent: bytes) -> Key:
        digest = sha256(sent).digest()
        found = self._keys.get(digest)
        if found is None or not hmac.compare_digest(found.sha256, digest.hex()):
            raise Unauthorized("The key is not known")
        if found.expires_at_s is not None and not found.valid(self._now_s()):
            raise Unauthorized("The key has expired")
        return found


def make_key(
    layout: Layout, name: str, scopes: Sequence[Scope] = OF_PROGRAMS, expires_in_s: float | None = None, requests_per_s: float = 0.0
) -> str:
    """Make a key, keep its digest, and return it: this is the only time it can be seen.

    Args:
        name: of whom or what it is for. Of a key that may use the console it is the person's, and stands in the ledger.
        scopes: what it may do.
        expires_in_s: after so many real seconds it is accepted no more; None: never.
        requests_per_s: that it may ask for; 0.0 for as many as any key.

    Raises:
        InvalidInput: there is a key of that name, or it is none that could stand in a ledger; or the rate is none.
    """
    if not 0.0 <= requests_per_s < inf:
        raise InvalidInput("requests_per_s", f"is {requests_per_s}", "a number of requests a second, or 0 for as many as any key")
    if not 0 < len(name) <= MOST_NAME or not re.fullmatch(NAME_PATTERN, name):
        expected = f"1 to {MOST_NAME} letters A-Z a-z, digits, spaces and . _ @ + - that begin with a letter or digit"
        raise InvalidInput("name", f"is {name[:MOST_NAME]!r}", expected)
    with _changing(layout):
        known = _read(layout)
        if any(key.name == name for key in known):
            raise InvalidInput("name", f"is {name!r}, which a key has", "a name of its own")
        made, key = _made(name, scopes, expires_in_s, requests_per_s)
        _write(layout, [*known, key])
    return made


def rotate_key(layout: Layout, name: str, keep_for_s: float = 0.0, expires_in_s: float | None = None) -> str:
    """Make a new key of a name with the scopes of the old one, and return it. The old one is accepted for so long still.

    Of a key that stands in the secrets folder in full, the file has the new one then.

    Raises:
        NotFound: there is no key of that name.
    """
    with _changing(layout):
        known, now_s = _read(layout), time.time()
        old = [key for key in known if key.name == name]
        if not old:
            raise NotFound("key", name)
        made, key = _made(name, old[-1].scopes, expires_in_s, old[-1].requests_per_s)
        until_s = now_s + max(0.0, keep_for_s)
        ending = [msgspec.structs.replace(one, expires_at_s=min(until_s, one.expires_at_s or until_s)) for one in old]
        kept = [one for one in ending if one.valid(now_s)]
        others = [one for one in known if one.name != name]
        if name in _IN_FULL:
            # why first: whoever is ended between these steps leaves a file whose key is accepted, before and after
            _write(layout, [*others, *old, key])
            _put(layout, layout.secrets / _IN_FULL[name][0], made.encode())
        _write(layout, [*others, *kept, key])
    return made


def drop_key(layout: Layout, name: str) -> bool:
    """Forget a key, also what was kept of it by a rotation; whether there was one. Replicas follow within a second."""
    with _changing(layout):
        known = _read(layout)
        kept = [key for key in known if key.name != name]
        if len(kept) < len(known):
            _write(layout, kept)
    return len(kept) < len(known)


def owner_key(layout: Layout) -> str:
    """The owner's key, made when there is none. It stands in `secrets/api_key`, readable by its owner alone."""
    return _in_full(layout, OWNER)


def services_key(layout: Layout) -> str:
    """The key of the installation's own processes, made when there is none. It stands in `secrets/services_key`."""
    return _in_full(layout, SERVICES)


def metrics_key(layout: Layout) -> str:
    """The key with which Prometheus scrapes, made when there is none. It stands in `secrets/metrics_key`."""
    return _in_full(layout, METRICS)


def hook_secret(layout: Layout) -> str:
    """The secret that signs webhooks (`whsec_` and Base64), made when there is none, in `secrets/hook_secret`.

    While rotating, the one before it stays valid as `secrets/hook_secret.old`.
    """
    path = layout.secrets / "hook_secret"
    _make_once(layout, path, new_secret)
    return path.read_text().strip()


def console_secret(layout: Layout) -> bytes:
    """What signs the console's sessions: random bytes in `secrets/console_secret`, made when there are none. Deleting it ends them all."""
    path = layout.secrets / "console_secret"
    _make_once(layout, path, lambda: secrets.token_hex(32))
    return bytes.fromhex(path.read_text().strip())


def hook_secrets(layout: Layout) -> tuple[str, ...]:
    """The secrets that webhooks may be signed with, newest first; none before the first was made."""
    paths = (layout.secrets / "hook_secret", layout.secrets / "hook_secret.old")
    return tuple(path.read_text().strip() for path in paths if path.exists())


def read_keys(layout: Layout, now_s: Callable[[], float] = time.time) -> Keys:
    """The keys that are accepted now, and those that expire while `now_s` says real seconds since 1970.

    Raises:
        StateRefused: their file is not readable.
    """
    return Keys(_read(layout), now_s)


def list_keys(layout: Layout) -> list[Key]:
    """All keys, in the order they were made.

    Raises:
        StateRefused: their file is not readable.
    """
    return _read(layout)


def keys_version(layout: Layout) -> tuple[int, int, int] | None:
    """What tells the file of keys from one that was written before or after; None where there is none."""
    try:
        status = keys_path(layout).stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def keys_path(layout: Layout) -> Path:
    """Where the digests of the keys stand."""
    return layout.secrets / "api_keys.json"


_IN_FULL = {OWNER: ("api_key", tuple(Scope)), SERVICES: ("services_key", OF_SERVICES), METRICS: ("metrics_key", (Scope.READ,))}
"""Keys that the installation makes for itself: the file of each, and what it may do."""


def _in_full(layout: Layout, name: str) -> str:
    file, scopes = _IN_FULL[name]
    path = layout.secrets / file
    if not path.exists():
        with _changing(layout):
            if not path.exists():
                made, key = _made(name, scopes, None, 0.0)
                _write(layout, [*(one for one in _read(layout) if one.name != name), key])
                _put(layout, path, made.encode())
    return path.read_text().strip()


def _made(name: str, scopes: Sequence[Scope], expires_in_s: float | None, requests_per_s: float) -> tuple[str, Key]:
    made, now_s = f"olk_{secrets.token_urlsafe(32)}", time.time()
    until_s = None if expires_in_s is None else now_s + expires_in_s
    return made, Key(name, digest_of_bytes(made.encode()), tuple(scopes), now_s, until_s, made[-4:], requests_per_s)


def _sent_key(authorization: str | None) -> bytes:
    if authorization is not None and len(authorization) > MOST_SENT:
        raise Unauthorized("The `Authorization` header is too long to hold a key")
    kind, _, value = (authorization or "").partition(" ")
    if kind.lower() == "bearer" and value:
        # why no other white space: the edge, which counts by key, would take it for part of one
        return value.strip(" ").encode()
    if kind.lower() == "basic" and value:
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except ValueError as error:
            raise Unauthorized("The `Authorization` header is not readable") from error
    raise Unauthorized("No key was sent")


def _read(layout: Layout) -> list[Key]:
    path = keys_path(layout)
    if not path.exists():
        return []
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=list[_Kept])
        found = [msgspec.convert(msgspec.structs.asdict(one) | {"scopes": _scopes(one)}, Key) for one in kept]
        for one in kept:
            bytes.fromhex(one.sha256)
    except (msgspec.DecodeError, ValueError) as error:
        raise StateRefused(str(layout.root), f"api_keys.json is not readable ({error})", "Delete it and make new keys.") from error
    # why: an owner's key may be older than a scope
    return [msgspec.structs.replace(key, scopes=tuple(Scope)) if key.name == OWNER else key for key in found]


def _scopes(kept: _Kept) -> tuple[Scope, ...]:
    return tuple(scope for name in kept.scopes for scope in _OF_EARLIER_VERSIONS.get(name) or (Scope(name),))


def _write(layout: Layout, keys: Sequence[Key]) -> None:
    _put(layout, keys_path(layout), msgspec.json.format(msgspec.json.encode(keys), indent=1))


@contextmanager
def _changing(layout: Layout) -> Iterator[None]:
    """Be the one process that changes the keys, until the block ends."""
    layout.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(layout.secrets / "api_keys.lock", os.O_WRONLY | os.O_CREAT, 0o600)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_once(layout: Layout, path: Path, make: Callable[[], str]) -> None:
    if not path.exists():
        with _changing(layout):
            if not path.exists():
                _put(layout, path, make().encode())


def _put(layout: Layout, path: Path, content: bytes) -> None:
    layout.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_bytes(path, content, 0o600)
