"""Which code this is: the git revision of the checkout, and the digest of the lock of its libraries."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from contracts.digests import digest_of_bytes

_ROOT = Path(__file__).resolve().parents[1]


@cache
def code_revision() -> dict[str, str]:
    """`revision`, marked `-dirty` where files were changed, and `lock`, each where it is known."""
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
