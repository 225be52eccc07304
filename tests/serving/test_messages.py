from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.clock import to_datetime
from contracts.errors import InvalidInput
from serving.messages import DecisionRequest, check_context, is_id, read, time_us

DECISION = msgspec.json.Decoder(DecisionRequest)


@pytest.mark.parametrize(
    "body, field",
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff", "body"),
        (b"[1]", "body"),
        (b"[" * 5_000, "body"),
        (b'{"entity_id":"a","more":1}', "body"),
        (b'{"entity_id":"a b"}', "entity_id"),
        (b'{"entity_id":"a\\n"}', "entity_id"),
        (b'{"entity_id":""}', "entity_id"),
        (b'{"entity_id":5}', "entity_id"),
        (b'{"entity_id":"a","decision_id":"../x"}', "decision_id"),
        (b'{"entity_id":"a","context":{"x":1e999}}', "context[...]"),
        (b'{"entity_id":"a","context":{"x":NaN}}', "body"),
        (b'{"entity_id":"a","context":{"x":99999999999999999999}}', "context[...]"),
        (b'{"entity_id":"\\ud800"}', "body"),
    ],
)
def test_a_request_that_is_not_as_declared_names_the_field(body: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(DECISION, body)
    assert caught.value.field == field


def test_a_request_needs_only_the_entity() -> None:
    assert read(DECISION, b'{"entity_id":"p-1"}') == DecisionRequest("p-1", None, {})


@pytest.mark.parametrize(
    "text, fits",
    [("p-1", True), ("a" * 128, True), ("a" * 129, False), ("", False), ("a/b", False), ("a\n", False), ("ä", False), ("..", True)],
)
def test_ids_are_plain(text: str, fits: bool) -> None:
    assert is_id(text) is fits


@pytest.mark.parametrize("value, expected", [("1970-01-01T00:00:01Z", 1_000_000), ("1970-01-01T01:00:00.000001+01:00", 1), (7, 7), (0, 0)])
def test_a_moment_is_rfc_3339_or_microseconds(value: str | int, expected: int) -> None:
    assert time_us(value) == expected


@pytest.mark.parametrize("value", ["2026-01-01T00:00:00", "yesterday", "", "1969-12-31T23:59:59Z", -1, 2**53, "9" * 5_000])
def test_another_moment_is_refused(value: str | int) -> None:
    with pytest.raises(InvalidInput, match="event_time"):
        time_us(value)


@given(st.integers(0, 2**53 - 1))
def test_a_moment_reads_the_same_as_text_and_as_number(moment: int) -> None:
    assert time_us(to_datetime(moment % 10**16).isoformat()) == moment % 10**16


@pytest.mark.parametrize("context", [{f"name{number}": 1 for number in range(65)}, {"n" * 65: 1}])
def test_a_large_context_is_refused(context: Mapping[str, int]) -> None:
    with pytest.raises(InvalidInput, match="context"):
        check_context(context)
