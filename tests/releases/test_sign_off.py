from contextlib import suppress

import msgspec
import pytest

from contracts.errors import NotFound, StepRefused
from releases import stages
from releases.ledger import Act, Ledger
from releases.sign_off import Approval, Subject, approval_at, approval_of, approve

USE_CASE = "shop"
SUBJECT = Subject("digest-b", "digest-a", "digest-s")
APPROVERS = ("ada", "bob")


def act(actor: str = "ada", comment: str = "looked at all", at: int = 5, version: int | None = None) -> Act:
    return Act(actor, at, comment, version)


@pytest.fixture
def started(ledger: Ledger) -> Ledger:
    """Champion a; b in the shadow."""
    stages.start(ledger, USE_CASE, "a", "digest-a", 0.1, act(at=1))
    stages.register(ledger, USE_CASE, "b", "digest-b", act(at=2))
    stages.to_shadow(ledger, USE_CASE, "b", act(at=3))
    return ledger


def signed(ledger: Ledger, given: Act, subject: Subject = SUBJECT) -> Approval:
    return approve(ledger, USE_CASE, "b", subject, APPROVERS, given)


def test_an_approval_says_who_approved_what_and_why(started: Ledger) -> None:
    approval = signed(started, act())
    assert (approval.actor, approval.comment, approval.subject, approval.void) == ("ada", "looked at all", SUBJECT, "")
    row = started.rows(limit=1)[0]
    assert (row.id, row.action, row.release_id, row.plan) == (approval.ledger_id, "approve", "b", None)
    assert approval_of(started, "b", SUBJECT, APPROVERS) == approval


def test_approving_the_same_again_changes_nothing(started: Ledger) -> None:
    assert signed(started, act()) == signed(started, act(at=9))
    assert [row.action for row in started.rows(limit=2)] == ["approve", "shadow"]


@pytest.mark.parametrize(
    "changed, why",
    [("release", "not what it was"), ("champion", "another champion than serves now"), ("scenarios", "scenarios it was looked at on")],
)
def test_an_approval_is_void_as_soon_as_anything_has_changed(started: Ledger, changed: str, why: str) -> None:
    signed(started, act())
    found = approval_of(started, "b", msgspec.structs.replace(SUBJECT, **{changed: "another"}), APPROVERS)
    assert found is not None
    assert why in found.void


def test_an_approval_is_void_once_who_gave_it_may_not_any_more(started: Ledger) -> None:
    signed(started, act())
    found = approval_of(started, "b", SUBJECT, ("bob",))
    assert found is not None
    assert "ada may not sign it off any more" in found.void


def test_an_approval_is_void_once_the_release_was_rolled_back(started: Ledger) -> None:
    signed(started, act())
    stages.to_champion(started, USE_CASE, "b", act())
    stages.rollback(started, USE_CASE, act("bob", "it harms people"))
    found = approval_of(started, "b", SUBJECT, APPROVERS)
    assert found is not None
    assert found.void == "bob rolled it back since: it harms people"
    again = signed(started, act(comment="it was something else"))
    assert approval_of(started, "b", SUBJECT, APPROVERS) == again
    assert started.rolled_back("a") is None


def test_another_comment_is_another_row(started: Ledger) -> None:
    assert signed(started, act()).ledger_id < signed(started, act(comment="and once more")).ledger_id


def test_what_was_void_can_be_approved_again(started: Ledger) -> None:
    now = msgspec.structs.replace(SUBJECT, champion="another")
    signed(started, act())
    signed(started, act("bob"), now)
    found = approval_of(started, "b", now, APPROVERS)
    assert found is not None
    assert (found.actor, found.void) == ("bob", "")


def test_an_approval_is_found_as_of_a_moment(started: Ledger) -> None:
    signed(started, act(at=10))
    assert approval_at(started, "b", 9) is None
    assert approval_at(started, "b", 10) is not None


@pytest.mark.parametrize(
    "given, why",
    [
        (act("eve"), "eve may not sign it off; those who may are ada, bob"),
        (act(comment=" "), "a comment is asked for"),
        (act(version=1), "at version 2 now, you looked at 1"),
    ],
)
def test_an_approval_that_does_not_count_is_refused_and_noted(started: Ledger, given: Act, why: str) -> None:
    with pytest.raises(StepRefused, match=why):
        signed(started, given)
    row = started.rows(limit=1)[0]
    assert (row.action, row.actor, row.details["asked"]) == ("denied", given.actor, "be approved")
    assert approval_of(started, "b", SUBJECT, APPROVERS) is None


def test_nobody_may_approve_where_no_one_is_named(started: Ledger) -> None:
    with pytest.raises(StepRefused, match="names nobody in `approvers`"):
        approve(started, USE_CASE, "b", SUBJECT, (), act())


def test_a_release_that_is_refused_or_unknown_cannot_be_approved(started: Ledger) -> None:
    stages.reject(started, USE_CASE, "b", act())
    with pytest.raises(StepRefused, match="it is refused"):
        signed(started, act())
    with pytest.raises(NotFound):
        approve(started, USE_CASE, "x", SUBJECT, ("ada",), act())
    with suppress(NotFound):
        approve(started, USE_CASE, "x", SUBJECT, ("ada",), act())
    assert [row.action for row in started.rows(limit=3)] == ["denied", "denied", "refused"]
