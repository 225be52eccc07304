"""The machine's own build of `trees.c`: made once by the C compiler found here, kept in a folder that only its owner writes to."""

import ctypes
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from contracts.errors import NotCompiled

SOURCE = Path(__file__).with_name("trees.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2", "-fPIC", "-shared", "-fvisibility=default", "-ffp-contract=off", "-fno-fast-math")
"""Without contraction, so that a product and a sum round twice, as they are written."""

COMPILING_S = 60.0


@dataclass(frozen=True, slots=True)
class Kernel:
    """The functions of `trees.c`.

    Attributes:
        own_keeps: `offerloop_own_keeps`.
        score: `offerloop_score`, which lets other threads have the interpreter.
        score_quickly: the same, which keeps it: for calls so short that getting it back would take longer.
    """

    own_keeps: Callable[..., Any]
    score: Callable[..., int]
    score_quickly: Callable[..., int]


def find_compiler() -> Path | None:
    """The C compiler of this machine; None where there is none."""
    found = (shutil.which(name) for name in COMPILERS)
    return next((Path(path).resolve() for path in found if path), None)


def load_kernel(folder: Path) -> Kernel:
    """The kernel from a folder, built there first where it is not yet.

    Loading a library is executing it, so the folder and the library must be ours, and nobody else may write there.

    Args:
        folder: made when it is missing.

    Raises:
        NotCompiled: there is no compiler, it fails, or somebody else could have written what lies there.
    """
    compiler = find_compiler()
    if compiler is None:
        raise NotCompiled(f"there is no C compiler here ({', '.join(COMPILERS)})")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_ours(folder, stat.S_ISDIR)
        name = f"trees-{_identity(compiler)}"
        return _open(_whole(folder, name) or _build(compiler, folder, name))
    except OSError as error:
        raise NotCompiled(f"the kernel cannot be kept or loaded in {folder} ({error})") from error


def _check_ours(path: Path, is_kind: Callable[[int], bool]) -> None:
    found = path.lstat()
    if not is_kind(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise NotCompiled(f"{path} is not ours alone to write to; remove it")


def _identity(compiler: Path) -> str:
    """What a build depends on: another source, compiler or machine has another name."""
    found = compiler.stat()
    built_by = f"{compiler} {found.st_size} {found.st_mtime_ns} {FLAGS} {platform.machine()} {platform.libc_ver()}"
    return _digest(SOURCE.read_bytes() + built_by.encode())


def _whole(folder: Path, name: str) -> Path | None:
    """A library of this name whose content is what its name says; what a crash left half written would end the process that loads it."""
    for library in sorted(folder.glob(f"{name}-*.so")):
        _check_ours(library, stat.S_ISREG)
        if library.stem == f"{name}-{_digest(library.read_bytes())}":
            return library
        library.unlink()
    return None


def _build(compiler: Path, folder: Path, name: str) -> Path:
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as work:
        made = Path(work) / "trees.so"
        command = [str(compiler), *FLAGS, "-o", str(made), str(SOURCE), "-lm"]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TMPDIR": work}
        try:
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMPILING_S)
        except subprocess.TimeoutExpired as error:
            raise NotCompiled(f"{compiler} did not end within {COMPILING_S:.0f} s") from error
        if done.returncode:
            raise NotCompiled(f"{compiler} failed: {done.stderr.strip()[-400:]}")
        made.chmod(0o700)
        return made.replace(folder / f"{name}-{_digest(made.read_bytes())}.so")


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _open(library: Path) -> Kernel:
    releasing, keeping = ctypes.CDLL(str(library)), ctypes.PyDLL(str(library))
    pointer = ctypes.c_void_p
    for opened in (releasing, keeping):
        opened.offerloop_score.argtypes = (pointer, pointer, pointer, ctypes.c_int64, pointer)
        opened.offerloop_score.restype = ctypes.c_int
    releasing.offerloop_own_keeps.argtypes = (pointer, pointer, pointer)
    releasing.offerloop_own_keeps.restype = None
    return Kernel(releasing.offerloop_own_keeps, releasing.offerloop_score, keeping.offerloop_score)
