"""Event types: what may be sent, and what is refused by name."""

import re

import pytest

from contracts.errors import DefinitionError, InvalidInput
from contracts.events import COMMON_COLUMNS, EventSchema, EventType, FieldType
from contracts.records import FieldValue
from contracts.tables import EVENTS, columns_of

SCHEMA = EventSchema.build(
    "shop", [EventType("purchase", {"amount_micros": FieldType.INT, "gift": FieldType.BOOL, "product": FieldType.STR})]
)
GOOD: dict[str, FieldValue] = {"amount_micros": 5, "gift": False, "product": "hat"}


def test_a_good_event_passes_and_columns_are_sorted() -> None:
    SCHEMA.check("purchase", GOOD)
    assert list(SCHEMA.columns) == ["amount_micros", "arm", "candidate_id", "gift", "product", "reward"]


@pytest.mark.parametrize(
    "type_name, change, field",
    [
        ("visit", {}, "type"),
        ("decision", {}, "type"),
        ("purchase", {"amount_micros": 1.5}, "fields.amount_micros"),
        ("purchase", {"amount_micros": True}, "fields.amount_micros"),
        ("purchase", {"amount_micros": 2**63}, "fields.amount_micros"),
        ("purchase", {"gift": 1}, "fields.gift"),
        ("purchase", {"product": "x" * 257}, "fields.product"),
        ("purchase", {"product": "a\0b"}, "fields.product"),
        ("purchase", {"colour": "red"}, "fields.colour"),
    ],
)
def test_a_broken_event_names_the_field(type_name: str, change: dict[str, FieldValue], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        SCHEMA.check(type_name, {**GOOD, **change})
    assert caught.value.field == field


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"fields\.product"):
        SCHEMA.check("purchase", {"amount_micros": 5, "gift": False})


def test_two_types_of_a_name_and_two_meanings_of_a_field_are_refused() -> None:
    with pytest.raises(DefinitionError, match="twice"):
        EventSchema.build("shop", [EventType("a", {}), EventType("a", {})])
    with pytest.raises(DefinitionError, match="elsewhere"):
        EventSchema.build("shop", [EventType("a", {"x": FieldType.INT}), EventType("b", {"x": FieldType.STR})])


@pytest.mark.parametrize(
    "types, said",
    [
        ([EventType("Visit", {}), EventType("visit", {})], "`visit` differs from `Visit` by case alone"),
        ([EventType("Decision", {})], "`decision` differs from `Decision` by case alone"),
        ([EventType("visit", {"page": FieldType.STR, "Page": FieldType.STR})], "`Page` differs from `page` by case alone"),
        ([EventType("visit", {"Reward": FieldType.INT})], "`reward` differs from `Reward` by case alone"),
        ([EventType("visit", {"Entity_ID": FieldType.STR})], "`Entity_ID` of event type `visit` is what every event has"),
        ([EventType(" ", {})], "is blank"),
        ([EventType("visit", {"page": FieldType.STR}, optional=("pages",))], "`pages` of event type `visit` is not declared. Did you mean"),
    ],
)
def test_names_that_not_every_engine_can_tell_apart_are_refused(types: list[EventType], said: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(said)):
        EventSchema.build("shop", types)


def test_what_every_event_has_is_what_its_table_has() -> None:
    assert set(columns_of(EVENTS, SCHEMA)) == COMMON_COLUMNS | set(SCHEMA.columns)


def test_an_optional_field_may_be_null_or_left_out_but_not_wrong() -> None:
    schema = EventSchema.build("shop", [EventType("profile", {"country": FieldType.STR, "level": FieldType.INT}, optional=("country",))])
    right: list[dict[str, FieldValue]] = [{"country": None, "level": 1}, {"level": 1}, {"country": "de", "level": 1}]
    wrong: list[dict[str, FieldValue]] = [{"country": 7, "level": 1}, {"country": "de", "level": None}, {"country": "de"}]
    for fields in right:
        schema.check("profile", fields)
    for fields in wrong:
        with pytest.raises(InvalidInput):
            schema.check("profile", fields)


@pytest.mark.parametrize("name", ["entity", "row_id", "moment", "context", "Seen_Seq"])
def test_columns_of_feature_jobs_are_no_fields(name: str) -> None:
    with pytest.raises(DefinitionError, match=f"`{name}` of event type `visit` is what feature jobs name theirs"):
        EventSchema.build("shop", [EventType("visit", {name: FieldType.STR})])
