"""A writer of feature states killed at any moment, then everything sent again: the same states as had nothing happened.

`FAULT_KILLS=240 make test-faults ARGS="-k feature"` is the long form.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.clock import DAY_US, MINUTE_US
from contracts.records import Event
from features.rebuild import event_of, rebuild
from storage.drain import drain
from storage.journal import Journal
from storage.layout import Layout
from storage.tables import Tables
from tests.faults.feature_writer import ENTITIES, FEATURES, ONLINE, SCHEMA, send, stream

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("FAULT_KILLS", "40"))
WRITER = Path(__file__).with_name("feature_writer.py")


def contents(journal: Journal, moment: int) -> dict[str, tuple[str, list[list[int]], list[str]]]:
    """Of each entity the digest of its state, and its features at some moments."""
    with journal.read() as read:
        states = read.states("shop")
    found = {}
    for name, state in states:
        rows = [ONLINE.read(state, FEATURES, moment + later, {}) for later in (0, 1, 7 * MINUTE_US, DAY_US)]
        found[name] = (
            ONLINE.digest(state),
            [row.ages_us.tolist() for row in rows],
            [row.values.tobytes().hex() for row in rows],
        )
    return found


def undisturbed(folder: Path, events: list[Event]) -> dict[str, tuple[str, list[list[int]], list[str]]]:
    """What a run that nobody kills comes to."""
    journal = Journal(folder, 2**28)
    send(journal, events, 0)
    found = contents(journal, events[-1].ingested_time)
    journal.close()
    return found


def test_a_killed_writer_of_features_comes_to_the_same_states(tmp_path: Path, environment: dict[str, str], repository: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    count = 100 * KILLS
    command = [sys.executable, str(WRITER), str(tmp_path / "state"), str(seed), str(count), str(KILLS)]
    done = subprocess.run(command, env=environment | {"PYTHONPATH": str(repository)}, stdout=subprocess.PIPE, text=True, check=True)
    killed, ended = done.stdout.split()
    print(f"killed {killed} times")
    assert ended == "0"
    assert int(killed) >= KILLS * 3 // 4
    events = stream(seed, count)
    expected = undisturbed(tmp_path / "whole", events)
    journal = Journal(Layout(tmp_path / "state").journal, 2**28)
    assert len(expected) == ENTITIES
    assert contents(journal, events[-1].ingested_time) == expected
    with journal.read() as read:
        kept = [event for _, stream_, record in read.records() if (event := event_of(stream_, record, "shop")) is not None]
    assert [event.event_id for event in kept] == list(dict.fromkeys(event.event_id for event in events))
    journal.close()


def test_states_made_anew_by_killed_processes_are_the_same(tmp_path: Path, environment: dict[str, str], repository: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    command = [sys.executable, str(WRITER), str(tmp_path / "state"), str(seed), "1500"]
    for _ in range(max(3, KILLS // 10)):
        with subprocess.Popen(command, env=environment | {"PYTHONPATH": str(repository)}, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "started\n"
            try:
                writer.wait(chance.uniform(0.0, 1.2))
            except subprocess.TimeoutExpired:
                writer.kill()
    events = stream(seed, 1_500)
    expected = undisturbed(tmp_path / "whole", events)
    layout = Layout(tmp_path / "state")
    journal, tables = Journal(layout.journal, 2**28), Tables(layout.tables)
    send(journal, events, 0)
    assert contents(journal, events[-1].ingested_time) == expected
    drain(journal, tables, {"shop": SCHEMA})
    report = rebuild(journal, tables, SCHEMA, ONLINE)
    assert report.entities == ENTITIES
    assert contents(journal, events[-1].ingested_time) == expected
    journal.close()
