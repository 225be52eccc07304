from pathlib import Path

from contracts.settings import Settings
from releases.ledger import Ledger
from services.bootstrap import start_releases
from serving.service import DecisionService
from storage.layout import Layout
from use_cases.definition import load


def test_a_use_case_without_a_plan_gets_its_start_policy_once(tmp_path: Path) -> None:
    settings = Settings(state=str(tmp_path), use_cases=("email_promotion",))
    start_releases(settings)
    ledger = Ledger(Layout(tmp_path).ledger)
    plan, rows = ledger.plan("email_promotion"), ledger.rows()
    start_releases(settings)
    assert ledger.rows() == rows
    ledger.close()
    assert plan is not None and plan.control_share == load("email_promotion").control_share
    with DecisionService(settings) as service:
        decision = service.decide("email_promotion", "someone", decision_id="d-1")
    assert decision.release_id == plan.champion.release_id
