"""Files that are there whole or not at all."""

import os
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

GRACE_S = 3_600
"""How long a file that no manifest names any more is kept, for readers that still have the old manifest."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then put it in place: fsync, rename, fsync of the folder.

    A reader sees the old file or the new one; a crash leaves at most a temporary file that nobody reads.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_bytes(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put bytes in place atomically, readable as `mode` says from the first moment."""

    def write(temporary: Path) -> None:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)

    write_atomically(path, write)


def retire(paths: Iterable[Path]) -> None:
    """Let the time run after which files that count no longer are swept: readers may still go by a manifest that names them."""
    for path in paths:
        with suppress(FileNotFoundError):
            os.utime(path)


def sweep(root: Path, named: Collection[str], suffix: str) -> None:
    """Delete files, also those that a crash left, that a manifest does not name and that were written or retired an hour ago.

    Args:
        root: the folder, which is searched below, too.
        named: the files that count, relative to the folder.
        suffix: of the names of files that may be deleted; what is behind it does not matter.
    """
    old = time.time() - GRACE_S
    for path in root.rglob(f"*{suffix}*"):
        if path.is_file() and str(path.relative_to(root)) not in named and path.stat().st_mtime < old:
            path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file's or folder's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
