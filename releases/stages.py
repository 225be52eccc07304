"""The steps of a release: candidate → shadow → canary or challenger → champion → retired; or refused. And back.

Each is one transaction on the ledger: checks, stage, traffic plan and ledger row together. A step that is already taken changes nothing, so
that a flow may run again. With `Act.expected_version` a step is taken only under the plan that the actor looked at. A step that is refused
leaves a row `denied`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from msgspec import structs

from contracts.errors import StepRefused
from contracts.traffic import CANARY, CHALLENGER, CHAMPION, Arm, Stage, TrafficPlan, stage_of
from releases.ledger import Act, Ledger, LedgerRow, ReleaseRow, Step

_ALLOWED: dict[str, tuple[Stage, ...]] = {
    "enter the shadow": ("candidate", "retired"),
    f"become {CANARY}": ("shadow",),
    f"become {CHALLENGER}": ("shadow", "canary"),
    "become champion": ("shadow", "canary", "challenger"),
    "be refused": ("candidate", "shadow", "canary", "challenger", "retired"),
    "be retired": ("candidate", "shadow", "canary", "challenger"),
}
"""From which stages each step may be taken."""


def register(ledger: Ledger, use_case: str, release_id: str, digest: str, act: Act) -> ReleaseRow:
    """Note a new release as a candidate, with its bundle's whole digest. Once: registering it again changes nothing.

    Raises:
        StepRefused: the id is known with another digest or for another use case.
    """
    with ledger.taking(use_case, act, "be registered", release_id) as step:
        return _register(step, release_id, digest, act)


def start(ledger: Ledger, use_case: str, release_id: str, digest: str, control_share: float, act: Act) -> TrafficPlan:
    """Make a first release champion of a use case that has no traffic plan yet, registering it if need be.

    Raises:
        StepRefused: the use case has a plan.
        DefinitionError: `control_share` is not in [0, 1).
    """
    with ledger.taking(use_case, act, "start the use case", release_id) as step:
        if (now := step.plan()) is not None:
            _refuse(release_id, "start the use case", f"{now.champion.release_id} is champion already; take it through the shadow")
        if (stage := _register(step, release_id, digest, act).stage) != "candidate":
            _refuse(release_id, "start the use case", f"it is {stage}")
        champion = (Arm(CHAMPION, release_id, 1.0),)
        plan = TrafficPlan(use_case, 1, control_share, champion, salt=f"{use_case}:1", control_salt=f"{use_case}:control")
        step.set_stage(release_id, "champion", step.append(act, "start", release_id, plan))
        return plan


def to_shadow(ledger: Ledger, use_case: str, release_id: str, act: Act) -> TrafficPlan:
    """Let a release score beside the champion, unseen. The release that was in the shadow is retired.

    Raises:
        StepRefused: its stage does not allow it; the plan has changed since the actor looked.
        NotFound: it is not registered.
    """
    with ledger.taking(use_case, act, "enter the shadow", release_id) as step:
        plan = _plan(step, release_id, "enter the shadow", act)
        return plan if plan.shadow == release_id else _enter_shadow(step, plan, release_id, act)


def to_challenger(
    ledger: Ledger, use_case: str, release_id: str, share: float, act: Act, arm: str = CHALLENGER, *, by_way_of_shadow: bool = False
) -> TrafficPlan:
    """Give a release a share of the entities outside control, beside the champion; or change its share.

    A first experiment beside the champion draws anew who is in it. After that entities move between the champion and this arm alone.

    Args:
        share: of the entities outside control.
        arm: `canary`, `challenger`, or `challenger_` and a name of its own, where several are compared at once.
        by_way_of_shadow: one that is not in the shadow enters it first, with a row of its own in the same transaction.

    Raises:
        StepRefused: its stage does not allow it; the arm is another release's; `share` leaves the champion nothing; the plan has changed.
        NotFound: it is not registered.
        DefinitionError: `arm` is no name of one.
    """
    stage = stage_of(arm)
    name = f"become {stage}"
    with ledger.taking(use_case, act, name, release_id) as step:
        plan = _plan(step, release_id, name, act)
        if (arm, release_id, share) in [(other.name, other.release_id, other.share) for other in plan.arms]:
            return plan
        holder = next((other.release_id for other in plan.arms if other.name == arm), release_id)
        if holder != release_id:
            _refuse(release_id, name, f"{holder} is {arm} now; promote, refuse or retire it first")
        if by_way_of_shadow and step.release(release_id).stage in _ALLOWED["enter the shadow"]:
            plan = _enter_shadow(step, plan, release_id, act)
            act = replace(act, expected_version=None)
        if step.release(release_id).stage != stage:
            _check(step, release_id, name)
        rest = 1.0 - share - sum(other.share for other in plan.arms[1:] if other.release_id != release_id)
        if not (share > 0.0 and rest > 0.0):
            _refuse(release_id, name, f"a share of {share} would leave {rest:g} to the champion; both must be above 0")
        arms = plan.with_arm(arm, release_id, share)
        salt = f"{use_case}:{plan.version + 1}" if len(plan.arms) == 1 else plan.salt
        shadow = None if plan.shadow == release_id else plan.shadow
        row = step.append(act, stage, release_id, _next(plan, arms=arms, shadow=shadow, salt=salt))
        step.set_stage(release_id, stage, row)
        return _changed(row)


def to_champion(ledger: Ledger, use_case: str, release_id: str, act: Act) -> TrafficPlan:
    """Let a release answer everybody outside control. The champion before it is retired.

    Raises:
        StepRefused: its stage does not allow it; another release is in an experiment against the champion; the plan has changed.
        NotFound: it is not registered.
    """
    with ledger.taking(use_case, act, "become champion", release_id) as step:
        plan = _plan(step, release_id, "become champion", act)
        if plan.champion == Arm(CHAMPION, release_id, 1.0):
            return plan
        _check(step, release_id, "become champion")
        others = [arm.release_id for arm in plan.arms[1:] if arm.release_id != release_id]
        if others:
            _refuse(
                release_id,
                "become champion",
                f"{', '.join(others)} is being compared with the champion; promote, refuse or retire it first",
            )
        shadow = None if plan.shadow == release_id else plan.shadow
        row = step.append(act, "champion", release_id, _next(plan, arms=(Arm(CHAMPION, release_id, 1.0),), shadow=shadow))
        step.set_stage(plan.champion.release_id, "retired", row)
        step.set_stage(release_id, "champion", row)
        return _changed(row)


def reject(ledger: Ledger, use_case: str, release_id: str, act: Act) -> ReleaseRow:
    """Refuse a release for good: it leaves the shadow or its experiment, and can take no further step.

    Raises:
        StepRefused: it is champion (roll back first); the plan has changed.
        NotFound: it is not registered.
    """
    return _leave(ledger, use_case, release_id, act, "refused", "be refused")


def retire(ledger: Ledger, use_case: str, release_id: str, act: Act) -> ReleaseRow:
    """End a release's time in the shadow or in an experiment without a verdict; it may enter the shadow again.

    Raises:
        StepRefused: it is champion (roll back instead) or refused; the plan has changed.
        NotFound: it is not registered.
    """
    return _leave(ledger, use_case, release_id, act, "retired", "be retired")


def rollback(ledger: Ledger, use_case: str, act: Act, to: str | None = None) -> TrafficPlan:
    """Put the previous champion, or a named release, back before everybody outside control, alone.

    A second rollback goes one champion further back, not forth again. Control's entities stay the same; experiments end, and their releases
    are retired with the champion that leaves. Naming the present champion only ends the experiments.

    Raises:
        StepRefused: there is no earlier champion; the named release never was champion or was refused; there is nothing to undo.
        NotFound: the named release is not registered.
    """
    with ledger.taking(use_case, act, "be rolled back to", to) as step:
        plan = _plan(step, to or "-", "be rolled back to", act)
        target = to or _previous(step, plan)
        stage = step.release(target).stage
        if stage == "refused" or all(_changed(row).champion.release_id != target for row in step.plans()):
            _refuse(target, "be rolled back to", "it was refused" if stage == "refused" else f"it is {stage} and never was champion")
        if plan.arms == (Arm(CHAMPION, target, 1.0),):
            _refuse(target, "be rolled back to", "it answers everybody already")
        shadow = None if plan.shadow == target else plan.shadow
        row = step.append(act, "rollback", target, _next(plan, arms=(Arm(CHAMPION, target, 1.0),), shadow=shadow))
        for arm in plan.arms:
            step.set_stage(arm.release_id, "retired", row)
        step.set_stage(target, "champion", row)
        return _changed(row)


def previous_champion(ledger: Ledger, use_case: str) -> str:
    """The champion that a rollback goes back to.

    Raises:
        StepRefused: none came before this one.
    """
    with ledger.step(use_case) as step:
        plan = _plan(step, "-", "be rolled back", Act("", 0, ""))
        return _previous(step, plan)


def withhold(ledger: Ledger, use_case: str, candidate_ids: Sequence[str], act: Act) -> TrafficPlan:
    """Show these candidates to nobody from now on, whatever release answers: they are sold out, or stopped by hand.

    Raises:
        StepRefused: the use case has no plan, or it has changed since the actor looked.
    """
    return _withheld(ledger, use_case, candidate_ids, act, "withhold")


def restore(ledger: Ledger, use_case: str, candidate_ids: Sequence[str], act: Act) -> TrafficPlan:
    """Let candidates that were withheld be shown again, where their rules allow it; raises as `withhold`."""
    return _withheld(ledger, use_case, candidate_ids, act, "restore")


def _withheld(ledger: Ledger, use_case: str, candidate_ids: Sequence[str], act: Act, action: str) -> TrafficPlan:
    with ledger.taking(use_case, act, action, None) as step:
        plan = _plan(step, "-", action, act)
        kept = [name for name in plan.withheld if name not in candidate_ids]
        after = tuple(sorted({*kept, *(candidate_ids if action == "withhold" else ())}))
        if after == plan.withheld:
            return plan
        return _changed(step.append(act, action, None, structs.replace(plan, version=plan.version + 1, withheld=after)))


def _enter_shadow(step: Step, plan: TrafficPlan, release_id: str, act: Act) -> TrafficPlan:
    _check(step, release_id, "enter the shadow")
    row = step.append(act, "shadow", release_id, _next(plan, shadow=release_id))
    if plan.shadow:
        step.set_stage(plan.shadow, "retired", row)
    step.set_stage(release_id, "shadow", row)
    return _changed(row)


def _register(step: Step, release_id: str, digest: str, act: Act) -> ReleaseRow:
    if step.registered(release_id):
        known = step.release(release_id)
        if known.digest != digest:
            _refuse(release_id, "be registered", f"it is known with the digest {known.digest}")
        return known
    step.set_stage(release_id, "candidate", step.append(act, "register", release_id), digest)
    return step.release(release_id)


def _leave(ledger: Ledger, use_case: str, release_id: str, act: Act, stage: Stage, name: str) -> ReleaseRow:
    with ledger.taking(use_case, act, name, release_id) as step:
        now = step.release(release_id)
        step.check_version(act, name, release_id)
        if now.stage == stage:
            return now
        _check(step, release_id, name)
        plan = step.plan()
        after = None
        if plan is not None and release_id in plan.releases:
            after = _next(plan, arms=plan.without_arm(release_id), shadow=None if plan.shadow == release_id else plan.shadow)
        step.set_stage(release_id, stage, step.append(act, stage, release_id, after))
        return step.release(release_id)


def _plan(step: Step, release_id: str, name: str, act: Act) -> TrafficPlan:
    plan = step.plan()
    if plan is None:
        _refuse(release_id, name, f"{step.use_case} has no champion yet; start it with a first release")
    step.check_version(act, name, release_id)
    return plan


def _check(step: Step, release_id: str, name: str) -> None:
    stage = step.release(release_id).stage
    if stage not in _ALLOWED[name]:
        _refuse(release_id, name, f"it is {stage}; it would have to be {' or '.join(_ALLOWED[name])}")


def _next(plan: TrafficPlan, *, arms: tuple[Arm, ...] = (), shadow: str | None, salt: str = "") -> TrafficPlan:
    return structs.replace(plan, version=plan.version + 1, arms=arms or plan.arms, salt=salt or plan.salt, shadow=shadow)


def _previous(step: Step, plan: TrafficPlan) -> str:
    for release_id in reversed(_champions(step.plans())[:-1]):
        if step.release(release_id).stage != "refused":
            return release_id
    _refuse(plan.champion.release_id, "be rolled back", "no champion came before it")


def _champions(rows: list[LedgerRow]) -> list[str]:
    """The champions as a stack: each new one on top of the one it replaced; a rollback takes off what is above its target."""
    stack: list[str] = []
    for row in rows:
        champion = _changed(row).champion.release_id
        if row.action == "rollback" and champion in stack:
            while stack[-1] != champion:
                stack.pop()
        elif not stack or stack[-1] != champion:
            stack.append(champion)
    return stack


def _changed(row: LedgerRow) -> TrafficPlan:
    assert row.plan is not None
    return row.plan


def _refuse(release_id: str, step: str, reason: str) -> NoReturn:
    raise StepRefused(release_id, step, reason)
