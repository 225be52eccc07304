import uuid
from concurrent.futures import Future
from functools import partial

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.clock import DAY_US
from contracts.errors import Conflict, InvalidInput
from contracts.records import CandidateProbability, Decision, Event, Outcome, Quarantined, ShadowScore, StoredEvent
from contracts.traffic import CHAMPION
from decisions.assignment import Assignment
from decisions.decide import DecisionRequest, ReleaseRuntime, decide
from decisions.record import (
    ApplyEvent,
    SentOutcome,
    answered,
    foresee,
    make_event,
    record_decision,
    record_event,
    record_outcome,
    record_quarantined,
    record_shadow,
    stored_decision,
)
from features.definitions import FeatureRow
from storage.journal import Journal
from storage.transaction import Write

NOW = 1_000 * DAY_US


def decision(runtime: ReleaseRuntime, decision_id: str = "d-1", entity: str = "p-1", draw: float = 0.4, now_us: int = NOW) -> Decision:
    row = FeatureRow(np.array([7.0, 1.0, 2.5]), (), np.array([0, 0, 0]), (), 3)
    request = DecisionRequest(decision_id, "game", entity)
    return decide(request, row, runtime, Assignment(CHAMPION, 0.5, "r-model"), draw=draw, now_us=now_us)


def login(event_id: str = "e-1", entity: str = "p-1", level: int = 3, time: int = NOW) -> Event:
    return make_event(event_id, entity, "login", time, {"level": level}, ingested_time=NOW)


def streams(journal: Journal) -> list[str]:
    with journal.read() as read:
        return [stream for _, stream, _ in read.records()]


def test_a_decision_is_kept_once_and_seen_by_its_entity(journal: Journal, runtime: ReleaseRuntime, count_events: ApplyEvent) -> None:
    first = journal.write(lambda write: record_decision(write, decision(runtime, draw=0.1), count_events))
    again = journal.write(lambda write: record_decision(write, decision(runtime, draw=0.99, now_us=NOW + 5), count_events))
    other = journal.write(lambda write: record_decision(write, decision(runtime, "d-2"), count_events))

    assert first == msgspec.structs.replace(decision(runtime, draw=0.1), seq=1)
    assert again == first
    assert other.seq == 2
    with journal.read() as read:
        assert stored_decision(read, "game", "d-1") == answered(read, DecisionRequest("d-1", "game", "p-1")) == first
        assert stored_decision(read, "game", "d-3") is answered(read, DecisionRequest("d-3", "game", "p-1")) is None
        assert stored_decision(read, "another_game", "d-1") is None
        records = [(stream, msgspec.msgpack.decode(record, type=Decision)) for _, stream, record in read.records()]
    assert records == [("decisions", first), ("decisions", other)]


def test_what_was_foreseen_counts_while_the_state_is_the_same(journal: Journal, runtime: ReleaseRuntime, count_events: ApplyEvent) -> None:
    made = [decision(runtime, f"d-{number}") for number in (1, 2)]
    foreseen = [foresee(each, None, count_events) for each in made]
    assert [each.kept.seq for each in foreseen] == [1, 1]

    def refuse(state: bytes | None, event: Event) -> tuple[bytes, int]:
        raise AssertionError("it was worked out before")

    first = journal.write(lambda write: record_decision(write, made[0], refuse, foreseen[0]))
    second = journal.write(lambda write: record_decision(write, made[1], count_events, foreseen[1]))
    assert (first, second) == (foreseen[0].kept, msgspec.structs.replace(made[1], seq=2))
    with journal.read() as read:
        assert [stored_decision(read, "game", each.decision_id) for each in made] == [first, second]


def test_the_same_decision_id_for_another_question_is_a_conflict(
    journal: Journal, runtime: ReleaseRuntime, count_events: ApplyEvent
) -> None:
    journal.write(lambda write: record_decision(write, decision(runtime), count_events))

    with pytest.raises(Conflict, match="decision `d-1`"):
        journal.write(lambda write: record_decision(write, decision(runtime, entity="p-2"), count_events))
    with journal.read() as read, pytest.raises(Conflict, match="decision `d-1`"):
        answered(read, DecisionRequest("d-1", "game", "p-1", {"screen": "shop"}))
    assert streams(journal) == ["decisions"]


def test_an_event_is_kept_once(journal: Journal, count_events: ApplyEvent) -> None:
    assert journal.write(lambda write: record_event(write, "game", login(), count_events))
    assert not journal.write(lambda write: record_event(write, "game", login(), count_events))
    assert journal.write(lambda write: record_event(write, "another_game", login(), count_events))
    for other in (login(level=4), login(entity="p-2"), login(time=NOW - 1)):
        with pytest.raises(Conflict, match="event `e-1`"):
            journal.write(partial(record_event, use_case="game", event=other, apply_event=count_events))

    with journal.read() as read:
        records = [msgspec.msgpack.decode(record, type=StoredEvent) for _, _, record in read.records()]
        assert read.get_state("game", "p-1") == (1).to_bytes(8, "big")
    assert records == [StoredEvent(name, msgspec.structs.replace(login(), seq=1)) for name in ("game", "another_game")]


def test_an_event_from_the_future_sent_again_later_is_the_same_event(journal: Journal, count_events: ApplyEvent) -> None:
    early = make_event("e-1", "p-1", "login", NOW + 10, {}, ingested_time=NOW)
    late = make_event("e-1", "p-1", "login", NOW + 10, {}, ingested_time=NOW + 20)
    assert (early.event_time, early.original_time) == (NOW, NOW + 10)
    assert (late.event_time, late.original_time) == (NOW + 10, None)

    assert journal.write(lambda write: record_event(write, "game", early, count_events))
    assert not journal.write(lambda write: record_event(write, "game", late, count_events))


def test_an_outcome_is_credited_to_its_decisions_entity_once(journal: Journal, runtime: ReleaseRuntime, count_events: ApplyEvent) -> None:
    sent = SentOutcome("o-1", "d-1", 4_990_000, kind="purchase")
    journal.write(lambda write: record_decision(write, decision(runtime), count_events))

    assert journal.write(lambda write: record_outcome(write, "game", sent, count_events, ingested_time=NOW + 5, simulated=True))
    assert not journal.write(lambda write: record_outcome(write, "game", sent, count_events, ingested_time=NOW + 9))
    with pytest.raises(Conflict, match="outcome `o-1`"):
        journal.write(lambda write: record_outcome(write, "game", SentOutcome("o-1", "d-1", 1), count_events, ingested_time=NOW + 5))

    with journal.read() as read:
        _, _, record = list(read.records())[1]
    expected = Outcome("o-1", "d-1", "p-1", "game", 4_990_000, NOW + 5, NOW + 5, 2, "purchase", True)
    assert msgspec.msgpack.decode(record, type=Outcome) == expected
    assert streams(journal) == ["decisions", "outcomes"]


@pytest.mark.parametrize(
    "sent, reason",
    [
        (SentOutcome("o-1", "d-unknown", 1), "`decision_id` is 'd-unknown', which was never answered"),
        (SentOutcome("o-1", "d-1", 1, event_time=NOW - 1), "`event_time` is .* not before the decision's"),
        (SentOutcome("o" * 600, "d-1", 1), "`id` is 600 characters"),
    ],
)
def test_an_outcome_of_nothing_is_refused(
    journal: Journal, runtime: ReleaseRuntime, count_events: ApplyEvent, sent: SentOutcome, reason: str
) -> None:
    journal.write(lambda write: record_decision(write, decision(runtime), count_events))

    with pytest.raises(InvalidInput, match=reason):
        journal.write(lambda write: record_outcome(write, "game", sent, count_events, ingested_time=NOW + 5))
    assert streams(journal) == ["decisions"]


def test_what_fails_leaves_nothing_and_lets_others_go_on(journal: Journal, runtime: ReleaseRuntime, count_events: ApplyEvent) -> None:
    def refuse(state: bytes | None, event: Event) -> tuple[bytes, int]:
        raise InvalidInput("state", "is corrupt", "a readable one")

    with pytest.raises(InvalidInput):
        journal.write(lambda write: record_event(write, "game", login(), refuse))
    with pytest.raises(InvalidInput):
        journal.write(lambda write: record_decision(write, decision(runtime), refuse))

    def go_on(write: Write) -> bool:
        record_decision(write, decision(runtime), count_events)
        for record in (
            partial(record_event, event=login(), use_case="game", apply_event=refuse),
            partial(record_outcome, sent=SentOutcome("o-1", "d-1", 1), use_case="game", apply_event=refuse, ingested_time=NOW),
        ):
            with pytest.raises(InvalidInput):
                record(write)
        return record_event(write, "game", login("e-2"), count_events)

    assert streams(journal) == []
    assert journal.write(go_on)
    assert streams(journal) == ["decisions", "events"]
    with journal.read() as read:
        assert read.get_id("outcome", "game", "o-1") is None
        assert read.get_id("event", "game", "e-1") is None


def test_shadow_scores_and_quarantine_are_appended(journal: Journal) -> None:
    score = ShadowScore("d-1", "game", "r-2", NOW, (CandidateProbability("none", 1.0, 0.0),))
    entry = Quarantined("game", "event", "`type` is 'x'", "{}", NOW)

    journal.write(lambda write: record_shadow(write, score))
    journal.write(lambda write: record_quarantined(write, entry))

    with journal.read() as read:
        kept = {stream: record for _, stream, record in read.records()}
    assert msgspec.msgpack.decode(kept["shadow"], type=ShadowScore) == score
    assert msgspec.msgpack.decode(kept["quarantine"], type=Quarantined) == entry


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sends=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=30))
def test_whatever_is_sent_however_often_each_id_counts_once(
    journal: Journal, count_events: ApplyEvent, sends: list[tuple[int, int]]
) -> None:
    use_case = uuid.uuid4().hex
    first: dict[int, int] = {}
    futures: list[tuple[int, int, Future[bool]]] = []
    for identifier, level in sends:
        event = login(f"e-{identifier}", level=level)
        futures.append((identifier, level, journal.submit(partial(record_event, use_case=use_case, event=event, apply_event=count_events))))

    for identifier, level, future in futures:
        if first.setdefault(identifier, level) != level:
            with pytest.raises(Conflict):
                future.result()
        else:
            future.result()
    assert sum(future.result() for _, _, future in futures if future.exception() is None) == len(first)
    with journal.read() as read:
        assert int.from_bytes(read.get_state(use_case, "p-1") or b"", "big") == len(first)
