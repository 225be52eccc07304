"""What people and flows do to releases: approve, refuse, take a step further, go back. The same for command line, console and flows.

Each act checks first that the release can be served here and is signed off where its use case asks for it; then it is one step of
`releases.stages`. What is refused changes nothing, and leaves a row `denied` in the ledger.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

from contracts.clock import Clock, to_datetime
from contracts.digests import digest_of
from contracts.errors import InvalidInput, NotFound, StepRefused
from contracts.traffic import CANARY, TrafficPlan
from releases import sign_off, stages
from releases.bundle import Bundle
from releases.inbox import Inbox
from releases.ledger import Act, Ledger, LedgerRow, ReleaseRow
from releases.sign_off import Approval, Subject
from serving.live import load_release
from storage.layout import Layout
from use_cases.definition import UseCase

ROLLOUT = "rollout"
"""The flow that takes a release further, and the name of its rows in the inbox."""


@dataclass(frozen=True)
class Desk:
    """An installation as its operator sees it."""

    layout: Layout
    ledger: Ledger
    use_cases: Mapping[str, UseCase]
    clock: Clock

    def use_case(self, name: str) -> UseCase:
        """A use case that runs here.

        Raises:
            NotFound: there is none of that name.
        """
        if name not in self.use_cases:
            raise NotFound("use case", name, tuple(self.use_cases))
        return self.use_cases[name]


@dataclass(frozen=True, slots=True)
class Then:
    """What served at a moment.

    Attributes:
        row: of the ledger, which put `plan` in force.
        releases: those that answered people, by arm, as the ledger knows them.
        approvals: by release, those given until then; none where nobody was asked.
    """

    plan: TrafficPlan
    row: LedgerRow
    releases: Mapping[str, ReleaseRow]
    approvals: Mapping[str, Approval]


def subject(desk: Desk, use_case: str, release_id: str) -> Subject:
    """What a person looks at who signs a release off now.

    Raises:
        NotFound: the use case, or its release, is not known.
        StepRefused: the use case has no champion yet.
    """
    known, release = desk.use_case(use_case), _release(desk, use_case, release_id)
    plan = _plan(desk, use_case, release_id, "be signed off")
    champion = desk.ledger.release(plan.champion.release_id)
    return Subject(release.digest, champion.digest, digest_of([asdict(scenario) for scenario in known.scenarios]))


def approval_of(desk: Desk, use_case: str, release_id: str) -> Approval | None:
    """The newest approval of a release, `void` where something has changed since; None where nobody approved it. Raises as `subject`."""
    return sign_off.approval_of(desk.ledger, release_id, subject(desk, use_case, release_id), desk.use_case(use_case).approvers)


def waiting_for_sign_off(desk: Desk, use_case: str) -> tuple[ReleaseRow, ...]:
    """Releases in the shadow that may go on as soon as somebody signs them off."""
    if not desk.use_case(use_case).approvers:
        return ()
    shadows = [row for row in desk.ledger.releases(use_case) if row.stage == "shadow"]
    return tuple(row for row in shadows if not _valid(approval_of(desk, use_case, row.release_id)))


def approve(
    desk: Desk,
    use_case: str,
    release_id: str,
    actor: str,
    comment: str,
    *,
    subject_digest: str | None = None,
    expected_version: int | None = None,
) -> Approval:
    """Sign a release off as it is now, and let the flow `rollout` take it on.

    Args:
        desk, use_case, release_id: whose.
        actor: a person, one of the use case's approvers.
        comment: what was looked at and why it may go on; stands in the ledger.
        subject_digest: of what the person has looked at; something else by now refuses.
        expected_version: of the traffic plan that the person has looked at.

    Raises:
        StepRefused: the actor is no approver; something has changed since it was looked at; its stage does not allow it.
        BundleRefused: its bundle is not what the ledger says, or cannot be served.
        NotFound: the use case, or its release, is not known.
    """
    act = _act(desk, actor, comment, expected_version)
    known = desk.use_case(use_case)
    with desk.ledger.denying(use_case, act, "be approved", release_id):
        now = subject(desk, use_case, release_id)
        if subject_digest is not None and subject_digest != now.digest:
            raise StepRefused(release_id, "be approved", "what you looked at has changed since: champion, scenarios or release; look again")
        _servable(desk, use_case, release_id)
    approval = sign_off.approve(desk.ledger, use_case, release_id, now, known.approvers, act)
    with closing(Inbox(desk.layout.ledger)) as inbox:
        payload = {"use_case": use_case, "release_id": release_id}
        # why: who approves once more wants it to go on, also where an earlier run came to nothing
        inbox.trigger(ROLLOUT, "sign-off", f"approved:{approval.ledger_id}@{act.at}", payload, act.at)
    return approval


def reject(desk: Desk, use_case: str, release_id: str, actor: str, comment: str, *, expected_version: int | None = None) -> ReleaseRow:
    """Refuse a release for good: it leaves the shadow, its canary or its experiment.

    Raises:
        StepRefused: it is champion (roll back first), or the plan has changed.
        NotFound: the use case, or its release, is not known.
    """
    desk.use_case(use_case)
    return stages.reject(desk.ledger, use_case, release_id, _act(desk, actor, comment, expected_version))


def promote(
    desk: Desk,
    use_case: str,
    release_id: str,
    actor: str,
    reason: str,
    *,
    at_once: bool = False,
    expected_version: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> TrafficPlan:
    """Take a release one step further on its way: into the shadow, to the next share of a canary, and at last to champion.

    Args:
        desk, use_case, release_id: whose.
        actor: a person or a flow.
        reason: stands in the ledger, with `details`.
        at_once: from the shadow or a canary straight to champion.
        expected_version: of the traffic plan that the actor has looked at.

    Raises:
        StepRefused: it is not signed off; its gate refused it, or does not let it replace the champion; its stage does not allow it; the
            plan has changed.
        BundleRefused: its bundle is not what the ledger says, or cannot be served.
        NotFound: the use case, or its release, is not known.
    """
    act = _act(desk, actor, reason, expected_version, details)
    rollout = desk.use_case(use_case).rollout
    with desk.ledger.denying(use_case, act, "be promoted", release_id):
        release = _release(desk, use_case, release_id)
        plan = _plan(desk, use_case, release_id, "be promoted")
        bundle = _servable(desk, use_case, release_id)
        _check_gate(bundle, "be promoted", to_champion=release.stage in ("shadow", "canary"))
        if release.stage not in ("candidate", "retired"):
            check_signed_off(desk, use_case, release_id, "be promoted")
    # why: the step is worked out from this plan, so it must still be in force when it is taken
    act = replace(act, expected_version=plan.version if expected_version is None else expected_version)
    if release.stage in ("candidate", "retired"):
        return stages.to_shadow(desk.ledger, use_case, release_id, act)
    held = next((arm.share for arm in plan.arms[1:] if arm.release_id == release_id), 0.0)
    share = None if at_once or release.stage == "challenger" else rollout.after(held)
    if share is None:
        return stages.to_champion(desk.ledger, use_case, release_id, act)
    return stages.to_challenger(desk.ledger, use_case, release_id, share, act, CANARY)


def challenge(
    desk: Desk,
    use_case: str,
    release_id: str,
    actor: str,
    reason: str,
    *,
    share: float,
    arm: str,
    expected_version: int | None = None,
) -> TrafficPlan:
    """Compare a release with the champion live, on a share of the entities outside control; or change its share.

    One that is not in the shadow is put there first, in the place of the one that is.

    Args:
        desk, use_case, release_id: whose.
        actor: a person or a flow.
        reason: stands in the ledger.
        share: of the entities outside control. `arm`: see `releases.stages.to_challenger`.
        expected_version: of the traffic plan that the actor has looked at.

    Raises:
        StepRefused: it is not signed off; its gate refused it; its stage does not allow it; the plan has changed.
        BundleRefused: its bundle is not what the ledger says, or cannot be served.
        NotFound: the use case, or its release, is not known.
    """
    act = _act(desk, actor, reason, expected_version)
    with desk.ledger.denying(use_case, act, "be compared", release_id):
        _release(desk, use_case, release_id)
        plan = _plan(desk, use_case, release_id, "be compared")
        _check_gate(_servable(desk, use_case, release_id), "be compared", to_champion=False)
        check_signed_off(desk, use_case, release_id, "be compared")
    # why: it was signed off beside the champion of this plan
    act = replace(act, expected_version=plan.version if expected_version is None else expected_version)
    return stages.to_challenger(desk.ledger, use_case, release_id, share, act, arm, by_way_of_shadow=True)


def roll_back(
    desk: Desk,
    use_case: str,
    actor: str,
    reason: str,
    *,
    to: str | None = None,
    at_us: int | None = None,
    expected_version: int | None = None,
) -> TrafficPlan:
    """Put an earlier champion back before everybody, with all that belongs to it: model, features, catalogue, policy, settings.

    Its schema has to be one that this code takes in: what its features read of events is checked. How outcomes become rewards stays the
    code's, since the yardstick does not change with what it measures.

    Args:
        desk, use_case: whose.
        actor: a person or a flow.
        reason: stands in the ledger.
        to: an earlier champion, or `at_us`: a moment at which it was champion; by default the one before this.
        expected_version: of the traffic plan that the actor has looked at.

    Raises:
        StepRefused: there is nothing to go back to; the plan has changed.
        NeedsOtherCode: it was made by other code, which has to be redeployed; the message names it.
        BundleRefused: its bundle is damaged.
        NotFound: the use case, or its release, is not known.
        InvalidInput: both `to` and `at_us` are given.
    """
    act = _act(desk, actor, reason, expected_version)
    desk.use_case(use_case)
    with desk.ledger.denying(use_case, act, "be rolled back to", to):
        if to is not None and at_us is not None:
            raise InvalidInput("at", "names a moment, and a release is named as well", "one of them")
        if at_us is not None:
            then = desk.ledger.live_at(use_case, at_us)
            if then is None:
                raise StepRefused("-", "be rolled back to", f"nothing served {use_case} at {to_datetime(at_us):%Y-%m-%d %H:%M:%S} UTC")
            to = then.champion.release_id
        target = to or stages.previous_champion(desk.ledger, use_case)
        _release(desk, use_case, target)
        _servable(desk, use_case, target)
    return stages.rollback(desk.ledger, use_case, act, target)


def live_at(desk: Desk, use_case: str, at_us: int) -> Then:
    """What served at a moment, since when, by whose step and with whose approval.

    Raises:
        NotFound: the use case is not known, or nothing served it then.
    """
    desk.use_case(use_case)
    row = desk.ledger.put_in_force_at(use_case, at_us)
    if row is None or row.plan is None:
        raise NotFound(f"release that served {use_case} at", f"{to_datetime(at_us):%Y-%m-%d %H:%M:%S} UTC")
    releases = {arm.name: desk.ledger.release(arm.release_id) for arm in row.plan.arms}
    given = {known.release_id: sign_off.approval_at(desk.ledger, known.release_id, at_us) for known in releases.values()}
    return Then(row.plan, row, releases, {name: approval for name, approval in given.items() if approval is not None})


def check_signed_off(desk: Desk, use_case: str, release_id: str, step: str) -> None:
    """See that a release may reach people.

    Raises:
        StepRefused: its use case asks for a sign-off, and there is none, or one that is void.
    """
    approvers = desk.use_case(use_case).approvers
    if not approvers:
        return
    approval = approval_of(desk, use_case, release_id)
    if approval is None:
        raise StepRefused(
            release_id, step, f"nobody has signed it off yet; {' or '.join(approvers)} may (`offerloop approve`, or the console)"
        )
    if approval.void:
        raise StepRefused(release_id, step, f"the approval by {approval.actor} is void: {approval.void}; look at it again")


def _valid(approval: Approval | None) -> bool:
    return approval is not None and not approval.void


def _act(desk: Desk, actor: str, reason: str, version: int | None, details: Mapping[str, Any] | None = None) -> Act:
    return Act(actor, desk.clock.now_us(), reason, version, details or {})


def _release(desk: Desk, use_case: str, release_id: str) -> ReleaseRow:
    known = {row.release_id: row for row in desk.ledger.releases(use_case)}
    if release_id not in known:
        raise NotFound(f"release of {use_case}", release_id, tuple(known)[-5:])
    return known[release_id]


def _plan(desk: Desk, use_case: str, release_id: str, step: str) -> TrafficPlan:
    plan = desk.ledger.plan(use_case)
    if plan is None:
        raise StepRefused(release_id, step, f"{use_case} has no champion yet; start it with a first release")
    return plan


def _servable(desk: Desk, use_case: str, release_id: str) -> Bundle:
    bundle = load_release(desk.layout, desk.use_case(use_case), release_id, desk.ledger.release(release_id).digest).bundle
    assert bundle is not None, "what is read from a folder has one"
    return bundle


def _check_gate(bundle: Bundle, step: str, *, to_champion: bool) -> None:
    """What its gate refused reaches nobody; what it does not tell from the champion replaces it by way of an experiment alone."""
    gate = bundle.parts.gate
    if not gate.get("accepted", True) or gate.get("step") == "refused":
        raise StepRefused(bundle.release_id, step, "its gate refused it")
    if to_champion and gate.get("step", "champion") == "challenger":
        reason = "its gate lets it challenge the champion, not replace it; see `offerloop challenge`"
        raise StepRefused(bundle.release_id, step, reason)
