"""Where a definition was written, so that what is wrong with it is told with file and line."""

import sys
from pathlib import Path
from types import FrameType

_OURS = __name__.partition(".")[0]
_DECODERS = frozenset({"from_json"})


class Written:
    """Notes where it was built: no part of what the definition means, of its equality, or of its JSON."""

    __slots__ = ()

    def __post_init__(self) -> None:
        self.__dict__["_written_at"] = here()

    @property
    def written_at(self) -> str:
        """File and line of the code that built it, such as `use_cases/shop/features.py:12`; empty when it came from JSON."""
        found: str = self.__dict__.get("_written_at", "")
        return found


def here() -> str:
    """File and line of the innermost caller outside this package; empty while a definition is read from JSON."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _OURS:
        if frame.f_code.co_name in _DECODERS:
            return ""
        frame = frame.f_back
    return "" if frame is None else f"{_path(frame)}:{frame.f_lineno}"


def _path(frame: FrameType) -> str:
    """The file as its module is named, which holds wherever it was imported from."""
    path, module = Path(frame.f_code.co_filename), frame.f_globals.get("__name__", "__main__")
    if module == "__main__":
        return path.name
    return f"{module.replace('.', '/')}{'/__init__' if path.name == '__init__.py' else ''}.py"
