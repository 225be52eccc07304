import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import features.rebuild
from contracts.clock import DAY_US, HOUR_US
from features.rebuild import rebuild, restore
from features.state import head, with_seq
from tests.features.shop import FEATURES, NOON, ONLINE, SCHEMA, Stores, profile, purchase

ENTITIES = [f"p-{number}" for number in range(5)]
HISTORY = [
    make(number, ENTITIES[number % 5], NOON + number * HOUR_US)
    for number in range(60)
    for make in [profile if number % 7 == 0 else purchase]
]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path)
    yield made
    made.journal.close()


def test_states_are_made_from_the_tables_and_caught_up_from_the_journal(stores: Stores) -> None:
    stores.take(HISTORY[:40])
    stores.drain()
    stores.take(HISTORY[40:])
    expected = stores.digests()
    for entity in ENTITIES[:3]:
        stores.spoil(entity)
    report = rebuild(stores.journal, stores.tables, SCHEMA, ONLINE)
    assert (report.entities, report.events) == (5, 40)
    assert stores.digests() == expected
    again = rebuild(stores.journal, stores.tables, SCHEMA, ONLINE)
    assert again == report
    assert stores.digests() == expected


def test_only_the_entities_that_are_named_are_made_anew(stores: Stores) -> None:
    stores.take(HISTORY)
    stores.drain()
    expected = stores.digests()
    for entity in ENTITIES:
        stores.spoil(entity)
    report = rebuild(stores.journal, stores.tables, SCHEMA, ONLINE, ["p-1", "p-unheard"])
    assert (report.entities, report.events) == (1, 12)
    state = stores.journal.get_state("shop", "p-1")
    assert ONLINE.digest(state) == expected["p-1"]
    assert stores.journal.get_state("shop", "p-2") == b"\xffno state"
    assert stores.journal.get_state("shop", "p-unheard") is None


def test_many_events_are_made_from_bucket_by_bucket(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.rebuild, "BUCKET", 20)
    monkeypatch.setattr(features.rebuild, "PART", 2)
    stores.take(HISTORY[:50])
    stores.drain()
    stores.take([*HISTORY[50:], purchase(99, "p-00", NOON), purchase(98, "p-9", NOON)])
    expected = stores.digests()
    for entity in (*ENTITIES, "p-00", "p-9"):
        stores.spoil(entity)
    report = rebuild(stores.journal, stores.tables, SCHEMA, ONLINE)
    assert (report.entities, report.events) == (7, 50)
    assert stores.digests() == expected


def test_what_is_stopped_half_way_is_done_again_from_the_start(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.rebuild, "PART", 2)
    stores.take(HISTORY)
    expected = stores.digests()
    for entity in ENTITIES:
        stores.spoil(entity)
    answers = iter([False, True])
    assert rebuild(stores.journal, stores.tables, SCHEMA, ONLINE, stopped=lambda: next(answers)).entities == 2
    assert stores.journal.get_state("shop", "p-4") == b"\xffno state"
    assert rebuild(stores.journal, stores.tables, SCHEMA, ONLINE).entities == 5
    assert stores.digests() == expected


def test_seq_never_goes_back(stores: Stores) -> None:
    stores.take(HISTORY)
    state = stores.journal.get_state("shop", "p-1")
    assert state is not None
    stores.journal.write(lambda write: write.put_state("shop", "p-1", with_seq(state, 77)))
    rebuild(stores.journal, stores.tables, SCHEMA, ONLINE)
    found = stores.journal.get_state("shop", "p-1")
    assert found is not None
    assert head(found)[2] == 77
    assert ONLINE.read(found, FEATURES, NOON + 3 * DAY_US, {}).values.tolist() == (
        ONLINE.read(state, FEATURES, NOON + 3 * DAY_US, {}).values.tolist()
    )


def test_events_go_on_coming_in_meanwhile(stores: Stores) -> None:
    stores.take(HISTORY[:30])
    stores.drain()
    failed: list[BaseException] = []

    def go_on() -> None:
        try:
            for start in range(30, 60):
                stores.take([HISTORY[start]])
                if start % 10 == 0:
                    stores.drain()
        except BaseException as error:  # noqa: BLE001 - why: it is raised below, in the test's own thread
            failed.append(error)

    thread = threading.Thread(target=go_on)
    thread.start()
    while thread.is_alive():
        rebuild(stores.journal, stores.tables, SCHEMA, ONLINE)
    thread.join()
    assert not failed
    grown = stores.digests()
    rebuild(stores.journal, stores.tables, SCHEMA, ONLINE)
    assert stores.digests() == grown


def test_a_state_is_restored_within_a_transaction(stores: Stores) -> None:
    stores.take(HISTORY[:40])
    stores.drain()
    stores.take(HISTORY[40:50])
    expected = stores.digests()["p-2"]
    stores.spoil("p-2")
    made = stores.journal.write(lambda write: restore(write, stores.tables, SCHEMA, ONLINE, "p-2"))
    assert ONLINE.digest(made) == expected
    assert stores.journal.write(lambda write: restore(write, stores.tables, SCHEMA, ONLINE, "p-unheard")) is None


def test_a_lost_journal_goes_on_behind_what_was_drained(tmp_path: Path) -> None:
    first = Stores(tmp_path / "first")
    first.take(HISTORY)
    first.drain()
    expected = first.digests()
    first.journal.close()
    second = Stores(tmp_path / "second")
    report = rebuild(second.journal, first.tables, SCHEMA, ONLINE)
    assert report.entities == 5
    assert second.digests() == expected
    with second.journal.read() as read:
        assert read.last_position() == 60
    second.journal.close()
