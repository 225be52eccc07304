"""`offerloop quarantine`."""

import json

import pytest

from contracts.settings import Settings
from serving.messages import OutcomeMessage
from serving.service import DecisionService
from storage.layout import Layout
from tests.cli.conftest import USE_CASE, Run


@pytest.fixture
def refused(layout: Layout) -> Layout:
    """Two outcomes of decisions that were never made, one of which is made afterwards."""
    with DecisionService(Settings(state=str(layout.root), use_cases=(USE_CASE,))) as service:
        service.accept_outcomes(USE_CASE, [OutcomeMessage("o-2", "d-2", 5), OutcomeMessage("o-3", "d-3", 5)])
        service.decide(USE_CASE, "e-1", decision_id="d-2")
    return layout


@pytest.mark.usefixtures("refused")
def test_what_was_not_taken_is_listed_counted_and_taken_in(run: Run) -> None:
    said = run("quarantine", "list", USE_CASE).out
    assert "2 entries" in said and "which was never answered" in said and '"o-3"' in said
    (newest,) = json.loads(run("quarantine", "list", USE_CASE, "--limit", "1", "--json").out)
    assert newest["kind"] == "outcome" and newest["reason"]
    assert json.loads(run("quarantine", "list", USE_CASE, "--reason", "nothing like it", "--json").out) == []
    assert [row["count"] for row in json.loads(run("quarantine", "counts", USE_CASE, "--json").out)] == [2]
    assert "`decision_id`: expected the id of a decision" in run("quarantine", "counts", USE_CASE).out
    assert run("quarantine", "replay", USE_CASE).out == "1 taken in, 0 had been taken in before, 1 do not fit still\n"
    assert json.loads(run("quarantine", "replay", USE_CASE, "--json").out) == {"accepted": 0, "duplicates": 0, "unfit": 1}
    assert len(json.loads(run("quarantine", "list", USE_CASE, "--json").out)) == 1


def test_an_installation_is_needed(run: Run) -> None:
    for command in ("list", "counts", "replay"):
        assert "holds no installation" in run("quarantine", command, USE_CASE).err
