from pathlib import Path

import pytest

import storage.horizon
from storage.horizon import forget_ids
from storage.journal import Journal
from storage.transaction import FOR_GOOD, Write


def test_ids_beyond_the_horizon_are_forgotten_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.horizon, "STEP", 3)
    journal = Journal(tmp_path / "journal", 2**24)

    def put(write: Write) -> None:
        for number in range(10):
            write.put_id("event", "shop", f"e-{number}", b"digest", at_us=number)
            write.put_id("decision", "shop", f"d-{number}", b"decision", at_us=number)
            write.put_id("event", "another", f"e-{number}", b"digest", at_us=number)
        write.put_id("event", "shop", "for-good", b"digest", at_us=FOR_GOOD)
        write.put_id("event", "shop", "before-1970", b"digest", at_us=-5)

    journal.write(put)
    assert forget_ids(journal, {("event", "shop"): 7, ("decision", "shop"): 2}) == 7 + 1 + 2
    assert forget_ids(journal, {("event", "shop"): 7, ("decision", "shop"): 2}) == 0
    with journal.read() as read:
        kept = [key.decode().split("\0") for key, _ in read.ids()]
        assert read.get_id("event", "shop", "e-6") is None
        assert read.get_id("event", "shop", "e-7") == b"digest"
    assert [name for kind, use_case, name in kept if (kind, use_case) == ("event", "shop")] == ["e-7", "e-8", "e-9", "for-good"]
    assert len([name for kind, use_case, name in kept if (kind, use_case) == ("decision", "shop")]) == 8
    assert len([name for kind, use_case, name in kept if use_case == "another"]) == 10
    journal.close()
