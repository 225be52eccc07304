from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import NotFound, OfferloopError, StepRefused
from contracts.traffic import Arm, TrafficPlan
from releases import stages
from releases.ledger import Act, Ledger, LedgerRow

USE_CASE = "shop"


def act(at: int = 0, expected_version: int | None = None) -> Act:
    return Act("ada", at, "because", expected_version)


def arms(plan: TrafficPlan | None) -> list[tuple[str, str, float]]:
    assert plan is not None
    return [(arm.name, arm.release_id, round(arm.share, 9)) for arm in plan.arms]


@pytest.fixture
def started(ledger: Ledger) -> Ledger:
    """Champion a; candidates b and c."""
    stages.start(ledger, USE_CASE, "a", "digest-a", 0.1, act())
    for release_id in "bc":
        stages.register(ledger, USE_CASE, release_id, f"digest-{release_id}", act())
    return ledger


def assert_denied_alone(ledger: Ledger, before: list[LedgerRow]) -> None:
    """One row more than before: it says who was denied what, and why."""
    denied, *others = ledger.rows()
    assert others == before
    assert (denied.actor, denied.action, denied.plan) == ("ada", "denied", None)
    assert denied.details["asked"]
    assert "cannot" in denied.reason


def stage_of(ledger: Ledger) -> dict[str, str]:
    return {row.release_id: row.stage for row in ledger.releases(USE_CASE)}


def test_the_whole_road(started: Ledger) -> None:
    stages.to_shadow(started, USE_CASE, "b", act(1))
    assert stage_of(started) == {"a": "champion", "b": "shadow", "c": "candidate"}
    stages.to_challenger(started, USE_CASE, "b", 0.05, act(2), arm="canary")
    assert stage_of(started)["b"] == "canary"
    stages.to_challenger(started, USE_CASE, "b", 0.5, act(3))
    assert arms(started.plan(USE_CASE)) == [("champion", "a", 0.5), ("challenger", "b", 0.5)]
    plan = stages.to_champion(started, USE_CASE, "b", act(4))
    assert plan == started.plan(USE_CASE)
    assert arms(plan) == [("champion", "b", 1.0)]
    assert plan.shadow is None
    assert stage_of(started) == {"a": "retired", "b": "champion", "c": "candidate"}
    assert [row.action for row in started.rows(USE_CASE, limit=4)] == ["champion", "challenger", "canary", "shadow"]
    assert [started.release(release_id).digest for release_id in "ab"] == ["digest-a", "digest-b"]


def test_several_challengers_at_once_leave_each_other_alone(started: Ledger) -> None:
    for name, arm in (("b", "challenger_b"), ("c", "challenger_c")):
        stages.to_shadow(started, USE_CASE, name, act())
        stages.to_challenger(started, USE_CASE, name, 0.25, act(), arm=arm)
    before = started.plan(USE_CASE)
    assert before is not None
    assert arms(before) == [("champion", "a", 0.5), ("challenger_b", "b", 0.25), ("challenger_c", "c", 0.25)]
    assert stage_of(started) == {"a": "champion", "b": "challenger", "c": "challenger"}

    plan = stages.to_challenger(started, USE_CASE, "b", 0.375, act(), arm="challenger_b")

    assert {arm.name: arm.ranges for arm in plan.arms[1:]} == {
        "challenger_b": ((0.75, 1.0), (0.375, 0.5)),
        "challenger_c": ((0.5, 0.75),),
    }
    assert plan.salt == before.salt
    stages.reject(started, USE_CASE, "b", act())
    assert arms(started.plan(USE_CASE)) == [("champion", "a", 0.75), ("challenger_c", "c", 0.25)]
    assert arms(stages.to_champion(started, USE_CASE, "c", act())) == [("champion", "c", 1.0)]


def test_what_is_withheld_stays_so_through_every_step(started: Ledger) -> None:
    stages.withhold(started, USE_CASE, ["gold", "gems"], act())
    assert stages.withhold(started, USE_CASE, ["gems"], act()) == started.plan(USE_CASE)
    stages.to_shadow(started, USE_CASE, "b", act())
    stages.to_champion(started, USE_CASE, "b", act())
    assert stages.rollback(started, USE_CASE, act()).withheld == ("gems", "gold")

    assert stages.restore(started, USE_CASE, ["gold", "unknown"], act()).withheld == ("gems",)
    assert [row.action for row in started.rows(USE_CASE, limit=1)] == ["restore"]


def test_the_first_plan(ledger: Ledger) -> None:
    plan = stages.start(ledger, USE_CASE, "a", "digest-a", 0.15, act())
    assert (plan.version, plan.control_share, plan.shadow, arms(plan)) == (1, 0.15, None, [("champion", "a", 1.0)])
    assert plan.salt != plan.control_salt
    with pytest.raises(StepRefused, match="a is champion already"):
        stages.start(ledger, USE_CASE, "b", "digest-b", 0.15, act())
    assert stage_of(ledger) == {"a": "champion"}


def test_a_use_case_starts_with_a_candidate(ledger: Ledger) -> None:
    stages.register(ledger, USE_CASE, "a", "digest-a", act())
    stages.reject(ledger, USE_CASE, "a", act())
    with pytest.raises(StepRefused, match="it is refused"):
        stages.start(ledger, USE_CASE, "a", "digest-a", 0.1, act())


def test_a_release_is_registered_once(started: Ledger) -> None:
    before = started.rows()
    assert stages.register(started, USE_CASE, "b", "digest-b", act(9)) == started.release("b")
    assert started.rows() == before
    with pytest.raises(StepRefused, match="known with the digest digest-b"):
        stages.register(started, USE_CASE, "b", "digest-x", act())
    with pytest.raises(NotFound):
        stages.register(started, "other", "b", "digest-b", act())


Take = Callable[[Ledger, str, Act], object]


def to_challenger(ledger: Ledger, release_id: str, done: Act) -> object:
    return stages.to_challenger(ledger, USE_CASE, release_id, 0.5, done)


STEPS: dict[str, Take] = {
    "to_shadow": lambda ledger, release_id, done: stages.to_shadow(ledger, USE_CASE, release_id, done),
    "to_challenger": to_challenger,
    "to_champion": lambda ledger, release_id, done: stages.to_champion(ledger, USE_CASE, release_id, done),
    "reject": lambda ledger, release_id, done: stages.reject(ledger, USE_CASE, release_id, done),
    "retire": lambda ledger, release_id, done: stages.retire(ledger, USE_CASE, release_id, done),
    "rollback": lambda ledger, release_id, done: stages.rollback(ledger, USE_CASE, done, to=release_id),
}
ALLOWED = {
    "candidate": {"to_shadow", "reject", "retire"},
    "shadow": {"to_challenger", "to_champion", "reject", "retire"},
    "challenger": {"to_champion", "reject", "retire"},
    "champion": set[str](),
    "retired": {"to_shadow", "reject"},
    "refused": set[str](),
}
ROAD: dict[str, list[str]] = {
    "candidate": [],
    "shadow": ["to_shadow"],
    "challenger": ["to_shadow", "to_challenger"],
    "champion": ["to_shadow", "to_champion"],
    "retired": ["retire"],
    "refused": ["reject"],
}
REPEATED = {"shadow": "to_shadow", "challenger": "to_challenger", "champion": "to_champion", "retired": "retire", "refused": "reject"}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("stage", ROAD)
def test_which_steps_may_be_taken_from_where(started: Ledger, stage: str, step: str) -> None:
    for name in ROAD[stage]:
        STEPS[name](started, "b", act())
    assert started.stage_of("b") == stage
    before = started.rows(), started.plan(USE_CASE), stage_of(started)
    if step in ALLOWED[stage]:
        STEPS[step](started, "b", act())
        assert len(started.rows()) == len(before[0]) + 1
        return
    if REPEATED.get(stage) == step:
        STEPS[step](started, "b", act())
        assert started.rows() == before[0]
    else:
        with pytest.raises(StepRefused):
            STEPS[step](started, "b", act())
        assert_denied_alone(started, before[0])
    assert (started.plan(USE_CASE), stage_of(started)) == before[1:]


@pytest.mark.parametrize("step", STEPS)
def test_an_unknown_release_takes_no_step(started: Ledger, step: str) -> None:
    with pytest.raises(NotFound, match=r"release of shop `r-x` is not known\. Known: a, b, c"):
        STEPS[step](started, "r-x", act())


@pytest.mark.parametrize("step", ["to_shadow", "to_challenger", "to_champion", "rollback"])
def test_nothing_goes_live_before_a_first_release(ledger: Ledger, step: str) -> None:
    stages.register(ledger, USE_CASE, "b", "digest-b", act())
    with pytest.raises(StepRefused, match="no champion yet"):
        STEPS[step](ledger, "b", act())


@pytest.mark.parametrize("step", STEPS)
def test_a_step_under_a_plan_that_has_changed_is_refused(started: Ledger, step: str) -> None:
    stages.to_shadow(started, USE_CASE, "b", act(expected_version=1))
    before = started.rows(), started.plan(USE_CASE), stage_of(started)
    with pytest.raises(StepRefused, match="at version 2 now, you looked at 1; look again"):
        STEPS[step](started, "b", act(expected_version=1))
    assert_denied_alone(started, before[0])
    assert (started.plan(USE_CASE), stage_of(started)) == before[1:]


def test_who_asks_for_the_same_again_and_again_is_noted_once(started: Ledger) -> None:
    for _ in range(3):
        with pytest.raises(StepRefused):
            stages.to_champion(started, USE_CASE, "b", act())
    assert [row.action for row in started.rows(USE_CASE, limit=2)] == ["denied", "register"]


def test_of_two_operators_at_once_one_is_refused(tmp_path: Path, started: Ledger) -> None:
    stages.to_shadow(started, USE_CASE, "b", act())
    stages.to_challenger(started, USE_CASE, "b", 0.5, act())
    version = 3
    other = Ledger(tmp_path / "ledger.sqlite")

    def promote() -> object:
        return stages.to_champion(started, USE_CASE, "b", act(expected_version=version))

    def refuse() -> object:
        return stages.reject(other, USE_CASE, "b", act(expected_version=version))

    def outcome(step: Callable[[], object]) -> bool:
        try:
            step()
        except StepRefused:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(outcome, (promote, refuse)))
    assert sorted(done) == [False, True]
    assert started.stage_of("b") == ("champion" if done[0] else "refused")
    plan = started.plan(USE_CASE)
    assert plan is not None
    assert plan.version == version + 1
    other.close()


def test_a_new_shadow_retires_the_one_before(started: Ledger) -> None:
    stages.to_shadow(started, USE_CASE, "b", act())
    plan = stages.to_shadow(started, USE_CASE, "c", act())
    assert plan.shadow == "c"
    assert stage_of(started) == {"a": "champion", "b": "retired", "c": "shadow"}


def test_shares(started: Ledger) -> None:
    first = started.plan(USE_CASE)
    for release_id in "bc":
        stages.to_shadow(started, USE_CASE, release_id, act())
        stages.to_challenger(started, USE_CASE, release_id, 0.2, act(), arm="challenger" if release_id == "b" else "canary")
    plan = started.plan(USE_CASE)
    assert plan is not None and first is not None
    assert arms(plan) == [("champion", "a", 0.6), ("challenger", "b", 0.2), ("canary", "c", 0.2)]
    assert (plan.control_share, plan.control_salt) == (first.control_share, first.control_salt)
    ramped = stages.to_challenger(started, USE_CASE, "c", 0.4, act(), arm="canary")
    assert arms(ramped) == [("champion", "a", 0.4), ("challenger", "b", 0.2), ("canary", "c", 0.4)]
    assert ramped.salt == plan.salt
    for share in (0.8, 1.0, 0.0, -0.1, float("nan"), float("inf")):
        with pytest.raises(StepRefused, match="both must be above 0"):
            stages.to_challenger(started, USE_CASE, "c", share, act(), arm="canary")
    with pytest.raises(StepRefused, match="b is being compared with the champion"):
        stages.to_champion(started, USE_CASE, "c", act())
    stages.reject(started, USE_CASE, "b", act())
    assert arms(started.plan(USE_CASE)) == [("champion", "a", 0.6), ("canary", "c", 0.4)]
    assert arms(stages.to_champion(started, USE_CASE, "c", act())) == [("champion", "c", 1.0)]


def test_each_experiment_draws_anew_who_is_in_it(started: Ledger) -> None:
    salts = []
    for release_id in "bc":
        stages.to_shadow(started, USE_CASE, release_id, act())
        salts.append(stages.to_challenger(started, USE_CASE, release_id, 0.5, act()).salt)
        stages.retire(started, USE_CASE, release_id, act())
    assert salts[0] != salts[1]


def test_an_arm_has_one_release(started: Ledger) -> None:
    for release_id in "bc":
        stages.to_shadow(started, USE_CASE, release_id, act())
        if release_id == "b":
            stages.to_challenger(started, USE_CASE, "b", 0.5, act())
    with pytest.raises(StepRefused, match="b is challenger now"):
        stages.to_challenger(started, USE_CASE, "c", 0.1, act())


def promote(ledger: Ledger, release_id: str, at: int = 0) -> None:
    stages.to_shadow(ledger, USE_CASE, release_id, act(at))
    stages.to_champion(ledger, USE_CASE, release_id, act(at))


def test_rolling_back_goes_further_back_each_time(started: Ledger) -> None:
    promote(started, "b")
    promote(started, "c")
    assert arms(stages.rollback(started, USE_CASE, act())) == [("champion", "b", 1.0)]
    assert stage_of(started) == {"a": "retired", "b": "champion", "c": "retired"}
    assert arms(stages.rollback(started, USE_CASE, act())) == [("champion", "a", 1.0)]
    with pytest.raises(StepRefused, match="no champion came before it"):
        stages.rollback(started, USE_CASE, act())
    promote(started, "c")
    assert arms(stages.rollback(started, USE_CASE, act())) == [("champion", "a", 1.0)]


def test_rolling_back_to_a_named_release(started: Ledger) -> None:
    promote(started, "b")
    promote(started, "c")
    assert arms(stages.rollback(started, USE_CASE, act(), to="a")) == [("champion", "a", 1.0)]
    assert arms(stages.rollback(started, USE_CASE, act(), to="c")) == [("champion", "c", 1.0)]
    assert stage_of(started) == {"a": "retired", "b": "retired", "c": "champion"}
    assert arms(stages.rollback(started, USE_CASE, act())) == [("champion", "a", 1.0)]


def test_a_champion_that_came_back_is_rolled_back_to_the_one_before_its_return(started: Ledger) -> None:
    promote(started, "b")
    promote(started, "a")
    promote(started, "c")
    assert arms(stages.rollback(started, USE_CASE, act())) == [("champion", "a", 1.0)]
    assert arms(stages.rollback(started, USE_CASE, act())) == [("champion", "b", 1.0)]


def test_rolling_back_passes_over_what_was_refused(started: Ledger) -> None:
    promote(started, "b")
    promote(started, "c")
    stages.reject(started, USE_CASE, "b", act())
    with pytest.raises(StepRefused, match="it was refused"):
        stages.rollback(started, USE_CASE, act(), to="b")
    assert arms(stages.rollback(started, USE_CASE, act())) == [("champion", "a", 1.0)]


def test_rolling_back_ends_experiments_and_keeps_control(started: Ledger) -> None:
    promote(started, "b")
    stages.to_shadow(started, USE_CASE, "c", act())
    stages.to_challenger(started, USE_CASE, "c", 0.5, act())
    before = started.plan(USE_CASE)
    plan = stages.rollback(started, USE_CASE, act())
    assert before is not None
    assert (plan.control_share, plan.control_salt) == (before.control_share, before.control_salt)
    assert arms(plan) == [("champion", "a", 1.0)]
    assert stage_of(started) == {"a": "champion", "b": "retired", "c": "retired"}


def test_naming_the_champion_only_ends_the_experiment(started: Ledger) -> None:
    stages.to_shadow(started, USE_CASE, "b", act())
    stages.to_challenger(started, USE_CASE, "b", 0.5, act())
    assert arms(stages.rollback(started, USE_CASE, act(), to="a")) == [("champion", "a", 1.0)]
    assert stage_of(started) == {"a": "champion", "b": "retired", "c": "candidate"}


def test_a_rolled_back_release_in_the_shadow_leaves_it(started: Ledger) -> None:
    promote(started, "b")
    stages.to_shadow(started, USE_CASE, "a", act())
    plan = stages.rollback(started, USE_CASE, act())
    assert (plan.shadow, arms(plan)) == (None, [("champion", "a", 1.0)])


def test_what_never_was_champion_is_not_rolled_back_to(started: Ledger) -> None:
    stages.to_shadow(started, USE_CASE, "b", act())
    with pytest.raises(StepRefused, match="it is shadow and never was champion"):
        stages.rollback(started, USE_CASE, act(), to="b")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([*STEPS, "undo"]), st.sampled_from("abcd")), max_size=25))
def test_stages_and_plan_never_disagree(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")
    stages.start(ledger, USE_CASE, "a", "digest", 0.1, act())
    for release_id in "bcd":
        stages.register(ledger, USE_CASE, release_id, "digest", act())
    for at, (step, release_id) in enumerate(steps, start=1):
        with suppress(OfferloopError):
            stages.rollback(ledger, USE_CASE, act(at)) if step == "undo" else STEPS[step](ledger, release_id, act(at))
        plan = ledger.plan(USE_CASE)
        assert plan is not None
        held = {arm.release_id: arm.name for arm in plan.arms} | ({plan.shadow: "shadow"} if plan.shadow else {})
        assert {row.release_id: row.stage for row in ledger.releases(USE_CASE) if row.release_id in held} == held
        loose = {row.stage for row in ledger.releases(USE_CASE) if row.release_id not in held}
        assert loose <= {"candidate", "retired", "refused"}
        assert plan.champion.name == "champion"
        assert isinstance(plan.champion, Arm)
        assert ledger.live_at(USE_CASE, at) == plan
    ledger.close()
