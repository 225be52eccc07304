"""Which code this is: the git revision of the checkout, and the digest of the lock of its libraries."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from contracts.digests import digest_of_bytes

_ROOT = Path(__file__).resolve().parents[1]


def code_revision(image: str = "") -> dict[str, str]:
    """`revision`, marked `-dirty` where files were changed, `lock`, and the container `image` that runs, each where it is known."""
    return _here() | ({"image": image} if image else {})


@cache
def _here() -> dict[str, str]:
    lock = _ROOT / "requirements.lock"
    known = {"lock": digest_of_bytes(lock.read_bytes())} if lock.exists() else {}
    return {"revision": _git() or _version()} | known


def _git() -> str:
    if not (_ROOT / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _version() -> str:
    try:
        return f"offerloop {version('offerloop')}"
    except PackageNotFoundError:
        return "unknown"
