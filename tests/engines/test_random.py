"""The engines agree to the bit on random feature sets over random histories; `--histories` says how many, `--histories-seed` which."""

from collections.abc import Sequence
from functools import lru_cache, partial
from random import Random
from typing import get_args

import pytest

import spark_jobs.materialize
from contracts.records import Event
from features.definitions import Aggregate, AggregateKind, Attribute, Derived, Fallback, FeatureSet, WhereOp
from tests.engines.difference import explained
from tests.engines.engines import EACH_ENGINE, engine_named, from_tables
from tests.engines.random_histories import draw_history, draw_moment
from tests.engines.random_sets import SCHEMA, draw_set
from tests.engines.rows import Row
from tests.engines.tiled import compute_from_tiles

A_SET = 60
MOST_SETS = 100
SETS_LOOKED_AT = 40
QUICK = ("duckdb", "online", "online-ready")
FEW_SETS = 3
"""For engines that are not quick, in the short form."""
DEFAULT_HISTORIES = 480


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a set and engine: `A_SET` histories a set, and more where there would be too many sets."""
    if "number" in metafunc.fixturenames:
        sets = sets_of(metafunc.config)
        few = metafunc.config.getoption("--histories", DEFAULT_HISTORIES) <= DEFAULT_HISTORIES
        cases = [
            pytest.param(engine.values[0], number, marks=engine.marks, id=f"{engine.values[0]}-{number}")
            for engine in EACH_ENGINE[1:]
            for number in range(min(sets, FEW_SETS) if few and engine.values[0] not in QUICK else sets)
        ]
        metafunc.parametrize(("name", "number"), cases)


def sets_of(config: pytest.Config) -> int:
    """How many feature sets are drawn."""
    return max(1, min(MOST_SETS, int(config.getoption("--histories", DEFAULT_HISTORIES)) // A_SET))


@lru_cache(maxsize=2)
def drawn(seed: int, number: int, histories: int) -> tuple[FeatureSet, Sequence[Event], Sequence[Row]]:
    """A feature set, and histories of as many entities."""
    chance = Random(f"{seed}/{number}")
    feature_set = draw_set(chance)
    # why: a job reads no more of the tables than its rows can see, which only shows where all rows ask about one time
    moment = draw_moment(chance) if number % 2 else None
    made = [draw_history(chance, f"p{entity}", feature_set, moment) for entity in range(histories)]
    return feature_set, [event for one in made for event in one.events], [row for one in made for row in one.rows]


def test_an_engine_equals_the_definitions(name: str, number: int, request: pytest.FixtureRequest) -> None:
    seed = int(request.config.getoption("--histories-seed", 20_241_121))
    histories = -(-int(request.config.getoption("--histories", DEFAULT_HISTORIES)) // sets_of(request.config))
    print(f"--histories-seed {seed}, set {number}, {histories} histories")
    feature_set, events, rows = drawn(seed, number, histories)
    assert explained(engine_named(name, request), feature_set, SCHEMA, events, rows) == ""


@pytest.mark.engines
@pytest.mark.usefixtures("spark")
def test_tiles_that_spark_laid_out_equal_the_definitions(request: pytest.FixtureRequest) -> None:
    seed = int(request.config.getoption("--histories-seed", 20_241_121))
    print(f"--histories-seed {seed}")
    feature_set, events, rows = drawn(seed, 1, A_SET)
    engine = from_tables(partial(compute_from_tiles, make=spark_jobs.materialize.make_tiles))
    assert explained(engine, feature_set, SCHEMA, events, rows) == ""


def test_what_is_drawn_has_everything() -> None:
    chance = Random(0)
    sets = [draw_set(chance) for _ in range(SETS_LOOKED_AT)]
    features = [feature for feature_set in sets for feature in feature_set.features]
    aggregates = [feature for feature in features if isinstance(feature, Aggregate)]
    assert {feature.aggregate for feature in aggregates} == set(get_args(AggregateKind))
    assert {feature.fallback for feature in features if isinstance(feature, (Aggregate, Attribute))} == set(get_args(Fallback))
    assert {condition.op for feature in aggregates for condition in feature.where} == set(get_args(WhereOp))
    assert sum(isinstance(feature, Derived) for feature in features) > SETS_LOOKED_AT // 2
    histories = [draw_history(chance, f"p{number}", sets[number % SETS_LOOKED_AT]) for number in range(400)]
    assert sum(not history.events for history in histories) > 5
    assert sum(len(history.steps) > len(history.events) + len(history.rows) for history in histories) > 50
    assert sum(event.event_time < 0 for history in histories for event in history.events) > 50
    assert sum(event.original_time is not None for history in histories for event in history.events) > 50
