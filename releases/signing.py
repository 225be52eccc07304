"""Who made a bundle: an Ed25519 signature (RFC 8032) over the digest of its manifest, by a key that the installation keeps to itself."""

import os
import secrets as random
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from contracts.digests import digest_of_bytes
from contracts.errors import BundleRefused, StateRefused
from storage.files import sync

if TYPE_CHECKING:
    from releases.bundle import Bundle

SIGNATURE_FILE = "signature.json"
KEY_FILE = "release-signing.pem"
TRUSTED = "trusted-signers"
"""Folder of public keys, a `*.pem` each: bundles signed by any of them are served."""

_PURPOSE = b"offerloop bundle\n"
_ALGORITHM = "ed25519"


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `signature.json` says, in one spelling only: by which key, and the 64 bytes in hexadecimal digits."""

    algorithm: str
    key: str
    signature: str

    def spelled(self) -> bytes:
        """The content of the file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


def sign(secrets: Path, digest: str) -> bytes:
    """The content of `signature.json` for a bundle's whole digest, by the installation's key; the key is made where there is none yet.

    Args:
        secrets: folder of the installation's secrets.
        digest: SHA-256 of the manifest, in hexadecimal digits.

    Raises:
        StateRefused: the key cannot be read.
    """
    key = _key(secrets)
    return Signature(_ALGORITHM, _name(key.public_key()), key.sign(_PURPOSE + digest.encode()).hex()).spelled()


def check_signature(secrets: Path, bundle: "Bundle") -> None:
    """Check that one of the keys that this installation trusts signed a bundle.

    Raises:
        BundleRefused: none did.
    """
    verify(secrets, bundle.release_id, bundle.digest, bundle.signature)


def verify(secrets: Path, release_id: str, digest: str, signature: bytes) -> None:
    """Check a signature of a whole digest.

    Args:
        secrets: folder of the installation's secrets, with the keys that it trusts.
        release_id: for the words of a refusal.
        digest: that was signed.
        signature: the content of `signature.json`; empty where there is none.

    Raises:
        BundleRefused: it does not hold, or was made by another key.
    """
    if not signature:
        raise BundleRefused(release_id, f"it is not signed: it has no {SIGNATURE_FILE}")
    try:
        keys = trusted(secrets)
        said = msgspec.json.decode(signature, type=Signature)
        made = bytes.fromhex(said.signature)
        if msgspec.structs.replace(said, signature=made.hex()).spelled() != signature:
            raise ValueError("it is spelled otherwise than it would be here")
    except StateRefused as error:
        raise BundleRefused(release_id, f"no signature can be checked: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise BundleRefused(release_id, f"its {SIGNATURE_FILE} is not readable: {error}") from error
    if said.algorithm != _ALGORITHM or said.key not in keys:
        raise BundleRefused(release_id, f"it is signed by {said.key[:40]!r} ({said.algorithm[:20]!r}); trusted are {sorted(keys)}")
    try:
        keys[said.key].verify(made, _PURPOSE + digest.encode())
    except InvalidSignature as error:
        raise BundleRefused(release_id, f"its signature by {said.key} does not hold for its digest") from error


def trusted(secrets: Path) -> Mapping[str, Ed25519PublicKey]:
    """The public keys whose bundles are served, by their names; none before a key was made.

    Raises:
        StateRefused: a file of the folder holds none.
    """
    folder = secrets / TRUSTED
    found = [_public(path) for path in sorted(folder.glob("*.pem"))] if folder.is_dir() else []
    return {_name(key): key for key in found}


def _key(secrets: Path) -> Ed25519PrivateKey:
    path = secrets / KEY_FILE
    if not path.exists():
        secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Ed25519PrivateKey.generate()
        _put(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StateRefused(
            str(secrets), f"{KEY_FILE} is no private key ({error})", "Restore it, or delete it to have a new one."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StateRefused(str(secrets), f"{KEY_FILE} is no Ed25519 key", "Restore it, or delete it to have a new one.")
    public = key.public_key()
    own = secrets / TRUSTED / f"{_name(public)}.pem"
    if not own.exists():
        own.parent.mkdir(mode=0o700, exist_ok=True)
        _put(own, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return key


def _put(path: Path, content: bytes) -> None:
    """Put a file in place whole, mode 0600, unless another process was faster: all go by the first."""
    draft = path.with_name(f".{path.name}.{random.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        sync(draft)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise StateRefused(str(path.parent), f"{path.name} is no public key ({error})", "Restore it, or delete it.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise StateRefused(str(path.parent), f"{path.name} is no Ed25519 key", "Put an Ed25519 key there, or delete it.")
    return key


def _name(key: Ed25519PublicKey) -> str:
    """The first 16 hexadecimal digits of a key's SHA-256."""
    return digest_of_bytes(key.public_bytes(Encoding.Raw, PublicFormat.Raw))[:16]
