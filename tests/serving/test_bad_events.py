"""Bad input, as clients send it: each piece is named with its field, and nothing of it is dropped silently."""

import json
from datetime import UTC, datetime

import pytest

from contracts.clock import DAY_US, to_datetime
from contracts.errors import InvalidInput
from contracts.tables import EVENTS, QUARANTINE
from serving.intake import read_events
from serving.messages import Receipt
from serving.service import DecisionService
from storage.drain import drain
from storage.tables import Tables
from tests.serving.conftest import SHOP

PURCHASE = {
    "event_id": "p-1",
    "entity_id": "e-1",
    "type": "purchase",
    "event_time": "2026-01-31T12:00:00Z",
    "fields": {"amount_micros": 5_000_000, "product": "hat"},
}


def send(service: DecisionService, *bodies: str) -> Receipt:
    return service.accept_events("shop", read_events(f'{{"events": [{", ".join(bodies)}]}}'.encode(), 100))


def changed(**changes: object) -> str:
    return json.dumps(PURCHASE | changes)


def with_fields(**changes: object) -> str:
    return changed(fields=PURCHASE["fields"] | changes)  # type: ignore[operator]


BAD = {
    "an unknown column": (with_fields(colour="red"), "`fields.colour` is not declared"),
    "an unknown key": (changed(colour="red"), "unknown field `colour`"),
    "a missing column": (changed(fields={"product": "hat"}), "`fields.amount_micros` is missing"),
    "a text for a number": (with_fields(amount_micros="5"), "`fields.amount_micros` is '5'"),
    "a fraction of a micro-unit": (with_fields(amount_micros=0.5), "`fields.amount_micros` is 0.5"),
    "a number for a text": (with_fields(product=7), "`fields.product` is 7"),
    "a null": (with_fields(product=None), "`fields.product` is None"),
    "more than 64 bits": (with_fields(amount_micros=2**70), "`fields[...]` is not as declared: Expected `int` <="),
    "an infinite amount": (
        with_fields(amount_micros=5).replace(": 5,", ": 1e999,"),
        "`fields[...]` is not as declared: Number out of range",
    ),
    "a moment without a zone": (changed(event_time="2026-01-31T12:00:00"), "expected RFC 3339 with a zone"),
    "a day that is none": (changed(event_time="2026-02-30T12:00:00Z"), "expected RFC 3339 with a zone"),
    "a time before 1970": (changed(event_time=-5), "`event_time` is -5"),
    "a fraction of a microsecond": (changed(event_time=1.5), "event_time"),
    "an unknown type": (changed(type="purchases"), "`type` is 'purchases'"),
    "a type of our own": (changed(type="decision", fields={"candidate_id": "gems", "arm": "x"}), "`type` is 'decision'"),
    "an id with a slash": (changed(event_id="../p-1"), "event_id"),
    "an entity without an id": (changed(entity_id=""), "entity_id"),
    "no object": ("7", "Expected `object`"),
}


@pytest.mark.parametrize("body, reason", BAD.values(), ids=BAD)
def test_a_bad_event_is_named_and_kept_and_holds_up_no_other(service: DecisionService, body: str, reason: str) -> None:
    receipt = send(service, body, changed(event_id="good"))
    assert (receipt.accepted, len(receipt.quarantined), receipt.quarantined[0].index) == (1, 1, 0)
    assert reason in receipt.quarantined[0].reason
    tables = Tables(service.layout.tables)
    drain(service.journal, tables, {"shop": SHOP.schema})
    (kept,) = tables.frame(SHOP.schema, QUARANTINE).to_dicts()
    assert kept["reason"] == receipt.quarantined[0].reason
    assert tables.frame(SHOP.schema, EVENTS)["event_id"].to_list() == ["good"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_is_refused_as_a_whole_and_said_so(number: str) -> None:
    with pytest.raises(InvalidInput, match=r"`body` is not readable.*JSON"):
        read_events(f'{{"events": [{with_fields(amount_micros=5).replace(": 5,", f": {number},")}]}}'.encode(), 100)


def test_an_event_of_the_future_is_clamped_and_says_what_was_sent(service: DecisionService) -> None:
    sent_us = service.clock.now_us() + DAY_US
    assert send(service, changed(event_time=sent_us)).accepted == 1
    assert send(service, changed(event_id="p-2", event_time=to_datetime(sent_us).isoformat())).accepted == 1
    tables = Tables(service.layout.tables)
    drain(service.journal, tables, {"shop": SHOP.schema})
    for row in tables.frame(SHOP.schema, EVENTS).iter_rows(named=True):
        assert row["event_time"] == row["ingested_time"] < row["original_time"] == sent_us


def test_an_id_that_comes_again_with_other_content_is_kept_apart(service: DecisionService) -> None:
    other = with_fields(amount_micros=6)
    receipt = send(service, changed(), changed(), other)
    assert (receipt.accepted, receipt.duplicates, len(receipt.quarantined)) == (1, 1, 1)
    assert "accepted before with other content" in receipt.quarantined[0].reason


def test_a_moment_with_another_zone_is_the_same_moment(service: DecisionService) -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert send(service, changed()).accepted == 1
    assert send(service, changed(event_time="2026-01-31T21:00:00+09:00")).duplicates == 1
    assert send(service, changed(event_time=int(noon.timestamp()) * 1_000_000)).duplicates == 1
