"""The bundle: one release as a folder of text and Parquet, named by the digest of what it says. Never a pickle, never code."""

import io
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from contracts.catalogue import Candidate, Catalogue
from contracts.digests import digest_of_bytes
from contracts.errors import BundleRefused, DefinitionError, InvalidInput
from releases.golden import check_golden

FORMAT = 1
SUPPORTED_FORMATS = (1,)
MAX_FILE_BYTES = 512 * 2**20

SCORER_FILES: Mapping[str, tuple[str, ...]] = {
    "constant": (),
    "table": ("table.json",),
    "linear": ("linear.json",),
    "lightgbm": ("model.txt",),
}
"""The files that each kind of scorer is built from."""

_DOCUMENTS = ("features", "schema", "policy", "settings", "metrics", "gate", "data", "code")
_ALWAYS = {"scorer.json", "catalogue.json", "golden.parquet"}
_MANIFEST = "manifest.json"
# why: Polars panics on some Parquet that is not what it says
_PARQUET_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_RELEASE_ID = re.compile(r"r-[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True)
class BundleParts:
    """All that a release is made of. The documents are JSON-like; the order of their keys is kept.

    Attributes:
        scorer_kind: a key of `SCORER_FILES`; `scorer_files` holds exactly its files.
        features: the feature set, so that it can be rebuilt without the user's code.
        schema: the event schema it was trained under.
        policy: how scores become probabilities.
        settings: of the training.
        metrics: figures of the evaluation. `gate`: the verdict with its reasons.
        data: digests of the tables it was trained on.
        code: git revision and digest of the lock file.
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


@dataclass(frozen=True)
class Bundle:
    """A bundle as read back, every byte of it verified. `digest` is the whole digest, of which `release_id` is the short name."""

    release_id: str
    digest: str
    path: Path
    parts: BundleParts


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    size: int


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    use_case: str
    engine: dict[str, str]
    files: dict[str, _File]


class _Scorer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str


def write_bundle(bundles: Path, parts: BundleParts) -> str:
    """Write a bundle and return its `release_id`. The same parts give the same id, and are written once.

    The folder appears complete and synced, or not at all.

    Raises:
        InvalidInput: a document is not JSON-like or holds NaN; the scorer's files are not those of its kind; golden decisions are wrong.
        BundleRefused: a damaged bundle stands under this id.
    """
    files = _encode(parts)
    manifest = _manifest_bytes(parts, files)
    release_id = _release_id(manifest)
    target = bundles / release_id
    if not target.exists():
        bundles.mkdir(parents=True, exist_ok=True)
        draft = bundles / f".draft-{secrets.token_hex(8)}"
        draft.mkdir()
        try:
            for name, content in (*files.items(), (_MANIFEST, manifest)):
                _write_synced(draft / name, content)
            _sync_folder(draft)
            try:
                draft.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
            _sync_folder(bundles)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    read_bundle(bundles, release_id)
    return release_id


def read_bundle(bundles: Path, release_id: str) -> Bundle:
    """Read a bundle, having verified names, kinds, sizes and digests of all its files, and what they say.

    Nothing of it is executed, and nothing outside its folder is opened.

    Raises:
        BundleRefused: the bundle is not there, is not what its name says, or is of a format that this engine does not support.
    """
    if not _RELEASE_ID.fullmatch(release_id):
        raise BundleRefused(release_id, "is not the name of a release: `r-` and 16 hexadecimal digits")
    path = bundles / release_id
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise BundleRefused(release_id, f"no such folder ({error.strerror})") from error
    try:
        content = _read_bytes(folder, _MANIFEST, release_id, None)
        digest = digest_of_bytes(content)
        if _release_id(content) != release_id:
            raise BundleRefused(release_id, f"its manifest has the digest {digest}")
        manifest = _decode_manifest(content, release_id)
        found = set(os.listdir(folder))
        if found != {_MANIFEST, *manifest.files}:
            raise BundleRefused(release_id, f"its files are not those of the manifest: {sorted(found ^ {_MANIFEST, *manifest.files})}")
        files = {name: _read_bytes(folder, name, release_id, expected) for name, expected in manifest.files.items()}
    finally:
        os.close(folder)
    try:
        return Bundle(release_id, digest, path, _decode(manifest, files))
    except (InvalidInput, DefinitionError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, *_PARQUET_ERRORS) as error:
        raise BundleRefused(release_id, f"what it says makes no sense: {error}") from error


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
    buffer = io.BytesIO()
    parts.golden.write_parquet(buffer, compression="zstd", statistics=False)
    files["golden.parquet"] = buffer.getvalue()
    return files


def _decode(manifest: _Manifest, files: Mapping[str, bytes]) -> BundleParts:
    kind = msgspec.json.decode(files.get("scorer.json", b"{}"), type=_Scorer).kind
    if set(files) != {f"{name}.json" for name in _DOCUMENTS} | _ALWAYS | set(SCORER_FILES.get(kind, ("",))):
        raise InvalidInput("files", f"are {sorted(files)} for a scorer of kind {kind!r}", f"those of one of {sorted(SCORER_FILES)}")
    scorer_files = {name: files[name] for name in SCORER_FILES[kind]}
    for name, content in scorer_files.items():
        if "\0" in content.decode():
            raise InvalidInput(name, "holds a NUL", "text")
    catalogue = Catalogue(msgspec.json.decode(files["catalogue.json"], type=tuple[Candidate, ...]))
    golden = pl.read_parquet(io.BytesIO(files["golden.parquet"]))
    check_golden(golden, catalogue)
    documents = {name: msgspec.json.decode(files[f"{name}.json"]) for name in _DOCUMENTS}
    return BundleParts(manifest.use_case, kind, scorer_files, catalogue=catalogue, golden=golden, engine=manifest.engine, **documents)


def _manifest_bytes(parts: BundleParts, files: Mapping[str, bytes]) -> bytes:
    listed = {name: _File(digest_of_bytes(content), len(content)) for name, content in files.items()}
    manifest = _Manifest(FORMAT, parts.use_case, dict(parts.engine), listed)
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2)


def _decode_manifest(content: bytes, release_id: str) -> _Manifest:
    try:
        manifest = msgspec.json.decode(content, type=_Manifest)
    except msgspec.DecodeError as error:
        raise BundleRefused(release_id, f"its manifest is not readable: {error}") from error
    if manifest.format not in SUPPORTED_FORMATS:
        raise BundleRefused(release_id, f"format {manifest.format}; this engine runs {SUPPORTED_FORMATS}")
    for name in manifest.files:
        if not re.fullmatch(r"[a-z]+\.(json|txt|parquet)", name):
            raise BundleRefused(release_id, f"its manifest names a file {name!r}")
    return manifest


def _release_id(manifest: bytes) -> str:
    return f"r-{digest_of_bytes(manifest)[:16]}"


def _json(name: str, document: Any) -> bytes:
    try:
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(name, f"cannot be written ({error})", "JSON-like content of finite numbers") from error


def _read_bytes(folder: int, name: str, release_id: str, expected: _File | None) -> bytes:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        raise BundleRefused(release_id, f"{name} cannot be opened ({error.strerror})") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            raise BundleRefused(release_id, f"{name} is no plain file, or larger than {MAX_FILE_BYTES} bytes")
        if expected is not None and status.st_size != expected.size:
            raise BundleRefused(release_id, f"{name} has {status.st_size} bytes; the manifest says {expected.size}")
        with os.fdopen(file, "rb", closefd=False) as stream:
            content = stream.read(status.st_size + 1)
    finally:
        os.close(file)
    if expected is not None and digest_of_bytes(content) != expected.sha256:
        raise BundleRefused(release_id, f"{name} has another digest than the manifest says")
    return content


def _write_synced(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(file)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
