"""The engines agree to the bit, on random histories of one feature set."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.records import Event
from tests.engines.engines import EACH_ENGINE, ENGINES, engine_named
from tests.engines.reference import reference
from tests.engines.rows import Row
from tests.engines.world import FEATURES, SCHEMA, histories, renamed

slow = settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@slow
@given(st.lists(histories(), min_size=3, max_size=10))
def test_duckdb_and_online_equal_the_definitions(drawn: list[tuple[list[Event], list[Row]]]) -> None:
    events, rows = _together(drawn)
    expected = reference(FEATURES, SCHEMA, events, rows)
    found = ENGINES["online"](FEATURES, SCHEMA, events, rows)
    assert found == expected
    assert {name: row.freshness for name, row in found.items()} == {name: row.freshness for name, row in expected.items()}
    assert ENGINES["duckdb"](FEATURES, SCHEMA, events, rows) == expected


@pytest.fixture(scope="module")
def many() -> tuple[list[Event], list[Row]]:
    """A hundred histories, each of an entity of its own."""
    drawn: list[tuple[list[Event], list[Row]]] = []

    @settings(max_examples=100, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(histories())
    def collect(history: tuple[list[Event], list[Row]]) -> None:
        drawn.append(history)

    collect()
    return _together(drawn)


@pytest.mark.parametrize("name", EACH_ENGINE[1:])
def test_each_engine_equals_the_definitions(name: str, many: tuple[list[Event], list[Row]], request: pytest.FixtureRequest) -> None:
    events, rows = many
    assert engine_named(name, request)(FEATURES, SCHEMA, events, rows) == reference(FEATURES, SCHEMA, events, rows)


def _together(drawn: list[tuple[list[Event], list[Row]]]) -> tuple[list[Event], list[Row]]:
    apart = [renamed(index, history) for index, history in enumerate(drawn)]
    return [event for events, _ in apart for event in events], [row for _, rows in apart for row in rows]
