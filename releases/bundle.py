"""The bundle: one release as a folder of text and Parquet, named by the digest of what it says. Never a pickle, never code."""

import json
import os
import re
import secrets as random
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from contracts.catalogue import Candidate, Catalogue
from contracts.digests import digest_of_bytes
from contracts.errors import BundleRefused, DefinitionError, InvalidInput, NeedsOtherCode
from releases.golden import check_golden, read_golden, write_golden
from releases.signing import SIGNATURE_FILE, sign, verify
from storage.files import sync, write_bytes

FORMAT = 2
SUPPORTED_FORMATS = (2,)
MAX_MODEL_BYTES = 512 * 2**20
MAX_FILE_BYTES = 32 * 2**20
"""Of a file that is not the scorer's. The manifest, the signature and what is read of other formats are far smaller."""

SCORER_FILES: Mapping[str, tuple[str, ...]] = {
    "constant": (),
    "table": ("table.json",),
    "linear": ("linear.json",),
    "lightgbm": ("model.txt",),
}
"""The files that each kind of scorer is built from."""

_DOCUMENTS = ("features", "schema", "policy", "settings", "metrics", "gate", "data", "code", "card", "messages")
_ALWAYS = {"scorer.json", "catalogue.json", "golden.parquet"}
_MANIFEST = "manifest.json"
_SMALL = 2**20
_OF_SCORERS = frozenset(name for names in SCORER_FILES.values() for name in names)
_RELEASE_ID = re.compile(r"r-[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True)
class BundleParts:
    """All that a release is made of. The documents are JSON-like; the order of their keys is kept.

    Attributes:
        scorer_kind: a key of `SCORER_FILES`; `scorer_files` holds exactly its files.
        features: the feature set, so that it can be rebuilt without the user's code.
        schema: the event schema it was trained under.
        policy: how scores become probabilities.
        settings: `baseline, ttl_us, outcome_window_us, reward_unit, reward_scale`, which answers are made with; then those of the training.
        metrics: figures of the evaluation. `gate`: the verdict with its reasons, and the forecast.
        data: digests of the tables it was trained on, a partition each, and of the training set.
        code: git revision, digest of the lock file, container image.
        card: what people agree on; see `releases.card`.
        messages: what clients may send and read; see `releases.messages`.
        golden: decisions that the served scorer must reproduce to the last bit; see `releases.golden`.
        engine: versions of what computed it, such as `{"lightgbm": "4.7.0"}`.
    """

    use_case: str
    scorer_kind: str
    scorer_files: Mapping[str, bytes]
    features: Any
    schema: Any
    catalogue: Catalogue
    policy: Any
    settings: Any
    metrics: Any
    gate: Any
    data: Any
    code: Any
    golden: pl.DataFrame
    engine: Mapping[str, str]
    card: Any = field(default_factory=dict)
    messages: Any = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A bundle as read back, every byte of it verified.

    Attributes:
        digest: the whole digest, of which `release_id` is the short name.
        signature: the content of `signature.json`, empty where there is none; `releases.signing.check_signature` looks at it.
    """

    release_id: str
    digest: str
    path: Path
    parts: BundleParts
    signature: bytes = b""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    size: int


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    use_case: str
    engine: dict[str, str]
    files: dict[str, _File]


class _Format(msgspec.Struct, frozen=True):
    format: int


class _Listing(msgspec.Struct, frozen=True):
    files: dict[str, _File]


class _Scorer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str


def write_bundle(bundles: Path, parts: BundleParts, secrets: Path) -> str:
    """Write a signed bundle and return its `release_id`. The same parts give the same id, and are written once.

    The folder appears complete and synced, or not at all. One that stands there already, signed by a key that is trusted no more, is signed
    again.

    Args:
        bundles: folder of all bundles.
        parts: all that it is made of.
        secrets: folder of the installation's secrets, whose key signs it; the key is made where there is none yet.

    Raises:
        InvalidInput: a document is not JSON-like or holds NaN; the scorer's files are not those of its kind; golden decisions are wrong.
        BundleRefused: a damaged bundle stands under this id.
        StateRefused: the key cannot be read.
    """
    files = _encode(parts)
    manifest = _manifest_bytes(parts, files)
    signature = sign(secrets, digest_of_bytes(manifest))
    release_id = _release_id(manifest)
    target = bundles / release_id
    if not target.exists():
        bundles.mkdir(parents=True, exist_ok=True)
        draft = bundles / f".draft-{random.token_hex(8)}"
        draft.mkdir()
        try:
            for name, content in (*files.items(), (_MANIFEST, manifest), (SIGNATURE_FILE, signature)):
                write_bytes(draft / name, content, 0o444)
            try:
                draft.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
            sync(bundles)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    sign_again(bundles, release_id, digest_of_bytes(manifest), secrets)
    return release_id


def sign_again(bundles: Path, release_id: str, digest: str, secrets: Path) -> Bundle:
    """Sign a bundle by the installation's key, unless a key that is trusted did already: as when the keys were lost.

    Args:
        bundles: folder of all bundles.
        release_id: its name.
        digest: the whole digest that it is known by, such as the ledger's: who signs vouches for it.
        secrets: folder of the installation's secrets.

    Raises:
        BundleRefused: it is damaged, or has another digest.
        StateRefused: the key cannot be read.
    """
    bundle = read_bundle(bundles, release_id)
    if bundle.digest != digest:
        raise BundleRefused(release_id, f"its digest is {bundle.digest}, it is known by {digest}")
    try:
        verify(secrets, release_id, digest, bundle.signature)
    except BundleRefused:
        # why: in the folder itself a file that is on its way would make the bundle one of other files, for who reads it meanwhile
        draft = bundles / f".draft-{random.token_hex(8)}"
        write_bytes(draft, sign(secrets, digest), 0o444)
        draft.replace(bundle.path / SIGNATURE_FILE)
        sync(bundle.path)
        return read_bundle(bundles, release_id, secrets)
    return bundle


def read_bundle(bundles: Path, release_id: str, secrets: Path | None = None) -> Bundle:
    """Read a bundle, having verified names, kinds, sizes and digests of all its files, and what they say.

    Nothing of it is executed, and nothing outside its folder is opened.

    Args:
        bundles: folder of all bundles.
        release_id: its name.
        secrets: of the installation. Given, the signature must hold by a key that is trusted there, before any other file is opened.

    Raises:
        NeedsOtherCode: it is of a format, or has a scorer of a kind, that this code does not run.
        BundleRefused: the bundle is not there, or is not what its name says; it is not signed.
    """
    if not _RELEASE_ID.fullmatch(release_id):
        raise BundleRefused(release_id, "is not the name of a release: `r-` and 16 hexadecimal digits")
    path = bundles / release_id
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise BundleRefused(release_id, f"no such folder ({error.strerror})") from error
    try:
        content = _read_bytes(folder, _MANIFEST, release_id, most=_SMALL)
        digest = digest_of_bytes(content)
        if _release_id(content) != release_id:
            raise BundleRefused(release_id, f"its manifest has the digest {digest}")
        found = set(os.listdir(folder))
        signature = _read_bytes(folder, SIGNATURE_FILE, release_id, most=_SMALL) if SIGNATURE_FILE in found else b""
        manifest = _decode_manifest(folder, content, release_id)
        if secrets is not None:
            verify(secrets, release_id, digest, signature)
        if found - {SIGNATURE_FILE} != {_MANIFEST, *manifest.files}:
            odd = sorted(found - {SIGNATURE_FILE} ^ {_MANIFEST, *manifest.files})
            raise BundleRefused(release_id, f"its files are not those of the manifest: {odd[:5]}")
        files = {name: _read_bytes(folder, name, release_id, expected) for name, expected in manifest.files.items()}
        return Bundle(release_id, digest, path, _decode(manifest, files, release_id), signature)
    except (
        InvalidInput,
        DefinitionError,
        msgspec.DecodeError,
        RecursionError,
        TypeError,
        ValueError,
        LookupError,
        ArithmeticError,
    ) as error:
        raise BundleRefused(release_id, f"what it says makes no sense: {error}") from error
    except OSError as error:
        raise BundleRefused(release_id, f"it cannot be read ({error.strerror})") from error
    finally:
        os.close(folder)


def _encode(parts: BundleParts) -> dict[str, bytes]:
    expected = SCORER_FILES.get(parts.scorer_kind)
    if expected is None or set(parts.scorer_files) != set(expected):
        raise InvalidInput(
            "scorer_files", f"of kind {parts.scorer_kind!r} are {sorted(parts.scorer_files)}", f"one of {dict(SCORER_FILES)}"
        )
    files = {f"{name}.json": _json(name, getattr(parts, name)) for name in _DOCUMENTS}
    files["scorer.json"] = _json("scorer", {"kind": parts.scorer_kind})
    files["catalogue.json"] = _json("catalogue", msgspec.to_builtins(parts.catalogue.candidates))
    files.update(parts.scorer_files)
    check_golden(parts.golden, parts.catalogue)
    files["golden.parquet"] = write_golden(parts.golden)
    return files


def _decode(manifest: _Manifest, files: Mapping[str, bytes], release_id: str) -> BundleParts:
    kind = msgspec.json.decode(files.get("scorer.json", b"{}"), type=_Scorer).kind
    if kind not in SCORER_FILES:
        what = f"its scorer is of kind {kind[:40]!r}, and this code runs {sorted(SCORER_FILES)}"
        raise _needs_other_code(release_id, what, files.get("code.json", b""))
    expected = {f"{name}.json" for name in _DOCUMENTS} | _ALWAYS | set(SCORER_FILES[kind])
    if set(files) != expected:
        raise InvalidInput("files", f"of a scorer of kind {kind!r} differ by {sorted(set(files) ^ expected)}", "exactly those of its kind")
    scorer_files = {name: files[name] for name in SCORER_FILES[kind]}
    for name, content in scorer_files.items():
        if "\0" in content.decode():
            raise InvalidInput(name, "holds a NUL", "text")
    catalogue = Catalogue(msgspec.json.decode(files["catalogue.json"], type=tuple[Candidate, ...]))
    golden = read_golden(files["golden.parquet"])
    check_golden(golden, catalogue)
    documents = {name: msgspec.json.decode(files[f"{name}.json"]) for name in _DOCUMENTS}
    return BundleParts(manifest.use_case, kind, scorer_files, catalogue=catalogue, golden=golden, engine=manifest.engine, **documents)


def _manifest_bytes(parts: BundleParts, files: Mapping[str, bytes]) -> bytes:
    listed = {name: _File(digest_of_bytes(content), len(content)) for name, content in files.items()}
    manifest = _Manifest(FORMAT, parts.use_case, dict(parts.engine), listed)
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2)


def _decode_manifest(folder: int, content: bytes, release_id: str) -> _Manifest:
    number = msgspec.json.decode(content, type=_Format).format
    if number not in SUPPORTED_FORMATS:
        what = f"its bundle is of format {number}, and this code runs {', '.join(map(str, SUPPORTED_FORMATS))}"
        raise _needs_other_code(release_id, what, _code_of(folder, content, release_id))
    manifest = msgspec.json.decode(content, type=_Manifest)
    for name in manifest.files:
        if not re.fullmatch(r"[a-z]+\.(json|txt|parquet)", name) or name in (_MANIFEST, SIGNATURE_FILE):
            raise BundleRefused(release_id, f"its manifest names a file {name[:80]!r}")
    return manifest


def _code_of(folder: int, manifest: bytes, release_id: str) -> bytes:
    """The document `code` of a bundle of another format, if its manifest names it as all formats so far do; else nothing."""
    try:
        return _read_bytes(folder, "code.json", release_id, msgspec.json.decode(manifest, type=_Listing).files["code.json"], _SMALL)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, BundleRefused):
        return b""


def _needs_other_code(release_id: str, what: str, code: bytes) -> NeedsOtherCode:
    try:
        said = msgspec.json.decode(code)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = None
    found = said if isinstance(said, dict) else {}
    revision, image = (_printable(found.get(name)) for name in ("revision", "image"))
    return NeedsOtherCode(release_id, what, revision, image)


def _printable(text: object) -> str:
    return text[:200] if isinstance(text, str) and text.isprintable() else ""


def _release_id(manifest: bytes) -> str:
    return f"r-{digest_of_bytes(manifest)[:16]}"


def _json(name: str, document: Any) -> bytes:
    try:
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(name, f"cannot be written ({error})", "JSON-like content of finite numbers") from error


def _read_bytes(folder: int, name: str, release_id: str, expected: _File | None = None, most: int = 0) -> bytes:
    most = most or (MAX_MODEL_BYTES if name in _OF_SCORERS else MAX_FILE_BYTES)
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        raise BundleRefused(release_id, f"{name} cannot be opened ({error.strerror})") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise BundleRefused(release_id, f"{name} is no plain file, or larger than {most} bytes")
        if expected is not None and status.st_size != expected.size:
            raise BundleRefused(release_id, f"{name} has {status.st_size} bytes; the manifest says {expected.size}")
        with os.fdopen(file, "rb", closefd=False) as stream:
            content = stream.read(status.st_size + 1)
    finally:
        os.close(file)
    if expected is not None and digest_of_bytes(content) != expected.sha256:
        raise BundleRefused(release_id, f"{name} has another digest than the manifest says")
    return content
