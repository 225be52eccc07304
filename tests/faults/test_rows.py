"""Short forms of the rows of reliability, each on an installation of its own: `make target ROW=R1` is the long form."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ("R1", "--seconds 15 --every 7 --rate 100"),
        ("R6", "--entities 12 --map-mib 12"),
        ("R7", "--points 40"),
    ],
)
def test_a_row_of_the_targets_in_short(row: str, options: str, repository: Path) -> None:
    # why: in a process of its own, since R7 forks, and what other tests have started here has threads that a child would wait for
    command = [sys.executable, "-m", "bench.target", row, *shlex.split(options)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["ok"]
