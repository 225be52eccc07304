"""How far a candidate goes: into the shadow, and from there as its gate and whoever asked allow."""

import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import httpx
from msgspec import structs

from contracts.errors import BundleRefused, StepRefused
from contracts.traffic import CHAMPION, Arm, TrafficPlan, stage_of
from flows.place import Place
from releases.inbox import Inbox
from releases.ledger import Act, Ledger
from releases.stages import reject, retire, to_challenger, to_champion, to_shadow
from serving.catching_up import WAITING
from serving.environment import own_address
from serving.keys import owner_key
from serving.operations import ROLLOUT, Desk, approval_of
from training.comparison import Conclusion
from use_cases.definition import UseCase

Step: TypeAlias = Literal["shadow", "challenger", "champion"]

_ORDER: tuple[str, ...] = ("refused", "shadow", "challenger", "champion")
SEEN_S = 20.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a release stands after all steps, the reason in words, and what comes next where something does."""

    stage: str
    reason: str
    next: str = ""


def allowed(asked: Step, proven: str) -> str:
    """The lesser of how far someone wants a candidate to go and how far its gate lets it.

    Example:
        >>> allowed("champion", "challenger")
        'challenger'
    """
    return min(asked, proven, key=_ORDER.index)


def enter_shadow(place: Place, ledger: Ledger, use_case: str, release_id: str, act: Act) -> TrafficPlan:
    """Put a release into the shadow, and wait until the replica that answers has loaded it.

    Raises:
        BundleRefused: serving cannot run it; it is rejected.
    """
    plan = to_shadow(ledger, use_case, release_id, act)
    refused = _refusal(place, use_case, release_id, plan.version)
    if refused:
        reject(ledger, use_case, release_id, Act(act.actor, place.clock.now_us(), f"serving refuses it: {refused}"))
        raise BundleRefused(release_id, refused)
    return plan


def superseded(plan: TrafficPlan | None, release_id: str, champion: str) -> str | None:
    """Why a release stays in the shadow: its gate compared it with a champion that is none any more. None where that one still is."""
    if plan is None or plan.champion.release_id in (champion, release_id):
        return None
    return f"stays in the shadow: its gate compared it with {champion}, and {plan.champion.release_id} is champion now; train again"


def take_on(ledger: Ledger, use_case: str, release_id: str, step: str, share: float, act: Act) -> Outcome:
    """Take a release from the shadow as far as it may go. While another is compared with the champion it waits in the shadow."""
    plan = ledger.plan(use_case)
    compared = [arm.release_id for arm in plan.arms[1:] if arm.release_id != release_id] if plan else []
    if compared:
        waits = f"waits in the shadow while {compared[0]} is compared with the champion"
        return Outcome("shadow", f"{waits}. {act.reason}", waits)
    if step == "challenger":
        to_challenger(ledger, use_case, release_id, share, act)
    elif step == "champion":
        to_champion(ledger, use_case, release_id, act)
    return Outcome(step, act.reason)


def leave_to_rollout(desk: Desk, use_case: UseCase, release_id: str, step: str, reason: str) -> Outcome | None:
    """Ask for the flow `rollout` where a release in the shadow gets on by steps or after a sign-off; None where it may go on at once."""
    first = use_case.rollout.after(0.0) if step == "champion" else None
    if step not in ("challenger", "champion") or (first is None and not use_case.approvers):
        return None
    if use_case.approvers and ((approval := approval_of(desk, use_case.name, release_id)) is None or approval.void):
        then = f"then it begins with {first:.0%}" if first else f"then it becomes {step}"
        waits = f"waits for the sign-off of {' or '.join(use_case.approvers)} (`offerloop approve`, or the console); {then}"
        return Outcome("shadow", reason, waits)
    plan = desk.ledger.plan(use_case.name)
    payload = {"use_case": use_case.name, "release_id": release_id}
    with closing(Inbox(desk.layout.ledger)) as inbox:
        inbox.trigger(ROLLOUT, "train", f"{release_id}@{plan.version if plan else 0}", payload, desk.clock.now_us())
    begins = f"begins with {first:.0%} of the traffic" if first else f"becomes {step}"
    return Outcome("shadow", reason, f"{begins}; the flow `rollout` takes it on")


def conclude_experiment(ledger: Ledger, use_case: str, conclusion: Conclusion, act: Act) -> None:
    """Promote, refuse or retire the release that was compared with the champion, as the comparison says.

    Others that were compared at the same time are retired when one is promoted: what they were compared with is gone.

    Raises:
        StepRefused: its stage does not allow it, or the plan is not the one that was measured; nothing is done.
    """
    if conclusion.step == "promote":
        promote_over_others(ledger, use_case, conclusion.release_id, act)
    elif conclusion.step == "refuse":
        reject(ledger, use_case, conclusion.release_id, act)
    elif conclusion.step == "retire":
        retire(ledger, use_case, conclusion.release_id, act)


def promote_over_others(ledger: Ledger, use_case: str, release_id: str, act: Act) -> TrafficPlan:
    """Let an arm become champion and end the other experiments, in one step: all of it, or nothing.

    Raises:
        StepRefused: it has no arm; the plan is not the one that the actor looked at.
    """
    name = "become champion"
    with ledger.taking(use_case, act, name, release_id) as step:
        plan = step.plan()
        arms = {arm.release_id: arm.name for arm in plan.arms[1:]} if plan else {}
        if plan is None or release_id not in arms:
            raise StepRefused(release_id, name, "it is not compared with the champion")
        if (stage := step.release(release_id).stage) != stage_of(arms.pop(release_id)):
            raise StepRefused(release_id, name, f"it is {stage}")
        for other in arms:
            ended = replace(act, reason=f"{release_id}, compared at the same time, becomes champion")
            step.set_stage(other, "retired", step.append(ended, "retired", other))
        alone = (Arm(CHAMPION, release_id, 1.0),)
        shadow = None if plan.shadow == release_id else plan.shadow
        after = structs.replace(plan, version=plan.version + 1, arms=alone, shadow=shadow)
        row = step.append(act, "champion", release_id, after)
        step.set_stage(plan.champion.release_id, "retired", row)
        step.set_stage(release_id, "champion", row)
        return after


def _refusal(place: Place, use_case: str, release_id: str, version: int) -> str:
    """Why the replica that answers refuses a release; empty when it has taken the plan, or when none answers: the next start will tell.

    A release that waits for its features is none that is refused: it serves as soon as they are made.
    """
    address = f"{own_address(place.settings)}/v1/status"
    headers = {"authorization": f"Bearer {owner_key(place.layout)}"}
    until, waits = time.monotonic() + SEEN_S, f"the decision API has not taken plan {version} after {SEEN_S:.0f} s"
    while time.monotonic() < until:
        try:
            answer = httpx.get(address, headers=headers, timeout=2.0, trust_env=False)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            print(f"the decision API does not say whether it takes {release_id} ({error})")
            return ""
        for status in answer.json()["use_cases"]:
            if status["use_case"] == use_case:
                refused = status["refused"].get(release_id)
                if refused is not None and refused != WAITING:
                    return str(refused)
                if refused == WAITING:
                    waits = f"{release_id} is catching up: it {WAITING}, and serves as soon as they are"
                elif status["plan_version"] >= version:
                    return ""
        time.sleep(0.1)
    print(waits)
    return ""
