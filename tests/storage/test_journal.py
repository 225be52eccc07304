"""The journal: durable groups, works that undo alone, several processes, a full map."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from contracts.errors import InvalidInput, StateRefused, StoreUnavailable
from storage.journal import Journal
from storage.transaction import Read, Write


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal", 2**26)
    yield opened
    opened.close()


def test_a_record_its_id_and_its_state_are_one(journal: Journal) -> None:
    def accept(write: Write) -> int:
        write.put_id("event", "shop", "e1", b"digest")
        write.put_state("shop", "anna", b"state")
        return write.append("events", b"record")

    assert journal.write(accept) == 1
    with journal.read() as read:
        assert read.get_id("event", "shop", "e1") == b"digest"
        assert read.get_state("shop", "anna") == b"state"
        assert list(read.records()) == [(1, "events", b"record")]


def test_states_are_read_together_and_in_the_order_of_their_entities(journal: Journal) -> None:
    def put(write: Write) -> None:
        for use_case, names in (("shop", "cab"), ("shop2", "d"), ("sho", "e")):
            for name in names:
                write.put_state(use_case, name, name.encode())

    journal.write(put)
    with journal.read() as read:
        assert read.get_states("shop", ["b", "d", "a"]) == [b"b", None, b"a"]
        assert read.states("shop") == [("a", b"a"), ("b", b"b"), ("c", b"c")]
        assert read.states("shop", limit=2) == [("a", b"a"), ("b", b"b")]
        assert read.states("shop", after="b") == [("c", b"c")]
        assert read.states("shop", after="bb", limit=9) == [("c", b"c")]
        assert read.states("shop", after="c") == read.states("none") == []
    assert (journal.get_state("shop", "c"), journal.get_state("shop", "d")) == (b"c", None)
    with pytest.raises(InvalidInput, match="entity_id"):
        journal.get_state("shop", "x" * 600)


def keep(journal: Journal, state: bytes) -> None:
    journal.write(lambda write: write.put_state("shop", "a", state))


def test_of_a_long_state_the_head_can_be_read_alone(journal: Journal) -> None:
    def state(rest: int) -> bytes:
        return b"CCCCffcc" + (20).to_bytes(4, "little") + b"h" * 8 + b"e" * rest

    for rest in (5_000, 30, 5_000, 3_000):
        keep(journal, state(rest))
        with journal.read() as read:
            assert read.get_state("shop", "a") == state(rest)
            assert read.states("shop") == [("a", state(rest))]
            assert read.get_heads("shop", ["a"]) == [journal.get_head("shop", "a")] == [state(rest if rest < 4_000 else 0)]
            assert read._transaction.stat(read._tables["tails"])["entries"] == (rest > 4_000)


def test_positions_can_go_on_behind_those_of_another_journal(journal: Journal) -> None:
    journal.write(lambda write: write.continue_behind(7))
    assert journal.write(lambda write: write.append("events", b"x")) == 8
    journal.write(lambda write: write.continue_behind(3))
    assert journal.write(lambda write: [write.append("events", b"y"), write.last_position()]) == [9, 9]


def test_what_fails_undoes_itself_alone(journal: Journal) -> None:
    def fail(write: Write) -> None:
        write.put_id("event", "shop", "bad", b"")
        write.append("events", b"bad")
        raise ValueError("no")

    failed = journal.submit(fail)
    passed = [journal.submit(lambda write: write.append("events", b"good")) for _ in range(3)]

    with pytest.raises(ValueError, match="no"):
        failed.result()
    assert [future.result() for future in passed] == [1, 2, 3]
    with journal.read() as read:
        assert read.get_id("event", "shop", "bad") is None


def test_works_of_one_group_see_each_other(journal: Journal) -> None:
    def once(write: Write) -> bool:
        if write.get_id("event", "shop", "same") is not None:
            return False
        write.put_id("event", "shop", "same", b"")
        return True

    assert sorted(future.result() for future in [journal.submit(once) for _ in range(50)]) == [False] * 49 + [True]


def test_positions_go_on_behind_a_trim(journal: Journal) -> None:
    for _ in range(3):
        journal.write(lambda write: write.append("events", b"x"))

    assert journal.trim(3) == 3
    assert journal.write(lambda write: write.append("events", b"y")) == 4
    with journal.read() as read:
        assert list(read.records(after=3)) == [(4, "events", b"y")]


def test_a_full_map_refuses_and_recovers_without_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "small", 2**20)
    accepted = 0
    with pytest.raises(StoreUnavailable, match="try again"):
        for _ in range(1_000):
            accepted = journal.write(lambda write: write.append("events", bytes(5_000)))

    with journal.read() as read:
        assert read.last_position() == accepted
    journal.trim(accepted)

    assert journal.write(lambda write: write.append("events", bytes(5_000))) == accepted + 1
    journal.close()


def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", 2**24)
    journal.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        journal.write(lambda write: None)


def test_a_second_opening_leaves_the_locks_that_tell_others_that_this_process_lives(journal: Journal) -> None:
    inode = f":{(journal._path / 'lock.mdb').stat().st_ino}"

    def locks() -> int:
        return sum(line.split()[5].endswith(inode) for line in Path("/proc/locks").read_text().splitlines())

    journal.get_state("shop", "anna")
    before = locks()
    with pytest.raises(StoreUnavailable, match="open in this process"):
        Journal(journal._path, 2**26)
    assert locks() == before > 0


def test_an_environment_whose_watch_cannot_begin_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("storage.journal.JournalWatch", fail)
        with pytest.raises(StoreUnavailable, match="No space left"):
            Journal(tmp_path / "journal", 2**24)
    Journal(tmp_path / "journal", 2**24).close()


def test_what_comes_while_it_is_closed_is_answered(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", 2**24)
    hold = threading.Event()
    journal.submit(lambda write: hold.wait(60.0))
    closing = threading.Thread(target=journal.close)
    closing.start()
    while not journal._closed:
        time.sleep(0.001)
    late = journal.submit(lambda write: 1)
    hold.set()
    closing.join()
    with pytest.raises(StoreUnavailable, match="closed"):
        late.result(10.0)


def test_another_format_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", 2**24)
    journal.write(lambda write: write.put_meta("format", b"99"))
    journal.close()
    with pytest.raises(StateRefused, match="format"):
        Journal(tmp_path / "journal", 2**24)


def test_an_id_too_long_is_named(journal: Journal) -> None:
    with pytest.raises(InvalidInput, match="characters"):
        journal.write(lambda write: write.put_id("event", "shop", "x" * 600, b""))


WRITER = """
import sys
from pathlib import Path
from storage.journal import Journal
journal = Journal(Path(sys.argv[1]), 2**26)
number = 0
while True:
    number += 1
    def accept(write, number=number):
        write.put_id("event", sys.argv[2], str(number), b"")
        return write.append("events", f"{sys.argv[2]} {number}".encode())
    journal.write(accept)
    print(number, flush=True)
"""


def test_what_two_killed_processes_acknowledged_is_there(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "journal"), name], stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    acknowledged: dict[str, int] = {}
    try:
        for name, writer in zip(("one", "two"), writers, strict=True):
            assert writer.stdout is not None
            for _ in range(40):
                acknowledged[name] = int(writer.stdout.readline())
    finally:
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
    for name, writer in zip(("one", "two"), writers, strict=True):
        rest = writer.communicate()[0].split()
        acknowledged[name] = max([acknowledged[name], *map(int, rest)])

    journal = Journal(tmp_path / "journal", 2**26)
    with journal.read() as read:
        records = [record.decode().split() for _, _, record in read.records()]
    for name, last in acknowledged.items():
        numbers = [int(number) for writer, number in records if writer == name]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= last
    journal.close()


def test_a_work_that_fails_after_it_wrote_undoes_itself_alone(journal: Journal) -> None:
    def good(write: Write, name: str) -> int:
        write.put_id("event", "shop", name, b"1")
        return write.append("events", name.encode())

    def bad(write: Write) -> int:
        good(write, "b")
        raise InvalidInput("field", "is wrong", "right")

    hold = threading.Event()
    first = journal.submit(lambda write: hold.wait(10.0))
    group = [journal.submit(partial(good, name="a")), journal.submit(bad), journal.submit(partial(good, name="c"))]
    hold.set()
    assert first.result() is True
    assert (group[0].result(), group[2].result()) == (1, 2)
    with pytest.raises(InvalidInput):
        group[1].result()
    with journal.read() as read:
        assert [record for _, _, record in read.records()] == [b"a", b"c"]
        assert read.get_id("event", "shop", "b") is None


def test_prepared_works_of_a_group_share_a_snapshot(journal: Journal) -> None:
    journal.write(lambda write: write.put_id("event", "shop", "a", b"before"))
    hold = threading.Event()
    first = journal.submit(lambda write: hold.wait(10.0))

    def prepare(read: Read | None) -> Callable[[Write], tuple[bytes | None, bytes | None]]:
        assert read is not None
        seen = read.get_id("event", "shop", "a")
        return lambda write: (seen, write.get_id("event", "shop", "a"))

    def refuse(read: Read | None) -> Callable[[Write], None]:
        raise InvalidInput("field", "is wrong", "right")

    changed = journal.submit(lambda write: write.put_id("event", "shop", "a", b"after"))
    asked, refused = journal.submit_prepared(prepare), journal.submit_prepared(refuse)
    hold.set()
    assert first.result() and changed.result() is None
    assert asked.result() == (b"before", b"after")
    with pytest.raises(InvalidInput):
        refused.result()
