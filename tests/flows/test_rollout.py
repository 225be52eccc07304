"""The flow `rollout`, step by step, over a real ledger, inbox, journal and bundles; without Prefect and without Ray."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from contracts.clock import DAY_US
from contracts.traffic import CANARY
from flows.place import Place
from flows.promotion import leave_to_rollout
from flows.rollout import asked_of, stop, take, weigh
from releases.bundle import read_bundle, write_bundle
from releases.inbox import Inbox
from releases.ledger import Act, Ledger, LedgerRow
from releases.stages import register, to_challenger, to_champion, to_shadow
from serving.operations import approve
from storage.health import HealthCounter
from tests.flows.conftest import USE_CASE
from training.train import start_parts
from use_cases.definition import AT_ONCE, CanaryStep, Rollout, load

ACT = Act("test", 10**15, "because")
STEPS = Rollout((CanaryStep(0.05, at_least_us=0, decisions=10), CanaryStep(0.25, at_least_us=0, decisions=10)))


def with_rollout(place: Place, rollout: Rollout = STEPS, approvers: tuple[str, ...] = ()) -> Place:
    return replace(place, use_cases={USE_CASE: replace(load(USE_CASE), rollout=rollout, approvers=approvers)})


def shadowed(place: Place, revision: str = "one", details: Mapping[str, Any] | None = None) -> str:
    """A release in the shadow, by default one that may become champion."""
    parts = start_parts(load(USE_CASE), {"revision": revision})
    release_id = write_bundle(place.layout.bundles, parts, place.layout.secrets)
    with place.ledger() as ledger:
        register(ledger, USE_CASE, release_id, read_bundle(place.layout.bundles, release_id).digest, ACT)
        to_shadow(ledger, USE_CASE, release_id, replace(ACT, details=details or {"promote": "champion"}))
    return release_id


def run(place: Place, release_id: str | None = None) -> str:
    """What the flow does, without Prefect: what it says."""
    use_case = place.use_cases[USE_CASE]
    with place.desk() as desk:
        asked = asked_of(desk, use_case, release_id)
    if asked.act == "weigh":
        found = weigh.fn(place, use_case)
        assert found is not None
        if found.step == "stop":
            return stop.fn(place, use_case, asked, found.reason)
        return take.fn(place, use_case, asked, found.reason) if found.step == "go on" else found.reason
    return asked.said if asked.act == "nothing" else take.fn(place, use_case, asked, asked.said)


def answered(place: Place, decided: int, failed: int = 0) -> None:
    """Let a replica count what the canary did under the plan in force."""
    with place.ledger() as ledger:
        plan = ledger.plan(USE_CASE)
    assert plan is not None
    counter = HealthCounter(place.layout)
    for number in range(decided + failed):
        key = (USE_CASE, plan.version, CANARY, plan.arms[-1].release_id)
        counter.failed(key) if number < failed else counter.decided(key, 0.001, degraded=False)
    counter.publish()


def shares(place: Place) -> dict[str, float]:
    with place.ledger() as ledger:
        plan = ledger.plan(USE_CASE)
    assert plan is not None
    return {arm.name: arm.share for arm in plan.arms}


def newest(ledger: Ledger) -> LedgerRow:
    return ledger.rows(USE_CASE, limit=1)[0]


def test_a_release_gets_to_champion_by_its_steps_and_takes_none_twice(place: Place) -> None:
    place = with_rollout(place)
    release_id = shadowed(place)
    assert run(place) == "answers 5% now, step 1 of 2: at least 0 hours and 10 decisions"
    # started again, as after a crash, it waits
    assert run(place, release_id) == "waits at 5%: 10 decisions more"
    assert shares(place) == {"champion": 0.95, "canary": 0.05}
    answered(place, 10)
    assert run(place).startswith("answers 25% now, step 2 of 2")
    assert run(place) == "waits at 25%: 10 decisions more"
    answered(place, 10)
    assert run(place) == "is champion now"
    assert run(place, release_id).startswith("is champion: ")
    assert run(place) == f"no release of {USE_CASE} is on its way"
    with place.ledger() as ledger:
        steps = [(row.actor, row.action) for row in reversed(ledger.rows(USE_CASE, release_id=release_id))]
        figures = newest(ledger).details["canary"]
    assert steps == [("test", "register"), ("test", "shadow"), *[("flow rollout", step) for step in ("canary", "canary", "champion")]]
    assert (figures["decided"], figures["failed"]) == (10, 0)


def test_a_step_waits_for_its_time(place: Place) -> None:
    place = with_rollout(place, Rollout((CanaryStep(0.05, at_least_us=10**6 * DAY_US, decisions=0),)))
    shadowed(place)
    run(place)
    assert run(place).startswith("waits at 5%: ") and run(place).endswith(" hours more")


def test_a_step_that_asks_for_evidence_waits_for_it(place: Place) -> None:
    place = with_rollout(place, Rollout((CanaryStep(0.25, at_least_us=0, decisions=1, max_loss=0.1),)))
    shadowed(place)
    run(place)
    answered(place, 5)
    assert run(place).startswith("money says nothing yet")
    assert shares(place)["canary"] == 0.25


def test_it_leaves_a_broken_canary_to_the_guard(place: Place) -> None:
    place = with_rollout(place)
    shadowed(place)
    run(place)
    answered(place, 20, failed=60)
    assert run(place).startswith("is about to be stopped: failed 75%")
    assert shares(place)["canary"] == 0.05


def test_before_a_sign_off_it_stays_in_the_shadow(place: Place) -> None:
    place = with_rollout(place, approvers=("anna",))
    release_id = shadowed(place)
    assert "waits for a sign-off" in run(place) and "anna" in run(place)
    with place.desk() as desk:
        approve(desk, USE_CASE, release_id, "anna", "looked at all of it")
    assert run(place).startswith("answers 5% now")
    with place.ledger() as ledger:
        assert newest(ledger).reason.endswith("and is signed off")


def test_without_steps_it_becomes_champion_at_once_when_it_is_signed_off(place: Place) -> None:
    place = with_rollout(place, AT_ONCE, ("anna",))
    release_id = shadowed(place)
    assert "waits for a sign-off" in run(place)
    with place.desk() as desk:
        approve(desk, USE_CASE, release_id, "anna", "looked at all of it")
    assert run(place) == "is champion now"


def test_a_challenger_is_signed_off_before_it_meets_people(place: Place) -> None:
    place = with_rollout(place, AT_ONCE, ("anna",))
    release_id = shadowed(place, details={"promote": "challenger", "share": 0.3})
    assert "waits for a sign-off" in run(place)
    with place.desk() as desk:
        approve(desk, USE_CASE, release_id, "anna", "let us see")
    assert run(place) == "is challenger now"
    assert shares(place) == {"champion": 0.7, "challenger": 0.3}


def test_it_says_why_a_release_stays_in_the_shadow(place: Place) -> None:
    place = with_rollout(place)
    only = shadowed(place, details={"promote": "shadow"})
    assert run(place) == "stays in the shadow, as was asked; `offerloop promote` takes it on"
    with place.ledger() as ledger:
        to_challenger(ledger, USE_CASE, only, 0.5, ACT)
    shadowed(place, "two")
    assert run(place) == f"waits in the shadow while {only} is compared with the champion"
    with place.ledger() as ledger:
        to_champion(ledger, USE_CASE, only, ACT)
    assert f", and {only} is champion now; train again" in run(place)


def test_a_release_is_taken_on_only_beside_the_champion_that_its_gate_knew(place: Place) -> None:
    place = with_rollout(place)
    # another became champion while it was trained, before it entered the shadow
    shadowed(place, details={"promote": "champion", "compared_with": "r-before"})
    assert run(place).startswith("stays in the shadow: its gate compared it with r-before, and r-")
    assert shares(place) == {"champion": 1.0}


def test_a_bundle_that_is_damaged_takes_no_step_and_the_flow_says_so(place: Place) -> None:
    place = with_rollout(place)
    release_id = shadowed(place)
    (place.layout.bundles / release_id / "settings.json").write_text("{}")
    assert run(place).startswith("takes no step: ") and release_id in run(place)
    assert shares(place) == {"champion": 1.0}
    with place.ledger() as ledger:
        assert newest(ledger).action == "denied"


def test_who_was_faster_is_told(place: Place) -> None:
    place = with_rollout(place)
    shadowed(place)
    use_case = place.use_cases[USE_CASE]
    with place.desk() as desk:
        asked = asked_of(desk, use_case, None)
    run(place)
    assert take.fn(place, use_case, asked, "late").startswith("takes no step: ")
    assert shares(place)["canary"] == 0.05
    assert stop.fn(place, use_case, asked, "late").startswith("is not stopped: ")


@pytest.mark.parametrize(
    ("rollout", "approvers", "step", "says"),
    [
        (AT_ONCE, (), "champion", None),
        (STEPS, (), "challenger", None),
        (STEPS, (), "shadow", None),
        (STEPS, (), "champion", "begins with 5% of the traffic; the flow `rollout` takes it on"),
        (
            STEPS,
            ("anna", "ben"),
            "champion",
            "waits for the sign-off of anna or ben (`offerloop approve`, or the console); then it begins with 5%",
        ),
        (
            AT_ONCE,
            ("anna",),
            "challenger",
            "waits for the sign-off of anna (`offerloop approve`, or the console); then it becomes challenger",
        ),
        (AT_ONCE, ("anna",), "shadow", None),
    ],
)
def test_a_training_says_what_comes_next(place: Place, rollout: Rollout, approvers: tuple[str, ...], step: str, says: str | None) -> None:
    place = with_rollout(place, rollout, approvers)
    release_id = shadowed(place)
    with place.desk() as desk:
        outcomes = [leave_to_rollout(desk, place.use_cases[USE_CASE], release_id, step, "its gate says so") for _ in range(2)]
    assert [outcome.next if outcome else None for outcome in outcomes] == [says, says]
    inbox = Inbox(place.layout.ledger)
    asked = [row.payload for row in inbox.rows()]
    inbox.close()
    assert asked == ([{"use_case": USE_CASE, "release_id": release_id}] if says and says.startswith("begins") else [])
