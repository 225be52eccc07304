"""Attribute tables become events: late, corrected, broken, and once each."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from contracts.clock import DAY_US, HOUR_US
from contracts.errors import InvalidInput
from contracts.tables import DECISIONS, QUARANTINE
from features.skew import compare, decision_spine, logged_features
from flows.attributes import ENOUGH, Taken, read, take_in
from flows.features import read_attributes, write_table
from flows.place import Place
from flows.sources import locate
from serving.messages import EventMessage
from serving.quarantine import entries
from serving.service import DecisionService
from storage.drain import drain
from tests.flows.conftest import USE_CASE
from tests.flows.customers import customer, in_sqlite
from training.backfill import recompute
from use_cases.definition import AttributeSource, UseCase, load

SOURCE = load(USE_CASE).attribute_sources[0]


@pytest.fixture
def service(place: Place) -> Iterator[DecisionService]:
    with DecisionService(place.settings) as opened:
        yield opened


def table(place: Place) -> Path:
    return Path(place.settings.attribute_sources["customer"])


def recency(service: DecisionService, entity_id: str) -> float:
    decision = service.decide(USE_CASE, entity_id)
    return dict(zip(load(USE_CASE).feature_set.names, decision.features, strict=True))["recency"]


def drained(service: DecisionService, place: Place) -> None:
    drain(service.journal, place.tables, place.schemas)


def taken(service: DecisionService, place: Place, source: AttributeSource = SOURCE) -> Taken:
    return take_in(service, place.use_cases[USE_CASE], source)


def test_the_same_row_has_the_same_event_id_and_another_content_another(tmp_path: Path) -> None:
    one = in_sqlite(tmp_path / "one.sqlite", customer("a", 10, 2))
    other = in_sqlite(tmp_path / "other.sqlite", customer("a", 10, 3))
    use_case = load(USE_CASE)
    ids = [next(read(use_case, SOURCE, locate(SOURCE, {"customer": str(file)}), 0)).event_id for file in (one, one, other)]
    assert ids[0] == ids[1] != ids[2]


def test_attributes_are_in_the_next_decision_and_taken_in_once(place: Place) -> None:
    use_case = place.use_cases[USE_CASE]
    now_us = place.clock.now_us()
    file = in_sqlite(table(place), customer("a", now_us - 20, 7), customer("b", now_us - 10, 9))
    assert read_attributes.fn(place.settings, use_case) == 2
    assert read_attributes.fn(place.settings, use_case) == 0
    in_sqlite(file, customer("a", now_us - 5, 8))
    assert read_attributes.fn(place.settings, use_case) == 1
    with DecisionService(place.settings) as service:
        assert recency(service, "a") == 8.0
    place.drain()
    assert write_table.fn(place, use_case) == 2
    assert place.layout.latest(USE_CASE).exists()


def test_a_row_whose_transaction_commits_late_is_found_within_the_lag(service: DecisionService, place: Place) -> None:
    now_us = service.clock.now_us()
    narrow = replace(SOURCE, lag_us=60_000_000)
    in_sqlite(table(place), customer("a", now_us - 1_000_000))
    assert taken(service, place, narrow) == Taken(accepted=1)
    in_sqlite(table(place), customer("late", now_us - 50_000_000), customer("too_late", now_us - 70_000_000))
    assert taken(service, place, narrow) == Taken(accepted=1)
    assert taken(service, place, narrow) == Taken()


def test_a_correction_is_known_from_now_on_and_not_before(service: DecisionService, place: Place, tmp_path: Path) -> None:
    now_us = service.clock.now_us()
    in_sqlite(table(place), customer("a", now_us - 40 * DAY_US, 7))
    taken(service, place)
    before = service.decide(USE_CASE, "a", decision_id="before")
    in_sqlite(table(place), customer("a", service.clock.now_us(), 5, valid_from=now_us - 20 * DAY_US))
    assert taken(service, place) == Taken(accepted=1)
    assert recency(service, "a") == 5.0

    drained(service, place)
    use_case: UseCase = place.use_cases[USE_CASE]
    decisions = place.tables.frame(use_case.schema, DECISIONS)
    assert decision_spine(decisions).height == 2 and before.features[0] == 7.0
    again = recompute(decisions, place.tables, use_case, tmp_path / "again", "1GB")
    assert compare(logged_features(decisions, use_case.feature_set), again, use_case.feature_set).differing_rows == 0


def test_a_row_that_is_valid_only_later_waits(service: DecisionService, place: Place) -> None:
    now_us = service.clock.now_us()
    # why: the clock of this installation runs a million times as fast, so that this is a fifth of a second
    soon_us = now_us + 200_000_000_000
    far_us = now_us + 20_000 * DAY_US
    in_sqlite(
        table(place),
        customer("a", now_us - 2, 1, valid_from=now_us - 2),
        customer("a", now_us - 1, 2, valid_from=soon_us),
        customer("b", now_us - 1, 3, valid_from=far_us),
    )
    assert taken(service, place).accepted in (1, 2)
    while service.clock.now_us() <= soon_us:
        time.sleep(0.02)
    taken(service, place)
    assert recency(service, "a") == 2.0
    assert recency(service, "b") == 0.0
    assert taken(service, place) == Taken(later=1)


def test_a_row_from_the_future_does_not_hide_those_before_it(service: DecisionService, place: Place) -> None:
    now_us = service.clock.now_us()
    in_sqlite(table(place), customer("a", now_us + 20_000 * DAY_US, valid_from=now_us - 1))
    assert taken(service, place) == Taken(accepted=1)
    in_sqlite(table(place), customer("b", service.clock.now_us()))
    assert taken(service, place) == Taken(accepted=1)


BROKEN = [
    (customer("a", 1, valid_from=None), "`valid_from` is None"),
    (customer("a", None), "`recorded_at` is None"),
    (customer("a", 1, valid_from="2026-01-01T00:00:00"), "expected RFC 3339 with a zone"),
    (customer("a", 1, valid_from=1.5), "`valid_from` is 1.5"),
    (customer("../a", 1), "`entity_id` is '../a'"),
    (customer(None, 1), "`entity_id` is None"),
    (customer("a", 1, recency="many"), "`fields.recency_months` is 'many'"),
    (customer("a", 1, recency=float("inf")), "`fields.recency_months` is inf"),
    (customer("a", 1, zip_code=None), "`fields.zip_code` is None"),
    (customer("a", 1, newbie=7), "`fields.newbie` is 7"),
    (customer("a", 1, channel=b"\x00"), "`fields.channel` is b"),
]


@pytest.mark.parametrize("row, reason", BROKEN, ids=[reason for _, reason in BROKEN])
def test_a_broken_row_goes_to_quarantine_once_and_holds_up_no_other(
    service: DecisionService, place: Place, row: dict[str, object], reason: str
) -> None:
    now_us = service.clock.now_us()
    moved = {name: now_us - 5 if value == 1 and name in ("valid_from", "recorded_at") else value for name, value in row.items()}
    in_sqlite(table(place), moved, customer("b", now_us - 4))
    assert taken(service, place) == Taken(accepted=1, quarantined=1)
    assert taken(service, place) == Taken()
    drained(service, place)
    (entry,) = place.tables.frame(place.use_cases[USE_CASE].schema, QUARANTINE).to_dicts()
    assert entry["kind"] == "event" and reason in entry["reason"] and json.loads(entry["payload"])


def test_a_source_of_which_nothing_fits_is_named_and_fills_no_quarantine(service: DecisionService, place: Place) -> None:
    in_sqlite(table(place), *(customer(f"e-{number}", 10, valid_from=None) for number in range(ENOUGH)))
    with pytest.raises(InvalidInput, match=r"attribute source customer.*gives no row that fits; the first: .*`valid_from` is None"):
        taken(service, place)
    drained(service, place)
    assert place.tables.frame(place.use_cases[USE_CASE].schema, QUARANTINE).is_empty()


def test_a_column_that_is_wrong_in_every_row_is_named_too(service: DecisionService, place: Place) -> None:
    now_us = service.clock.now_us()
    in_sqlite(table(place), *(customer(f"e-{number}", now_us - number, recency="many") for number in range(ENOUGH)))
    with pytest.raises(InvalidInput, match=r"gives no row that fits; the first: .*`fields.recency_months` is 'many'"):
        taken(service, place)


def test_a_row_in_quarantine_can_be_taken_in_once_its_type_is_declared_so(service: DecisionService, place: Place) -> None:
    use_case = place.use_cases[USE_CASE]
    in_sqlite(table(place), customer("a", service.clock.now_us() - 5, zip_code=None))
    assert taken(service, place) == Taken(quarantined=1)
    (entry,) = entries(service.journal, place.tables, use_case.schema)
    assert msgspec.json.decode(entry.payload, type=EventMessage).fields["zip_code"] is None


def test_the_mark_of_an_older_version_is_gone_on_from(service: DecisionService, place: Place) -> None:
    now_us = service.clock.now_us()
    old = str(now_us - HOUR_US).encode()
    service.journal.write(lambda write: write.put_meta(f"attributes/{USE_CASE}/customer", old))
    in_sqlite(table(place), customer("old", now_us - 3 * HOUR_US), customer("new", now_us - HOUR_US))
    assert taken(service, place) == Taken(accepted=1)


def test_times_that_are_texts_with_a_zone_are_moments(service: DecisionService, place: Place) -> None:
    in_sqlite(table(place), customer("a", "2026-01-01T09:00:00+09:00", 4))
    (found,) = read(place.use_cases[USE_CASE], SOURCE, locate(SOURCE, place.settings.attribute_sources), 0)
    assert isinstance(found.message, EventMessage)
    assert found.recorded_at == found.message.event_time == 1_767_225_600_000_000
    assert taken(service, place) == Taken(accepted=1)
    assert taken(service, place) == Taken()
