"""What holds a history against the log finds what is lost, what is doubled, and what is otherwise than it was told."""

from pathlib import Path

import msgspec
import polars as pl
import pytest

from bench.acknowledged import History, check, compare
from client.messages import Answer
from contracts.tables import DECISIONS
from serving.messages import OutcomeMessage
from serving.service import DecisionService
from storage.tables import Tables
from tests.serving.conftest import SHOP, Shop

MAP = 2**26


@pytest.fixture
def told(tmp_path: Path) -> tuple[Shop, History]:
    """A shop with three decisions and an outcome, and what its client was told of them."""
    shop, history = Shop(tmp_path / "state"), History()
    with DecisionService(shop.settings, {"shop": SHOP}) as service:
        shop.begin(service)
        service.look()
        for decision_id in ("d-1", "d-2", "d-3", "d-1"):
            answer = service.answer(service.decide("shop", "p-1", {}, decision_id))
            history.answered(msgspec.json.decode(msgspec.json.encode(answer), type=Answer))
        service.accept_outcomes("shop", [OutcomeMessage("o-1", "d-1", 7)])
        history.outcomes["o-1"] = 7
    return shop, history


def test_all_is_well_when_everything_is_there_as_it_was_told(told: tuple[Shop, History]) -> None:
    shop, history = told
    found = check(shop.layout, SHOP.schema, history, MAP)
    assert (found.lost, found.doubled, found.differing, history.acknowledged) == ((), (), (), 4)


def test_what_is_not_there_is_lost(told: tuple[Shop, History]) -> None:
    shop, history = told
    history.events.add("v-9")
    history.outcomes["o-9"] = 1
    assert check(shop.layout, SHOP.schema, history, MAP).lost == ("event v-9 is lost", "outcome o-9 is lost")


def test_what_is_there_twice_is_doubled(told: tuple[Shop, History]) -> None:
    shop, history = told
    check(shop.layout, SHOP.schema, history, MAP)
    tables = Tables(shop.layout.tables)
    again = tables.frame(SHOP.schema, DECISIONS).filter(pl.col("decision_id") == "d-2")
    tables.commit(tables.write_parts(SHOP.schema, DECISIONS, again, "again"), tables.manifest().position)
    assert compare(tables, SHOP.schema, history).doubled == ("decision d-2 is there 2 times",)


def test_what_is_otherwise_than_it_was_told_differs(told: tuple[Shop, History]) -> None:
    shop, history = told
    history.decisions["d-2"] = msgspec.structs.replace(history.decisions["d-2"], propensity=0.125)
    history.outcomes["o-1"] = 8
    history.answered(msgspec.structs.replace(history.decisions["d-3"], action="gems", arm="other"))
    found = check(shop.layout, SHOP.schema, history, MAP)
    assert (found.lost, found.doubled, len(found.differing)) == ((), (), 3)
