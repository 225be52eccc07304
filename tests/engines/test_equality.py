"""The engines agree to the bit, on random histories."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

import features.point_in_time
import spark_jobs.point_in_time
from contracts.records import Event
from tests.engines.engines import Row, from_tables, online
from tests.engines.world import FEATURES, SCHEMA, histories, renamed

slow = settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@slow
@given(st.lists(histories(), min_size=3, max_size=10))
def test_duckdb_equals_online(drawn: list[tuple[list[Event], list[Row]]]) -> None:
    events, rows = _together(drawn)
    expected = online(FEATURES, SCHEMA, events, rows)
    assert from_tables(features.point_in_time)(FEATURES, SCHEMA, events, rows) == expected


@pytest.mark.engines
def test_spark_equals_online_and_duckdb(spark: SparkSession) -> None:
    drawn: list[tuple[list[Event], list[Row]]] = []

    @settings(max_examples=100, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(histories())
    def collect(history: tuple[list[Event], list[Row]]) -> None:
        drawn.append(history)

    collect()
    events, rows = _together(drawn)
    found = from_tables(spark_jobs.point_in_time)(FEATURES, SCHEMA, events, rows)
    assert found == online(FEATURES, SCHEMA, events, rows)
    assert found == from_tables(features.point_in_time)(FEATURES, SCHEMA, events, rows)


def _together(drawn: list[tuple[list[Event], list[Row]]]) -> tuple[list[Event], list[Row]]:
    apart = [renamed(index, history) for index, history in enumerate(drawn)]
    return [event for events, _ in apart for event in events], [row for _, rows in apart for row in rows]
