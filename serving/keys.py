"""Keys of the API: made here, kept as digests, compared in constant time."""

import base64
import hmac
import secrets
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import msgspec

from contracts.digests import digest_of_bytes
from contracts.errors import Forbidden, InvalidInput, StateRefused, Unauthorized
from releases.signature import new_secret
from storage.files import write_bytes
from storage.layout import Layout

OWNER = "owner"
"""The key that an installation makes for itself, kept in full in the secrets folder."""


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

MOST_NAME = 64

_OF_EARLIER_VERSIONS = {"record": (Scope.INGEST, Scope.LABEL)}


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as it is kept: never itself, only its SHA-256. It is random, so a slow hash would add nothing."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    sha256: str
    scopes: tuple[str, ...]


class Keys:
    """The keys that are accepted."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple((bytes.fromhex(key.sha256), key) for key in keys)

    def check(self, authorization: str | None, scope: Scope) -> str:
        """The name of the key in an `Authorization` header: `Bearer KEY`, or `Basic` with the key as password.

        Raises:
            Unauthorized: no key, or one that is not known.
            Forbidden: the key lacks the scope.
        """
        sent = bytes.fromhex(digest_of_bytes(_sent_key(authorization)))
        found = self._of_digest(sent)
        if scope not in found.scopes:
            raise Forbidden(found.name, scope)
        return found.name

    def holder(self, key: str) -> Key:
        """The key that is this one.

        Raises:
            Unauthorized: it is not known.
        """
        return self._of_digest(bytes.fromhex(digest_of_bytes(key.strip().encode(errors="replace"))))

    def named(self, name: str) -> Key | None:
        """The key of a name; None when there is none (any more)."""
        return next((key for _, key in self._keys if key.name == name), None)

    def _of_digest(self, sent: bytes) -> Key:
        found: Key | None = None
        for digest, key in self._keys:
            if hmac.compare_digest(digest, sent):
                found = key
        if found is None:
            raise Unauthorized("The key is not known")
        return found


def make_key(layout: Layout, name: str, scopes: Sequence[Scope] = OF_PROGRAMS) -> str:
    """Make a key, keep its digest, and return it: this is the only time it can be seen.

    Args:
        name: of whom or what it is for. Of a key that may use the console it is the person's, and stands in the ledger.
        scopes: what it may do.

    Raises:
        InvalidInput: there is a key of that name, or it is none that could stand in a ledger.
    """
    known = _read(layout)
    if not 0 < len(name) <= MOST_NAME or not name.isprintable() or name != name.strip():
        raise InvalidInput("name", f"is {name[:MOST_NAME]!r}", f"1 to {MOST_NAME} printable characters")
    if any(key.name == name for key in known):
        raise InvalidInput("name", f"is {name!r}, which a key has", "a name of its own")
    made = f"olk_{secrets.token_urlsafe(32)}"
    _write(layout, [*known, Key(name, digest_of_bytes(made.encode()), tuple(scopes))])
    return made


def drop_key(layout: Layout, name: str) -> bool:
    """Forget a key; whether there was one. Replicas follow within a second."""
    known = _read(layout)
    kept = [key for key in known if key.name != name]
    if len(kept) < len(known):
        _write(layout, kept)
    return len(kept) < len(known)


def owner_key(layout: Layout) -> str:
    """The installation's own key, made when there is none. It stands in `secrets/api_key`, readable by its owner alone."""
    path = layout.secrets / "api_key"
    if not path.exists():
        drop_key(layout, OWNER)
        _put(layout, path, make_key(layout, OWNER, tuple(Scope)).encode())
    return path.read_text().strip()


def hook_secret(layout: Layout) -> str:
    """The secret that signs webhooks (`whsec_` and Base64), made when there is none, in `secrets/hook_secret`.

    While rotating, the one before it stays valid as `secrets/hook_secret.old`.
    """
    path = layout.secrets / "hook_secret"
    if not path.exists():
        _put(layout, path, new_secret().encode())
    return path.read_text().strip()


def console_secret(layout: Layout) -> bytes:
    """What signs the console's sessions: random bytes in `secrets/console_secret`, made when there are none. Deleting it ends them all."""
    path = layout.secrets / "console_secret"
    if not path.exists():
        _put(layout, path, secrets.token_hex(32).encode())
    return bytes.fromhex(path.read_text().strip())


def hook_secrets(layout: Layout) -> tuple[str, ...]:
    """The secrets that webhooks may be signed with, newest first; none before the first was made."""
    paths = (layout.secrets / "hook_secret", layout.secrets / "hook_secret.old")
    return tuple(path.read_text().strip() for path in paths if path.exists())


def read_keys(layout: Layout) -> Keys:
    """The keys that are accepted now.

    Raises:
        StateRefused: their file is not readable.
    """
    return Keys(_read(layout))


def list_keys(layout: Layout) -> list[Key]:
    """All keys, in the order they were made.

    Raises:
        StateRefused: their file is not readable.
    """
    return _read(layout)


def keys_path(layout: Layout) -> Path:
    """Where the digests of the keys stand."""
    return layout.secrets / "api_keys.json"


def _sent_key(authorization: str | None) -> bytes:
    kind, _, value = (authorization or "").partition(" ")
    if kind.lower() == "bearer" and value:
        return value.strip().encode()
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
        found = [Key(one.name, one.sha256, _scopes(one)) for one in kept]
    except (msgspec.DecodeError, ValueError) as error:
        raise StateRefused(str(layout.root), f"api_keys.json is not readable ({error})", "Delete it and make new keys.") from error
    # why: an owner's key may be older than a scope
    return [msgspec.structs.replace(key, scopes=tuple(Scope)) if key.name == OWNER else key for key in found]


def _scopes(kept: _Kept) -> tuple[Scope, ...]:
    return tuple(scope for name in kept.scopes for scope in _OF_EARLIER_VERSIONS.get(name) or (Scope(name),))


def _write(layout: Layout, keys: Sequence[Key]) -> None:
    _put(layout, keys_path(layout), msgspec.json.format(msgspec.json.encode(keys), indent=1))


def _put(layout: Layout, path: Path, content: bytes) -> None:
    layout.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_bytes(path, content, 0o600)
