"""The watch over the journal's writer: a stopped process holds nobody up, and the last room is kept for draining."""

import doctest
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import StoreUnavailable, Unconfirmed
from storage import watch
from storage.journal import Journal
from storage.transaction import Read, Write
from storage.watch import reserve
from tests.installation import wait_until

MAP = 2**23
STOPS_WHILE_IT_WRITES = """
import os, signal, sys
from pathlib import Path
from storage.journal import Journal

def stop(write):
    write.append("events", b"of the one who was stopped")
    os.kill(os.getpid(), signal.SIGSTOP)

Journal(Path(sys.argv[1]), 2**23).write(stop)
"""
OPENS = """
import sys
from pathlib import Path
from storage import watch
from storage.journal import Journal

watch.STALLED_S, watch.MOST_STOPPED_S = 0.2, 0.5
Journal(Path(sys.argv[1]), 2**23).close()
"""

IS_KILLED_WHILE_IT_READS = """
import os, signal, sys
from pathlib import Path
from storage.journal import Journal

journal = Journal(Path(sys.argv[1]), 2**23)
with journal.read():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setattr(watch, "LOOK_S", 0.01)
    opened = Journal(tmp_path / "journal.lmdb", MAP)
    yield opened
    opened.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("STALLED_S", 0.3), ("MOST_STOPPED_S", 0.8)):
        monkeypatch.setattr(watch, name, seconds)


@pytest.fixture
def stopped(
    quick: None, journal: Journal, tmp_path: Path, environment: dict[str, str], repository: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that was stopped in the middle of writing."""
    command = [sys.executable, "-c", STOPS_WHILE_IT_WRITES, str(tmp_path / "journal.lmdb")]
    with subprocess.Popen(command, env=environment | {"PYTHONPATH": str(repository)}) as process:
        try:
            status = Path(f"/proc/{process.pid}/stat")
            wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", 60.0)
            yield process
        finally:
            process.kill()


def append(journal: Journal, content: bytes = b"x") -> Callable[[], int]:
    return journal.submit(lambda write: write.append("events", content)).result


def test_who_waits_for_a_stopped_writer_is_refused_and_the_stopped_one_is_killed(
    journal: Journal, stopped: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreUnavailable, match="waited for more than"):
        append(journal)()
    with pytest.raises(StoreUnavailable):
        append(journal)()
    monkeypatch.setattr(watch, "LOST_S", 0.0)
    assert journal.lost() is None
    assert stopped.wait(60.0) == -signal.SIGKILL
    wait_until(lambda: journal.refusal() is None, 60.0)
    append(journal, b"afterwards")()
    with journal.read() as read:
        assert [record for _, _, record in read.records()] == [b"afterwards"]


def test_reading_goes_on_beside_a_stopped_writer(journal: Journal, stopped: subprocess.Popen[bytes]) -> None:
    with journal.read() as read:
        assert read.last_position() == 0
    assert stopped.poll() is None


def test_who_opens_a_journal_beside_a_stopped_writer_gets_it(
    quick: None, stopped: subprocess.Popen[bytes], tmp_path: Path, environment: dict[str, str], repository: Path
) -> None:
    command = [sys.executable, "-c", OPENS]
    done = subprocess.run([*command, str(tmp_path / "journal.lmdb")], env=environment | {"PYTHONPATH": str(repository)}, timeout=120.0)
    assert done.returncode == 0


def test_a_commit_that_takes_too_long_is_said_to_be_unconfirmed(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "UNSYNCED_S", 0.2)

    def slow(write: Write) -> None:
        write.append("events", b"slow")
        wait_until(lambda: journal.refusal() is not None, 60.0)

    with pytest.raises(Unconfirmed, match="may have been kept"):
        journal.submit(slow).result()
    append_when_it_may(journal)
    with journal.read() as read:
        assert [record for _, _, record in read.records()] == [b"slow", b"x"]


def append_when_it_may(journal: Journal) -> None:
    wait_until(lambda: journal.refusal() is None, 60.0)
    append(journal)()


def test_the_last_room_is_kept_for_what_makes_room(journal: Journal) -> None:
    with pytest.raises(StoreUnavailable, match="drain it"):
        while True:
            append(journal, bytes(10_000))()
    with journal.read() as read:
        kept = read.last_position()
    assert (MAP - reserve(MAP)) // 20_000 < kept <= MAP // 10_000
    assert journal.trim(kept) == kept
    append_when_it_may(journal)


def test_who_was_killed_while_it_read_keeps_no_room_from_others(
    journal: Journal, tmp_path: Path, environment: dict[str, str], repository: Path
) -> None:
    command = [sys.executable, "-c", IS_KILLED_WHILE_IT_READS, str(tmp_path / "journal.lmdb")]
    killed = subprocess.run(command, env=environment | {"PYTHONPATH": str(repository)}, timeout=60.0)
    assert killed.returncode == -signal.SIGKILL
    assert journal.refusal(now=True) is None
    for _ in range(3 * MAP // 20_000):
        journal.write(lambda write: write.put_meta("last", bytes(20_000)))


def test_a_stopped_process_that_only_has_the_number_of_who_wrote_is_not_killed(
    quick: None, journal: Journal, tmp_path: Path, environment: dict[str, str], repository: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"]) as other:
        try:
            wait_until(lambda: watch._stopped(other.pid), 60.0)
            earlier = watch._NOTE.unpack(watch._identity(other.pid))
            note = watch._NOTE.pack(other.pid, earlier[1] - 1, earlier[2])
            journal._watch._note[: len(note)] = note
            journal._watch._end_stopped_writer()
            assert watch._stopped(other.pid)
            journal._watch._note[: len(note)] = watch._identity(other.pid)
            journal._watch._end_stopped_writer()
            assert other.wait(60.0) == -signal.SIGKILL
        finally:
            other.kill()


def test_what_hangs_while_it_is_prepared_is_given_up_and_not_written(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "STALLED_S", 0.1)
    hold = threading.Event()

    def prepare(read: Read | None) -> Callable[[Write], int]:
        hold.wait(60.0)
        return lambda write: write.append("events", b"given up")

    try:
        with pytest.raises(StoreUnavailable, match="waited for more than"):
            journal.submit_prepared(prepare).result(30.0)
        assert journal.lost() is None
        monkeypatch.setattr(watch, "LOST_S", 0.2)
        wait_until(lambda: journal.lost() is not None, 60.0)
    finally:
        hold.set()
    append_when_it_may(journal)
    assert journal.lost() is None
    with journal.read() as read:
        assert [record for _, _, record in read.records()] == [b"x"]


def test_who_writes_outlives_a_group_that_is_given_up_at_the_moment_it_is_told(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = journal._watch.ends

    def given_up_meanwhile() -> None:
        ends()
        watch.fail([late], Unconfirmed("the journal", 9.0))

    hold = threading.Event()
    late = journal.submit(lambda write: hold.wait(60.0))
    with monkeypatch.context() as patch:
        patch.setattr(journal._watch, "ends", given_up_meanwhile)
        hold.set()
        with pytest.raises(Unconfirmed):
            late.result(30.0)
        assert append(journal)() == 1


def test_who_writes_outlives_any_surprise(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_together", lambda _: 1 / 0)
        with pytest.raises(StoreUnavailable, match="ZeroDivisionError"):
            append(journal)()
    assert append(journal)() == 1


def test_a_journal_whose_writer_has_ended_says_so(journal: Journal) -> None:
    journal._waiting.put(None)
    journal._thread.join()
    wait_until(lambda: journal.refusal() is not None, 60.0)
    with pytest.raises(StoreUnavailable, match="its writer has ended"):
        append(journal)()
    assert journal.lost() == "its writer has ended"


def test_who_takes_what_waits_waits_for_nobody(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_by_another: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_waiting", SaysItIsNotEmpty(taken_by_another))
        assert journal._take_waiting() == []


class SaysItIsNotEmpty:
    """A queue out of which another thread takes just after this one has asked whether it is empty."""

    def __init__(self, within: "queue.SimpleQueue[Any]") -> None:
        self.get_nowait = within.get_nowait

    def empty(self) -> bool:
        return False

    def get(self) -> None:
        raise AssertionError("it waits")


def test_a_disk_that_is_nearly_full_refuses_too(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = type("Room", (), {"f_bavail": 1, "f_frsize": 2**20, "f_blocks": 10**6})
    monkeypatch.setattr(watch, "LOOK_S", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr("storage.watch.os.statvfs", lambda _: room)
        wait_until(lambda: journal.refusal() is not None, 60.0)
        with pytest.raises(StoreUnavailable, match="the disk has 1 MiB left"):
            append(journal)()
    append_when_it_may(journal)


def test_examples_run() -> None:
    assert doctest.testmod(watch).failed == 0
