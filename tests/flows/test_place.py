from pathlib import Path

import pytest

from contracts.errors import StateRefused
from contracts.tables import DECISIONS
from flows.place import Place, open_place
from serving.service import DecisionService
from tests.flows.conftest import USE_CASE


def test_a_flow_without_an_installation_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StateRefused, match="offerloop up"):
        open_place()


def test_what_was_accepted_is_moved_into_tables_once(place: Place) -> None:
    with DecisionService(place.settings) as service:
        service.decide(USE_CASE, "e-1", decision_id="d-1")
    assert place.drain().rows[USE_CASE, DECISIONS] == 1
    assert place.drain().rows == {}
    assert place.tables.frame(place.schemas[USE_CASE], DECISIONS)["decision_id"].to_list() == ["d-1"]
