"""The machine's own build of `trees.c`: made once by the C compiler found here, kept in a folder that only its owner writes to."""

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from contracts.errors import NotCompiled
from decisions.own_files import check_folder, digest, find_whole, place

SOURCE = Path(__file__).with_name("trees.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2", "-fPIC", "-shared", "-fvisibility=default", "-ffp-contract=off", "-fno-fast-math")
"""Without contraction, so that a product and a sum round twice, as they are written."""

COMPILING_S = 60.0


@dataclass(frozen=True, slots=True)
class Kernel:
    """The functions of `trees.c`.

    Attributes:
        name: which build it is.
        own_keeps: `offerloop_own_keeps`.
        tree: `offerloop_tree`.
        score: `offerloop_score`, which lets other threads have the interpreter.
        score_quickly: the same, which keeps it: for calls so short that getting it back would take longer.
    """

    name: str
    own_keeps: Callable[..., Any]
    tree: Callable[..., int]
    score: Callable[..., int]
    score_quickly: Callable[..., int]


def find_compiler() -> Path | None:
    """The C compiler of this machine; None where there is none."""
    found = (shutil.which(name) for name in COMPILERS)
    return next((Path(path).resolve() for path in found if path), None)


def load_kernel(folder: Path, *, build: bool = True, within_s: float = COMPILING_S) -> Kernel:
    """The kernel from a folder.

    Loading a library is executing it, so the folder and the library must be ours, and nobody else may write there.

    Args:
        folder: made when it is missing.
        build: whether it is built there where it is not yet.
        within_s: for how long the compiler may take.

    Raises:
        NotCompiled: there is no compiler, it fails, or somebody else could have written what lies there; or it is not to be built.
    """
    compiler = find_compiler()
    if compiler is None:
        raise NotCompiled(f"there is no C compiler here ({', '.join(COMPILERS)})")
    try:
        check_folder(folder)
        name = f"trees-{_identity(compiler)}"
        library = find_whole(folder, name, ".so")
        if library is None and not build:
            raise NotCompiled("the kernel is not built yet")
        return _open(library or _build(compiler, folder, name, within_s))
    except OSError as error:
        raise NotCompiled(f"the kernel cannot be kept or loaded in {folder} ({error})") from error


def is_built(folder: Path) -> bool:
    """Whether the kernel can be loaded from a folder without being built."""
    try:
        load_kernel(folder, build=False)
    except NotCompiled:
        return False
    return True


def _identity(compiler: Path) -> str:
    """What a build depends on: another source, compiler or machine has another name."""
    found = compiler.stat()
    built_by = f"{compiler} {found.st_size} {found.st_mtime_ns} {FLAGS} {platform.machine()} {platform.libc_ver()}"
    return digest(SOURCE.read_bytes() + built_by.encode())


def _build(compiler: Path, folder: Path, name: str, within_s: float) -> Path:
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as work:
        made = Path(work) / "trees.so"
        command = [str(compiler), *FLAGS, "-o", str(made), str(SOURCE), "-lm"]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TMPDIR": work}
        try:
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within_s)
        except subprocess.TimeoutExpired as error:
            raise NotCompiled(f"{compiler} did not end within {within_s:.0f} s") from error
        if done.returncode:
            raise NotCompiled(f"{compiler} failed: {done.stderr.strip()[-400:]}")
        return place(made, name, ".so")


@cache
def _open(library: Path) -> Kernel:
    """Once a process and library: its name says what it holds."""
    releasing, keeping = ctypes.CDLL(str(library)), ctypes.PyDLL(str(library))
    pointer = ctypes.c_void_p
    for opened in (releasing, keeping):
        opened.offerloop_score.argtypes = (pointer, pointer, pointer, ctypes.c_int64, pointer)
        opened.offerloop_score.restype = ctypes.c_int
    releasing.offerloop_own_keeps.argtypes = (pointer, pointer, pointer)
    releasing.offerloop_own_keeps.restype = None
    releasing.offerloop_tree.argtypes = (pointer, ctypes.c_int64, pointer, ctypes.c_int64, pointer)
    releasing.offerloop_tree.restype = ctypes.c_int
    own_keeps, tree = releasing.offerloop_own_keeps, releasing.offerloop_tree
    return Kernel(library.stem, own_keeps, tree, releasing.offerloop_score, keeping.offerloop_score)
