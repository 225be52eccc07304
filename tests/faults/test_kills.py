"""Writers and drainers killed at any moment: what was acknowledged is there, once, and no half file is ever read."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.drain import drain
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables
from tests.faults.writer import SCHEMA

pytestmark = pytest.mark.faults

ROUNDS = 20
WRITER = Path(__file__).with_name("writer.py")


def write_until_killed(state: Path, names: list[str], environment: dict[str, str], after_s: float) -> set[str]:
    """Let several processes write at once, kill them all; the ids that they acknowledged."""
    command = [sys.executable, str(WRITER), str(state)]
    writers = [subprocess.Popen([*command, name], env=environment, stdout=subprocess.PIPE, text=True) for name in names]
    acknowledged: set[str] = set()
    for writer in writers:
        assert writer.stdout is not None
        acknowledged.add(writer.stdout.readline().strip())
    time.sleep(after_s)
    for writer in writers:
        writer.kill()
    for writer in writers:
        with writer:
            assert writer.stdout is not None
            acknowledged.update(line.strip() for line in writer.stdout if line.endswith("\n"))
    return acknowledged


def test_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path, environment: dict[str, str], repository: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    layout = Layout(tmp_path)
    environment |= {"PYTHONPATH": str(repository)}
    acknowledged: set[str] = set()
    for number in range(ROUNDS):
        acknowledged |= write_until_killed(tmp_path, [f"a{number}", f"b{number}"], environment, chance.uniform(0.0, 0.6))
        Tables(layout.tables).frame(SCHEMA, "events")

    journal = Journal(layout.journal, 2**26)
    drain(journal, Tables(layout.tables), {"shop": SCHEMA})
    journal.close()
    kept = Tables(layout.tables).frame(SCHEMA, "events")["event_id"].to_list()
    assert len(kept) == len(set(kept))
    assert acknowledged - set(kept) == set()
    assert len(acknowledged) > ROUNDS
