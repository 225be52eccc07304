"""What was not taken is listed, counted, and taken in once it fits."""

import doctest
from dataclasses import replace

import msgspec
import pytest

from contracts.clock import DAY_US
from contracts.events import EventType, FieldType
from contracts.settings import Store
from contracts.tables import EVENTS
from serving import quarantine
from serving.intake import read_events, read_outcomes
from serving.messages import EventMessage, OutcomeMessage
from serving.quarantine import Entry, Replayed, counts, entries, general, replay
from serving.service import DecisionService
from storage.drain import drain
from storage.tables import Tables
from tests.serving.conftest import SHOP, Shop
from use_cases.definition import UseCase

WIDER = replace(SHOP, event_types=(*SHOP.event_types, EventType("visit", {"page": FieldType.STR})))


def listed(service: DecisionService, reason: str = "", use_case: UseCase = SHOP) -> list[Entry]:
    return entries(service.journal, Tables(service.layout.tables), use_case.schema, reason)


def drained(service: DecisionService, use_case: UseCase = SHOP) -> Tables:
    tables = Tables(service.layout.tables)
    drain(service.journal, tables, {"shop": use_case.schema})
    return tables


def visit(service: DecisionService, number: int, page: object = "/") -> EventMessage:
    return EventMessage(f"v-{number}", "e-1", "visit", service.clock.now_us(), {"page": page})  # type: ignore[dict-item]


def send(service: DecisionService, *messages: EventMessage) -> int:
    return len(service.accept_events("shop", messages).quarantined)


@pytest.mark.parametrize("when", ["in the journal", "in the table", "in both"])
def test_everything_is_listed_once_wherever_it_is(service: DecisionService, when: str) -> None:
    assert send(service, visit(service, 1)) == 1
    if when == "in both":
        drained(service)
    assert send(service, visit(service, 2)) == 1
    if when == "in the table":
        drained(service)
    found = listed(service)
    assert ['"v-2"' in found[0].payload, '"v-1"' in found[1].payload, len(found)] == [True, True, 2]
    assert {entry.kind for entry in found} == {"event"} and found[0].ingested_time > found[1].ingested_time


def test_the_same_thing_twice_in_a_request_stands_once_with_how_often(service: DecisionService) -> None:
    message = visit(service, 1)
    assert send(service, message, message) == 2
    assert [entry.times for entry in listed(service)] == [2]


def test_reasons_are_searched_and_counted_without_their_values(service: DecisionService) -> None:
    body = b'{"events": [{"event_id": "e-1"}, {"event_id": "e-2"}, 7]}'
    service.accept_events("shop", read_events(body, 10))
    send(service, visit(service, 1), visit(service, 2))
    assert len(listed(service)) == 5 and len(listed(service, "IS 'VISIT'")) == 2
    found = counts(listed(service))
    assert found["count"].sum() == 5 and found["count"].is_sorted(descending=True)
    assert dict(found.select("reason", "count").rows())["`type`: expected one of purchase, profile"] == 2
    assert counts([]).is_empty()


def test_what_fits_by_now_is_taken_in_once_and_known_from_now_on(shop: Shop, service: DecisionService) -> None:
    send(service, visit(service, 1), visit(service, 2, page=7))
    before_us = service.clock.now_us()
    drained(service)
    service.close()
    with DecisionService(shop.settings, {"shop": WIDER}) as wider:
        assert replay(wider, "shop", listed(wider, use_case=WIDER)) == Replayed(accepted=1, unfit=1)
        left = listed(wider, use_case=WIDER)
        assert ['"v-2"' in entry.payload for entry in left] == [True]
        assert replay(wider, "shop", left) == Replayed(unfit=1)
        assert [entry.id for entry in listed(wider, use_case=WIDER)] == [entry.id for entry in left]
        events = drained(wider, WIDER).frame(WIDER.schema, EVENTS)
        assert len(listed(wider, use_case=WIDER)) == 1
    row = events.row(0, named=True)
    assert (events.height, row["event_id"], row["page"]) == (1, "v-1", "/")
    assert row["event_time"] < before_us <= row["ingested_time"]


def test_what_came_first_is_taken_in_first(shop: Shop, service: DecisionService) -> None:
    for number in range(3):
        send(service, visit(service, number))
    service.close()
    with DecisionService(shop.settings, {"shop": WIDER}) as wider:
        assert replay(wider, "shop", listed(wider, use_case=WIDER)) == Replayed(accepted=3)
        events = drained(wider, WIDER).frame(WIDER.schema, EVENTS).sort("seq")
    assert events["event_id"].to_list() == ["v-0", "v-1", "v-2"]


def test_an_outcome_that_came_before_its_decision_is_credited(service: DecisionService) -> None:
    service.accept_outcomes("shop", [OutcomeMessage("o-1", "d-1", 5), OutcomeMessage("o-2", "d-2", 5)])
    service.decide("shop", "e-1", decision_id="d-1")
    assert replay(service, "shop", listed(service)) == Replayed(accepted=1, unfit=1)
    assert ["d-2" in entry.payload for entry in listed(service)] == [True]
    assert drained(service).frame(SHOP.schema, "outcomes")["outcome_id"].to_list() == ["o-1"]


def test_a_replay_that_was_interrupted_before_it_was_noted_changes_nothing_again(shop: Shop, service: DecisionService) -> None:
    message = visit(service, 1)
    send(service, message)
    service.close()
    with DecisionService(shop.settings, {"shop": WIDER}) as wider:
        assert wider.accept_events("shop", [message]).accepted == 1
        assert replay(wider, "shop", listed(wider, use_case=WIDER)) == Replayed(duplicates=1)
        assert listed(wider, use_case=WIDER) == []


def test_what_never_fits_stays_and_does_not_grow(service: DecisionService) -> None:
    bought = EventMessage("p-1", "e-1", "purchase", service.clock.now_us(), {"amount_micros": 1, "product": "hat"})
    service.accept_events("shop", [bought])
    other = EventMessage("p-1", "e-1", "purchase", bought.event_time, {"amount_micros": 2, "product": "hat"})
    assert send(service, other, visit(service, 1)) == 2
    body = (
        b'{"events": [{"event_id": "n-1", "entity_id": "e", "type": "purchase", "event_time": 5, "fields": {"amount_micros": NaN}}]}'
    ).replace(b"NaN", b'"NaN"')
    service.accept_events("shop", read_events(body, 10))
    service.accept_outcomes("shop", read_outcomes(b'{"outcomes": [{"outcome_id": "o", "reward": 1e99}]}', 10))
    found = listed(service)
    assert replay(service, "shop", found) == Replayed(unfit=4)
    assert listed(service) == found and len(found) == 4


def test_an_event_that_is_too_old_stays_until_the_horizon_is_wider(shop: Shop, service: DecisionService) -> None:
    service.close()
    narrow = msgspec.structs.replace(shop.settings, store=Store(map_size_bytes=2**26, idempotency_days=30))
    old_us = service.clock.now_us() - 40 * DAY_US
    old = EventMessage("p-1", "e-1", "purchase", old_us, {"amount_micros": 1, "product": "hat"})
    with DecisionService(narrow, {"shop": SHOP}) as strict:
        assert send(strict, old) == 1
        assert replay(strict, "shop", listed(strict)) == Replayed(unfit=1)
        assert len(drained(strict).frame(SHOP.schema, "quarantine")) == 1
    with DecisionService(shop.settings, {"shop": SHOP}) as lenient:
        assert replay(lenient, "shop", listed(lenient)) == Replayed(accepted=1)


def test_a_damaged_state_holds_nothing_up(service: DecisionService) -> None:
    service.accept_outcomes("shop", [OutcomeMessage("o-1", "d-1", 5)])
    service.decide("shop", "e-1", decision_id="d-1")
    service.journal.write(lambda write: write.put_state("shop", "e-1", b"damaged, whatever it was"))
    assert replay(service, "shop", listed(service)) == Replayed(accepted=1)


def test_nothing_to_replay_is_nothing_done(service: DecisionService) -> None:
    assert replay(service, "shop", []) == Replayed()


@pytest.mark.parametrize(
    "reason, said",
    [
        (
            "`event_time` is 12; expected a time not before the decision's, 1700000000000000",
            "`event_time`: expected a time not before the decision's, …",
        ),
        (
            "attribute source customer: `valid_from` is None; expected a moment",
            "attribute source customer: `valid_from`: expected a moment",
        ),
        ("outcome `o-1` was accepted before with other content. Send", "outcome was accepted before with other content. Send"),
        ("something else", "something else"),
    ],
)
def test_a_reason_is_said_without_the_value_that_broke_it(reason: str, said: str) -> None:
    assert general(reason) == said


def test_its_examples_hold() -> None:
    assert doctest.testmod(quarantine).failed == 0
