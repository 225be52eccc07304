"""The flow `rollout`: takes a release one step further on its way to champion, when it may; else it says what it waits for."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from contracts.clock import SECOND_US
from contracts.errors import BundleRefused, StepRefused
from contracts.traffic import CANARY, CHALLENGER, TrafficPlan
from flows.drained import drain
from flows.guard import began_with, compared_with, see
from flows.place import Place, open_place
from flows.promotion import superseded
from releases.ledger import ReleaseRow
from serving.operations import Desk, challenge, check_signed_off, promote, reject
from training.canary import Earned, earned_so_far
from training.experiment import Sources
from use_cases.definition import UseCase

ACTOR = "flow rollout"

Act: TypeAlias = Literal["nothing", "take", "weigh", "challenge"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What may be done for a release now.

    Attributes:
        act: `take` its next step; `weigh` first what it earns; let it `challenge` the champion; or `nothing`.
        said: why, in words.
        version: of the traffic plan that was looked at.
        share: of a challenger.
    """

    release_id: str
    act: Act
    said: str
    version: int = 0
    share: float = 0.0


def asked_of(desk: Desk, use_case: UseCase, release_id: str | None) -> Asked:
    """What may be done now for a release; by default for the one that is on its way: the canary, else the one in the shadow.

    Raises:
        NotFound: it is not known.
    """
    plan = desk.ledger.plan(use_case.name)
    named = release_id or (_on_its_way(plan) if plan else None)
    if plan is None or named is None:
        return Asked("-", "nothing", f"no release of {use_case.name} is on its way")
    row = desk.ledger.release(named)
    if row.stage == "canary":
        return _canary(desk, use_case, plan, row)
    if row.stage == "shadow":
        return _shadow(desk, use_case, plan, row)
    return Asked(named, "nothing", f"is {row.stage}: {began_with(desk, row).reason}", plan.version)


@task(name="Weigh what it earns", cache_policy=NO_CACHE)
def weigh(place: Place, use_case: UseCase) -> Earned | None:
    """What the canary is shown to earn beside the champion; None where there is none any more."""
    with place.ledger() as ledger:
        return earned_so_far(Sources(use_case, place.tables, place.layout.bundles, ledger, place.clock.now_us()))


@task(name="Take the next step", cache_policy=NO_CACHE)
def take(place: Place, use_case: UseCase, asked: Asked, reason: str) -> str:
    """Take the step, under the plan that was looked at; what came of it, in words."""
    with place.desk() as desk:
        seen = see(desk, use_case)
        details = seen.details if seen is not None and seen.row.release_id == asked.release_id else {}
        plan = desk.ledger.plan(use_case.name)
        if plan is not None and plan.version != asked.version:
            return f"takes no step: the traffic plan has changed meanwhile, from version {asked.version} to {plan.version}"
        try:
            if asked.act == "challenge":
                plan = challenge(
                    desk,
                    use_case.name,
                    asked.release_id,
                    ACTOR,
                    reason,
                    share=asked.share,
                    arm=CHALLENGER,
                    expected_version=asked.version,
                )
            else:
                version = asked.version
                plan = promote(desk, use_case.name, asked.release_id, ACTOR, reason, expected_version=version, details=details)
        except (StepRefused, BundleRefused) as error:
            return f"takes no step: {error}"
    return _stands(use_case, plan, asked.release_id)


@task(name="Stop it", cache_policy=NO_CACHE)
def stop(place: Place, use_case: UseCase, asked: Asked, reason: str) -> str:
    """Refuse a canary that is shown to lose; what came of it, in words."""
    with place.desk() as desk:
        try:
            reject(desk, use_case.name, asked.release_id, ACTOR, f"stopped as canary: {reason}", expected_version=asked.version)
        except StepRefused as error:
            return f"is not stopped: {error}"
    return f"is refused: {reason}"


@task(name="Let MLflow's aliases follow", retries=3, retry_delay_seconds=[1, 3, 10], cache_policy=NO_CACHE)
def follow(place: Place, use_case: str) -> None:
    """Aliases of the registered model, as the traffic plan says."""
    with place.ledger() as ledger:
        plan = ledger.plan(use_case)
    if plan is not None:
        place.registry().sync_aliases(plan)


@flow(name="rollout", flow_run_name="rollout {use_case}", log_prints=True)
def rollout(use_case: str, release_id: str | None = None) -> State[Any]:
    """Take a release one step further on its way: from the shadow to the first share of a canary, to the next, at last to champion.

    Run again after a crash, it takes no step twice: a step has to last before the next one may come.

    Args:
        use_case: whose.
        release_id: which; by default the canary, or the one in the shadow.
    """
    place = open_place()
    known = place.use_cases[use_case]
    with place.desk() as desk:
        asked = asked_of(desk, known, release_id)
    said = asked.said
    if asked.act == "weigh":
        drain(place)
        found = weigh(place, known)
        if found is None or found.step == "stop":
            said = stop(place, known, asked, found.reason) if found else "is no canary any more"
        elif found.step == "wait":
            said = f"waits for evidence: {found.reason}"
        else:
            said = take(place, known, asked, f"{asked.said}; {found.reason}")
    elif asked.act != "nothing":
        said = take(place, known, asked, asked.said)
    follow(place, use_case)
    print(f"{asked.release_id} {said}")
    return Completed(message=f"{asked.release_id} {said}", data={"release_id": asked.release_id})


def _canary(desk: Desk, use_case: UseCase, plan: TrafficPlan, row: ReleaseRow) -> Asked:
    seen = see(desk, use_case)
    if seen is None or seen.plan.version != plan.version:
        return Asked(row.release_id, "nothing", "waits: the traffic plan has just changed", plan.version)
    if broken := [limit.words for limit in seen.limits if limit.broken]:
        return Asked(row.release_id, "nothing", f"is about to be stopped: {'; '.join(broken)}", plan.version)
    if missing := seen.missing(desk.clock.now_us()):
        return Asked(row.release_id, "nothing", f"waits at {seen.arm.share:.0%}: {missing} more", plan.version)
    if lacks := _sign_off(desk, use_case, row.release_id):
        return Asked(row.release_id, "nothing", lacks, plan.version)
    said = f"{seen.ours.decided} decisions as canary at {seen.arm.share:.0%} kept the limits"
    return Asked(row.release_id, "weigh", said, plan.version)


def _shadow(desk: Desk, use_case: UseCase, plan: TrafficPlan, row: ReleaseRow) -> Asked:
    entered = began_with(desk, row)
    promised = str(entered.details.get("promote", "champion"))
    others = [arm.release_id for arm in plan.arms[1:]]
    if promised == "shadow":
        said = "stays in the shadow, as was asked; `offerloop promote` takes it on"
    elif others:
        said = f"waits in the shadow while {others[0]} is compared with the champion"
    elif (gone := superseded(plan, row.release_id, compared_with(entered, plan))) is not None:
        said = gone
    elif lacks := _sign_off(desk, use_case, row.release_id):
        said = lacks
    elif promised == "challenger":
        return Asked(row.release_id, "challenge", "may challenge the champion", plan.version, float(entered.details.get("share", 0.5)))
    else:
        return Asked(row.release_id, "take", "passed its gate and ran in the shadow" + _signed(use_case), plan.version)
    return Asked(row.release_id, "nothing", said, plan.version)


def _on_its_way(plan: TrafficPlan) -> str | None:
    return next((arm.release_id for arm in plan.arms if arm.name == CANARY), plan.shadow)


def _sign_off(desk: Desk, use_case: UseCase, release_id: str) -> str:
    try:
        check_signed_off(desk, use_case.name, release_id, "go on")
    except StepRefused as error:
        return f"waits for a sign-off: {error}"
    return ""


def _signed(use_case: UseCase) -> str:
    return ", and is signed off" if use_case.approvers else ""


def _stands(use_case: UseCase, plan: TrafficPlan, release_id: str) -> str:
    arm = next((arm for arm in plan.arms if arm.release_id == release_id), None)
    if arm is None or arm.name != CANARY:
        return f"is {arm.name} now" if arm else "has no arm"
    steps, step = use_case.rollout.steps, use_case.rollout.step_of(arm.share)
    if step is None:
        return f"answers {arm.share:.0%} now"
    least = f"{step.at_least_us / SECOND_US / 3_600:g} hours and {step.decisions} decisions"
    return f"answers {arm.share:.0%} now, step {steps.index(step) + 1} of {len(steps)}: at least {least}"
