"""What this machine has proven: trees laid out for the kernel, kept so that a replica that starts need not prove them again."""

import io
import tempfile
from pathlib import Path

import numpy as np

from contracts.errors import NotCompiled
from decisions.compiled import Layout
from decisions.own_files import check_folder, find_whole, place

MOST_KEPT = 64

_ABOUT = "about"


def keep(folder: Path, identity: str, layout: Layout) -> None:
    """Keep a layout that was proven; the oldest of many are dropped.

    Args:
        folder: ours alone to write to.
        identity: of all that the proof was about: model, columns, kernel, library.
        layout: see there.

    Raises:
        NotCompiled: it cannot be kept.
    """
    content = io.BytesIO()
    about = np.array([layout.words, layout.trees, layout.link, layout.scale], dtype=np.float64)
    np.savez(content, allow_pickle=False, **{_ABOUT: about}, **layout.arrays)
    try:
        check_folder(folder)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as work:
            made = Path(work) / "proven"
            made.write_bytes(content.getvalue())
            place(made, _name(identity), ".npz")
        kept = sorted(folder.glob("proven-*.npz"), key=lambda path: path.stat().st_mtime_ns)
        for path in kept[:-MOST_KEPT]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise NotCompiled(f"what was proven cannot be kept in {folder} ({error})") from error


def recalled(folder: Path, identity: str) -> Layout | None:
    """The layout that was kept of this identity; None where there is none.

    Raises:
        NotCompiled: somebody else could have written it, or it cannot be read.
    """
    try:
        path = find_whole(folder, _name(identity), ".npz")
        if path is None:
            return None
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except OSError as error:
        raise NotCompiled(f"what was proven cannot be read in {folder} ({error})") from error
    words, trees, link, scale = arrays.pop(_ABOUT).tolist()
    return Layout(arrays, int(words), int(trees), int(link), scale)


def _name(identity: str) -> str:
    return f"proven-{identity}"
