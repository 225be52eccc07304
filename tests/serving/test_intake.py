import dataclasses

import msgspec
import pytest

from contracts.clock import DAY_US
from contracts.errors import Conflict, InvalidInput, NotFound, TooLarge
from contracts.metrics import ACCEPTED, DUPLICATES, QUARANTINED
from contracts.records import FieldValue, Quarantined
from contracts.settings import Store
from contracts.tables import EVENTS, OUTCOMES
from decisions.rewards import Outcomes, RewardSource
from serving.intake import PART, Unfit, read_events, read_outcomes
from serving.messages import EventMessage, OutcomeMessage
from serving.service import DecisionService
from storage.drain import drain
from storage.transaction import FOR_GOOD

from .conftest import SHOP, Shop


def purchase(number: int, amount: int = 5) -> EventMessage:
    return EventMessage(f"e-{number}", "p-1", "purchase", 1_000, {"amount_micros": amount, "product": "gems"})


def quarantine(service: DecisionService) -> list[Quarantined]:
    with service.journal.read() as read:
        return [msgspec.msgpack.decode(record, type=Quarantined) for _, stream, record in read.records() if stream == "quarantine"]


def test_events_are_accepted_once(service: DecisionService) -> None:
    first = service.accept_events("shop", [purchase(1), purchase(2)])
    again = service.accept_events("shop", [purchase(2), purchase(3)])
    assert (first.accepted, first.duplicates, again.accepted, again.duplicates) == (2, 0, 1, 1)
    assert service.metrics.totals(ACCEPTED) == {("shop", "event"): 3}
    assert service.metrics.totals(DUPLICATES) == {("shop", "event"): 1}


@pytest.mark.parametrize(
    "event, reason",
    [
        (EventMessage("e-1", "p-1", "unheard", 1), "one of purchase, profile"),
        (EventMessage("e-1", "p-1", "decision", 1, {"candidate_id": "gems", "arm": "control"}), "one of purchase, profile"),
        (EventMessage("e-1", "p-1", "profile", 1), "`fields.country` is missing"),
        (EventMessage("e-1", "p-1", "profile", 1, {"country": 5}), "fields.country"),
        (EventMessage("e-1", "p-1", "profile", 1, {"country": "DE", "more": 1}), "fields.more"),
        (EventMessage("e-1", "p-1", "profile", "tomorrow", {"country": "DE"}), "event_time"),
    ],
)
def test_an_event_that_breaks_its_schema_goes_to_quarantine(service: DecisionService, event: EventMessage, reason: str) -> None:
    receipt = service.accept_events("shop", [purchase(7), event])
    assert (receipt.accepted, [(refused.index, refused.id) for refused in receipt.quarantined]) == (1, [(1, "e-1")])
    assert reason in receipt.quarantined[0].reason
    kept = quarantine(service)[0]
    assert (kept.kind, kept.reason) == ("event", receipt.quarantined[0].reason)
    assert msgspec.json.decode(kept.payload, type=EventMessage) == event
    assert service.metrics.totals(QUARANTINED) == {("shop", "event"): 1}


def test_an_event_beyond_the_horizon_goes_to_quarantine_and_an_attribute_does_not(shop: Shop) -> None:
    shop.settings = msgspec.structs.replace(shop.settings, store=Store(map_size_bytes=2**26, idempotency_days=30))
    with DecisionService(shop.settings, {"shop": SHOP}) as service:
        now = service.clock.now_us()
        bought: dict[str, FieldValue] = {"amount_micros": 5, "product": "gems"}
        sent = [
            EventMessage("e-1", "p-1", "purchase", now - 31 * DAY_US, bought),
            EventMessage("e-2", "p-1", "purchase", now - 29 * DAY_US, bought),
            EventMessage("e-3", "p-1", "profile", now - 900 * DAY_US, {"country": "DE"}),
        ]
        receipt = service.accept_events("shop", sent)
        assert (receipt.accepted, [(refused.id, refused.reason) for refused in receipt.quarantined]) == (
            2,
            [("e-1", f"`event_time` is {now - 31 * DAY_US}; expected a time within 30 days")],
        )
        assert quarantine(service)[0].reason == receipt.quarantined[0].reason
        with service.journal.read() as read:
            assert [at_us for _, at_us in read.ids()] == [now - 29 * DAY_US, FOR_GOOD]


def test_an_event_of_the_future_is_clamped(service: DecisionService) -> None:
    service.accept_events("shop", [EventMessage("e-1", "p-1", "purchase", 2**53 - 1, {"amount_micros": 5, "product": "gems"})])
    assert service.decide("shop", "p-1").features[0] == 1.0


def test_outcomes_are_credited_once_to_known_decisions(service: DecisionService) -> None:
    decision = service.decide("shop", "p-1")
    sent = OutcomeMessage("o-1", decision.decision_id, 5_000_000)
    receipt = service.accept_outcomes(
        "shop", [sent, sent, OutcomeMessage("o-2", "d-unknown", 1), OutcomeMessage("o-3", decision.decision_id, 1, "x")]
    )
    assert (receipt.accepted, receipt.duplicates) == (1, 1)
    assert [(refused.index, refused.id) for refused in receipt.quarantined] == [(2, "o-2"), (3, "o-3")]
    assert "never answered" in receipt.quarantined[0].reason


def test_outcomes_may_know_the_entity_alone_or_correct_one_another(service: DecisionService) -> None:
    service.decide("shop", "p-1", decision_id="d-1")
    sent = [
        OutcomeMessage("o-1", "d-1", 5),
        OutcomeMessage("o-2", "d-1", 3, corrects="o-1"),
        OutcomeMessage("o-3", None, 7, entity_id="p-2"),
        OutcomeMessage("o-4", None, 7),
        OutcomeMessage("o-5", "d-1", 7, entity_id="p-2"),
        OutcomeMessage("o-6", "d-1", 3, corrects="o-0"),
    ]
    receipt = service.accept_outcomes("shop", sent)
    assert (receipt.accepted, [refused.id for refused in receipt.quarantined]) == (3, ["o-4", "o-5", "o-6"])
    assert [refused.reason.split("`")[1] for refused in receipt.quarantined] == ["decision_id", "entity_id", "corrects"]

    drain(service.journal, service.tables, {"shop": service.use_cases["shop"].schema})

    kept = service.tables.frame(service.use_cases["shop"].schema, OUTCOMES).sort("outcome_id")
    assert kept.select("outcome_id", "decision_id", "entity_id", "reward", "corrects").rows() == [
        ("o-1", "d-1", "p-1", 5, ""),
        ("o-2", "d-1", "p-1", 3, "o-1"),
        ("o-3", "", "p-2", 7, ""),
    ]
    assert service.accept_outcomes("shop", sent[:3]).duplicates == 3


def test_an_event_that_is_an_outcome_too_is_kept_as_both_once(shop: Shop) -> None:
    paid = Outcomes(sources=(RewardSource("purchase", "amount_micros", factor=2),))
    use_case = dataclasses.replace(SHOP, outcomes=paid)
    with DecisionService(shop.settings, {"shop": use_case}) as service:
        service.accept_events("shop", [purchase(1, 5), purchase(1, 5), purchase(2, 9)])
        drain(service.journal, service.tables, {"shop": use_case.schema})
        kept = service.tables.frame(use_case.schema, OUTCOMES).sort("outcome_id")
        happened = service.tables.frame(use_case.schema, EVENTS)["type"].value_counts(sort=True)

    assert kept.select("outcome_id", "decision_id", "entity_id", "reward", "kind").rows() == [
        ("e-1:amount_micros", "", "p-1", 10, "purchase"),
        ("e-2:amount_micros", "", "p-1", 18, "purchase"),
    ]
    assert sorted(happened.rows()) == [("outcome", 2), ("purchase", 2)]


def test_an_event_whose_outcome_cannot_be_kept_is_not_kept_either(shop: Shop) -> None:
    use_case = dataclasses.replace(SHOP, outcomes=Outcomes(sources=(RewardSource("purchase", "amount_micros"),)))
    with DecisionService(shop.settings, {"shop": use_case}) as service:
        service.accept_outcomes("shop", [OutcomeMessage("e-1:amount_micros", None, 1, entity_id="p-1")])
        receipt = service.accept_events("shop", [purchase(1), purchase(2)])
        drain(service.journal, service.tables, {"shop": use_case.schema})
        kept = service.tables.frame(use_case.schema, EVENTS).filter(type="purchase")["event_id"].to_list()

    assert (receipt.accepted, [refused.id for refused in receipt.quarantined], kept) == (1, ["e-1"], ["e-2"])


def test_an_outcome_of_an_entity_beyond_the_horizon_goes_to_quarantine(shop: Shop) -> None:
    shop.settings = msgspec.structs.replace(shop.settings, store=Store(map_size_bytes=2**26, idempotency_days=30))
    with DecisionService(shop.settings, {"shop": SHOP}) as service:
        now = service.clock.now_us()
        sent = [OutcomeMessage(f"o-{days}", None, 1, now - days * DAY_US, entity_id="p-1") for days in (29, 31)]
        refused = service.accept_outcomes("shop", sent).quarantined

    assert [one.id for one in refused] == ["o-31"]


def test_the_same_id_with_other_content_is_a_conflict(service: DecisionService) -> None:
    service.accept_events("shop", [purchase(1)])
    with pytest.raises(Conflict, match="e-1"):
        service.accept_events("shop", [purchase(1, amount=6)])
    mixed = service.accept_events("shop", [purchase(1, amount=6), purchase(2)])
    assert (mixed.accepted, [refused.id for refused in mixed.quarantined]) == (1, ["e-1"])


def test_many_events_come_in_parts_with_their_places_kept(service: DecisionService) -> None:
    count = 2 * PART + 30
    events = [purchase(number) for number in range(count)]
    events[PART + 5] = EventMessage("e-bad", "p-1", "unheard", 1)
    receipt = service.accept_events("shop", events)
    assert (receipt.accepted, [refused.index for refused in receipt.quarantined]) == (count - 1, [PART + 5])


def test_a_damaged_state_does_not_hold_up_events(service: DecisionService) -> None:
    service.journal.write(lambda write: write.put_state("shop", "p-1", b"\xffnot a state"))
    assert service.accept_events("shop", [purchase(1)]).accepted == 1


def test_a_malformed_record_is_read_apart_from_the_others() -> None:
    good = msgspec.json.encode(purchase(1)).decode()
    body = f'{{"events":[{good},{{"event_id":"e-2","more":1}},5,"text",{{"event_id":7}}]}}'.encode()
    first, *others = read_events(body, 10)
    assert first == purchase(1)
    assert [isinstance(other, Unfit) for other in others] == [True] * 4
    assert [other.id for other in others if isinstance(other, Unfit)] == ["e-2", None, None, None]
    outcomes = read_outcomes(b'{"outcomes":[{"outcome_id":"o-1","decision_id":"d-1","reward":1.5}]}', 10)
    assert isinstance(outcomes[0], Unfit)
    assert "reward" in outcomes[0].reason


@pytest.mark.parametrize("body", [b"{}", b'{"events":[]}', b'{"events":5}', b'{"events":[{}],"more":1}', b"nothing", b"[[[[[["])
def test_a_body_that_is_no_list_of_events_is_refused_whole(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_events(body, 10)


def test_more_than_is_taken_at_once_is_refused() -> None:
    with pytest.raises(TooLarge, match="2 events"):
        read_events(b'{"events":[1,2,3]}', 2)


def test_an_unknown_use_case_is_refused(service: DecisionService) -> None:
    with pytest.raises(NotFound, match="nothing"):
        service.accept_events("nothing", [purchase(1)])
    with pytest.raises(NotFound, match="nothing"):
        service.accept_outcomes("nothing", [])
