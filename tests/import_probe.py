"""Imports modules and prints, as JSON, what they did at import beside defining things. `python import_probe.py ROOT MODULE…`.

What an imported library does at its own import is not ours; so is only what happens below one of our frames with no import between.
"""

import importlib
import json
import sys
import threading
from types import FrameType
from typing import Any

WATCHED = (
    "open",
    "os.mkdir",
    "os.putenv",
    "os.remove",
    "os.rename",
    "os.system",
    "socket.bind",
    "socket.connect",
    "sqlite3.connect",
    "subprocess.Popen",
    "urllib.Request",
)


def main(root: str, names: list[str]) -> None:
    seen: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".py") and arguments[1] in ("r", "rb"):
            # why: Prefect's decorators read the source of what they decorate
            return
        if event in WATCHED and (culprit := ours(sys._getframe(1), root)):
            seen.append(f"{culprit}: {event} {str(arguments[0])[:100] if arguments else ''}")

    start = threading.Thread.start

    def watched_start(thread: threading.Thread) -> None:
        # why: Python 3.11 has no audit event of a thread's start
        if culprit := ours(sys._getframe(1), root):
            seen.append(f"{culprit}: thread {thread.name}")
        start(thread)

    threading.Thread.start = watched_start  # type: ignore[method-assign, assignment]
    sys.addaudithook(watch)
    for name in names:
        importlib.import_module(name)
    found = list(seen)
    print(json.dumps(found))


def ours(frame: FrameType | None, root: str) -> str | None:
    """The file of ours that is being executed, unless a library is being imported below it."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return None
        if file.startswith(root) and "/.venv/" not in file and file != __file__:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
