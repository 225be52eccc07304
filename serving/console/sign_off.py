"""Sign-off: champion and candidate side by side on the use case's personas, and one person's yes or no to exactly that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from contracts.errors import BundleRefused, InvalidInput
from contracts.traffic import CHAMPION, TrafficPlan
from releases.diff import diff
from releases.ledger import ReleaseRow
from releases.sign_off import Subject
from serving import operations
from serving.console import charts
from serving.console.asking import Asked, Done, Page
from serving.console.desk import Office
from serving.console.releases import judged
from serving.operations import approval_of, subject, waiting_for_sign_off
from serving.scenarios import Beside, Played, side_by_side
from storage.measures import Interval
from use_cases.definition import UseCase

OPEN = ("candidate", "shadow", "canary", "challenger", "retired")
"""Stages in which a release may be signed off."""

LIKELY = 5
"""Offers of a persona that are shown; the others are behind a click."""


@dataclass(frozen=True, slots=True)
class Side:
    """One release before a persona, with the scale of its bars."""

    title: str
    played: Played
    scale: charts.Scale
    others: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A persona, and what each release would show it."""

    beside: Beside
    sides: tuple[Side, ...]


def waiting(asked: Asked) -> Page:
    """Releases that wait for a sign-off, and those that were signed off."""
    office = asked.office
    use_case = office.use_case(asked.path["use_case"])
    content = {
        "here": "sign-off",
        "use_case": use_case,
        "plan": office.plan(use_case.name),
        "waiting": waiting_for_sign_off(office.desk, use_case.name) if office.plan(use_case.name) else (),
        "given": office.ledger.rows(use_case.name, limit=20, action="approve"),
    }
    return Page("sign_offs.html", content)


def page(asked: Asked) -> Page:
    """What is looked at before a release is signed off, and the form."""
    office = asked.office
    use_case = office.use_case(asked.path["use_case"])
    row = office.release(use_case.name, asked.path["release_id"])
    plan = office.plan(use_case.name)
    looked_at = subject(office.desk, use_case.name, row.release_id) if plan else None
    scenes, trouble = _scenes(office, use_case, plan, row)
    content = {
        "here": "sign-off",
        "use_case": use_case,
        "row": row,
        "plan": plan,
        "subject": looked_at,
        "approval": approval_of(office.desk, use_case.name, row.release_id) if plan else None,
        "why_not": _why_not(asked, use_case, row, plan, trouble),
        "scenes": scenes,
        "trouble": trouble,
        "difference": _difference(office, plan, row),
        "comment": asked.form.get("comment", ""),
        "refusal": asked.refusal,
        "changed": _changed(asked, looked_at) if asked.refusal else (),
        **judged(office.known(row).bundle),
    }
    return Page("sign_off.html", content)


def decide(asked: Asked) -> Done:
    """Approve or reject what the page showed.

    Raises:
        InvalidInput: neither was asked for, or the comment is missing.
        StepRefused, BundleRefused, NotFound: as `serving.operations`.
    """
    desk, use_case, release_id = asked.office.desk, asked.path["use_case"], asked.path["release_id"]
    comment, verdict = asked.text("comment", needed=True), asked.form.get("verdict", "")
    if verdict == "approve":
        looked_at, version = asked.form.get("subject", ""), asked.number("version")
        operations.approve(desk, use_case, release_id, asked.person.name, comment, subject_digest=looked_at, expected_version=version)
        return Done(
            f"/use-cases/{use_case}/releases/{release_id}", f"You signed {release_id} off. The flow `rollout` takes it on from here."
        )
    if verdict == "reject":
        operations.reject(desk, use_case, release_id, asked.person.name, comment, expected_version=asked.number("version"))
        return Done(f"/use-cases/{use_case}/releases/{release_id}", f"You rejected {release_id}. It can take no further step.")
    raise InvalidInput("verdict", f"is {verdict[:20]!r}", "approve or reject")


def _why_not(asked: Asked, use_case: UseCase, row: ReleaseRow, plan: TrafficPlan | None, trouble: str) -> str:
    """Why this person cannot approve this release now; empty where they can."""
    who = " or ".join(use_case.approvers)
    if plan is None:
        return "The use case has no champion yet."
    if row.stage not in OPEN:
        return f"It is {row.stage}."
    if not use_case.approvers:
        return "This use case asks for no sign-off: it names nobody in `approvers`."
    if not asked.person.operates:
        return f"Your key may only look: it lacks the scope `operate`. {who} may sign it off."
    if asked.person.name not in use_case.approvers:
        return f"You are {asked.person.name}; {who} may sign it off, as the use case says in `approvers`."
    return trouble


def _scenes(office: Office, use_case: UseCase, plan: TrafficPlan | None, row: ReleaseRow) -> tuple[list[Scene], str]:
    try:
        candidate = office.ready(use_case, row.release_id)
    except BundleRefused as error:
        return [], str(error)
    champion, trouble = None, ""
    if plan is not None and plan.champion.release_id != row.release_id:
        try:
            champion = office.ready(use_case, plan.champion.release_id)
        except BundleRefused as error:
            trouble = f"The champion cannot be shown beside it. {error}"
    found = side_by_side(champion, candidate, use_case, office.clock.now_us(), plan.withheld if plan else ())
    return [Scene(beside, _sides(beside)) for beside in found], trouble


def _sides(beside: Beside) -> tuple[Side, ...]:
    sides = [(CHAMPION, beside.champion), ("candidate", beside.candidate)]
    return tuple(_side(title, played) for title, played in sides if played is not None)


def _side(title: str, played: Played) -> Side:
    amounts = [reason.amount for reason in played.why.reasons] + [played.why.rest] if played.why else []
    return Side(title, played, charts.scale_of([Interval(amount, None, None) for amount in amounts]), max(0, len(played.offers) - LIKELY))


def _difference(office: Office, plan: TrafficPlan | None, row: ReleaseRow) -> str:
    if plan is None or plan.champion.release_id == row.release_id:
        return ""
    try:
        return diff(office.bundle(plan.champion.release_id), office.bundle(row.release_id)).words
    except BundleRefused as error:
        return str(error)


def _changed(asked: Asked, now: Subject | None) -> Sequence[str]:
    """What of the subject is not what the form was about, in words."""
    if now is None:
        return ()
    words: Mapping[str, str] = {
        "release": "the release itself",
        "champion": "the champion that it is compared with",
        "scenarios": "the scenarios",
    }
    digests: Mapping[str, str] = msgspec.to_builtins(now)
    return [text for name, text in words.items() if asked.form.get(f"of_{name}", digests[name]) != digests[name]]
