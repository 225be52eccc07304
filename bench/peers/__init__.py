"""What others would write, or already wrote, for the same work; run by scripts of their own, each timing itself."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INTERPRETER = HERE.parents[1] / ".peers" / "bin" / "python"
"""The interpreter of libraries that do not go together with ours, made by `tools/setup peers`."""


def python() -> Path | None:
    """The peers' interpreter, where it was made."""
    named = Path(os.environ.get("OFFERLOOP_PEERS_PYTHON", INTERPRETER))
    return named if named.exists() else None


def run(script: str, *arguments: str, interpreter: Path | None = None) -> Mapping[str, Any]:
    """What a script says of itself: the JSON of its last line.

    Args:
        script: its name in this folder.
        arguments: of its command line.
        interpreter: by default ours.
    """
    command = [str(interpreter or sys.executable), str(HERE / f"{script}.py"), *arguments]
    own = {name: value for name, value in os.environ.items() if not name.startswith("OFFERLOOP_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=own | {"PYTHONPATH": str(HERE.parents[1])})
    if done.returncode:
        raise RuntimeError(f"{script} ended with {done.returncode}:\n{done.stderr[-2_000:]}")
    said: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said
