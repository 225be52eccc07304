"""Sign-off: a named person approves a release, as it was looked at; the approval is void as soon as anything of that has changed."""

from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.digests import digest_of
from contracts.errors import StepRefused
from contracts.traffic import Stage
from releases.ledger import Act, Ledger, LedgerRow, Step

APPROVE = "approve"
_OPEN: tuple[Stage, ...] = ("candidate", "shadow", "canary", "challenger", "retired")
_STEP = "be approved"


class Subject(msgspec.Struct, frozen=True):
    """What a person looks at: digests of the release, of the champion beside it, and of the scenarios that both are shown on."""

    release: str
    champion: str
    scenarios: str

    @property
    def digest(self) -> str:
        """One name for all of it."""
        return digest_of(msgspec.to_builtins(self))


class Approval(msgspec.Struct, frozen=True):
    """That a person approved a release.

    Attributes:
        subject: what was looked at.
        at: logical time, in microseconds.
        void: why it does not count any more; empty while it does.
    """

    release_id: str
    subject: Subject
    actor: str
    at: int
    comment: str
    ledger_id: int
    void: str = ""


def approve(ledger: Ledger, use_case: str, release_id: str, subject: Subject, approvers: Sequence[str], act: Act) -> Approval:
    """Note that the actor approves a release as it is now; the act's reason is the comment. Saying the same again changes nothing.

    Raises:
        StepRefused: the actor is none of the approvers; the release is champion or refused; the plan has changed since the actor looked.
        NotFound: it is not registered.
    """
    with ledger.taking(use_case, act, _STEP, release_id) as step:
        if act.actor not in approvers:
            may = f"those who may are {', '.join(approvers)}" if approvers else "its use case names nobody in `approvers`"
            raise StepRefused(release_id, _STEP, f"{act.actor} may not sign it off; {may}")
        if not act.reason.strip():
            raise StepRefused(release_id, _STEP, "a comment is asked for; say what was looked at")
        release = step.release(release_id)
        if release.stage not in _OPEN:
            raise StepRefused(release_id, _STEP, f"it is {release.stage}")
        step.check_version(act, _STEP, release_id)
        before = _newest(step, release_id)
        same = before is not None and (before.actor, before.comment, before.subject) == (act.actor, act.reason, subject)
        if before is not None and same and before.ledger_id > release.ledger_id:
            return before
        details: dict[str, Any] = {"subject": msgspec.to_builtins(subject)}
        signed = Act(act.actor, act.at, act.reason, act.expected_version, details)
        return _approval(step.append(signed, APPROVE, release_id))


def approval_of(ledger: Ledger, release_id: str, subject: Subject, approvers: Sequence[str]) -> Approval | None:
    """The newest approval of a release; None where nobody approved it.

    It is void where it was given for something else than `subject`, by somebody who may not approve any more, or before the release was
    rolled back.
    """
    found = approval_at(ledger, release_id)
    if found is None:
        return None
    why = [_changed(found.subject, subject)]
    if found.actor not in approvers:
        why.append(f"{found.actor} may not sign it off any more")
    if undone := ledger.rolled_back(release_id, found.ledger_id):
        why.append(f"{undone.actor} rolled it back since: {undone.reason}")
    return msgspec.structs.replace(found, void="; ".join(filter(None, why)))


def approval_at(ledger: Ledger, release_id: str, until_us: int | None = None) -> Approval | None:
    """The newest approval of a release that was given until a moment, as it was given."""
    rows = ledger.rows(release_id=release_id, action=APPROVE, until_us=until_us, limit=1)
    return _approval(rows[0]) if rows else None


def _newest(step: Step, release_id: str) -> Approval | None:
    row = step.newest(APPROVE, release_id)
    return _approval(row) if row else None


def _approval(row: LedgerRow) -> Approval:
    assert row.release_id is not None
    subject = msgspec.convert(row.details["subject"], Subject)
    return Approval(row.release_id, subject, row.actor, row.at, row.reason, row.id)


def _changed(approved: Subject, now: Subject) -> str:
    words = {
        "release": "the release is not what it was",
        "champion": "it was compared with another champion than serves now",
        "scenarios": "the scenarios it was looked at on have changed",
    }
    return "; ".join(text for name, text in words.items() if getattr(approved, name) != getattr(now, name))
