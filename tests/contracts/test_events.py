"""Event types: what may be sent, and what is refused by name."""

import pytest

from contracts.errors import DefinitionError, InvalidInput
from contracts.events import EventSchema, EventType, FieldType
from contracts.records import FieldValue

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
