"""Files that are executed, or pointed into: only from a folder that is ours alone to write to, and only whole."""

import os
import stat
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from contracts.errors import NotCompiled


def check_folder(folder: Path) -> None:
    """Make a folder that only its owner can look into, or check that one is there that nobody else can write to.

    Raises:
        NotCompiled: somebody else could, or it is a link.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(folder, stat.S_ISDIR)


def find_whole(folder: Path, name: str, suffix: str) -> Path | None:
    """A file `NAME-DIGEST.SUFFIX` whose content has that digest; others of the name, such as a crash leaves half written, are removed.

    Raises:
        NotCompiled: somebody else could have written one, or it is a link.
    """
    for path in sorted(folder.glob(f"{name}-*{suffix}")):
        _check(path, stat.S_ISREG)
        if path.name == f"{name}-{digest(path.read_bytes())}{suffix}":
            return path
        path.unlink(missing_ok=True)
    return None


def place(made: Path, name: str, suffix: str) -> Path:
    """Give a file that was made in a folder below its own its name there, at once."""
    made.chmod(0o700)
    return made.replace(made.parent.parent / f"{name}-{digest(made.read_bytes())}{suffix}")


def digest(content: bytes) -> str:
    """Of a file's content."""
    return blake2b(content, digest_size=16).hexdigest()


def _check(path: Path, is_kind: Callable[[int], bool]) -> None:
    found = path.lstat()
    if not is_kind(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise NotCompiled(f"{path} is not ours alone to write to; remove it")
