"""The time over which an arm is compared with the champion, as the ledger's traffic plans and the log tell it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from contracts.traffic import Arm, TrafficPlan
from decisions.assignment import assign

History: TypeAlias = Sequence[tuple[int, TrafficPlan]]
"""Traffic plans and since when each was in force, oldest first."""

MOST_SEARCHED = 50_000
"""Decisions after a change of plan among which its first is looked for."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time over which an arm is compared with the champion.

    Attributes:
        since_us: when the arm got its release and share; earlier decisions do not count.
        drawn_us: when entities were drawn into arms by the present salt: what was known of them at their first decision since then, no arm
            has had an effect on.
        changed_us: when any arm's share last changed.
        plans: that were in force since `since_us`, each composition of arms once; the present one last.
        before: the plan before `since_us`; `before_change` the one before `changed_us`. None where the history does not say.
    """

    since_us: int
    drawn_us: int
    changed_us: int
    plans: tuple[TrafficPlan, ...]
    before: TrafficPlan | None = None
    before_change: TrafficPlan | None = None


def span_of(history: History, plan: TrafficPlan, arm: Arm, since_us: int) -> Span:
    """The time over which an arm of a plan is compared, as the history says; all of it since `since_us` where there is none.

    Other arms that come and go do not begin it anew: see `compare`.
    """
    alike = _while(history, lambda other: _drawn_as(plan, other))
    drawn = alike[-1][0] if alike else since_us
    champion = plan.champion.release_id
    since = _while(history, lambda other: _drawn_as(plan, other) and arm in other.arms and other.champion.release_id == champion)
    changed = _while(history, lambda other: _drawn_as(plan, other) and other.arms == plan.arms)
    begun = since[-1][0] if since else since_us
    layouts = {other.arms: other for at, other in since if other.arms != plan.arms}
    return Span(
        since_us=begun,
        drawn_us=min(drawn, begun),
        changed_us=changed[-1][0] if changed else begun,
        plans=(*layouts.values(), plan),
        before=_before(history, len(since)),
        before_change=_before(history, len(changed)),
    )


def in_force(decisions: pl.DataFrame, plan: TrafficPlan, before: TrafficPlan | None, at: int) -> int:
    """When a plan was first answered by.

    Replicas follow the ledger within a second, and until then the plan before answers; on a simulated clock that second is hours.

    Args:
        decisions: outside control, with `entity_id, decided_at, arm` and `release_id`.
        plan: the plan.
        before: the one before it; None where it is not known, or there was none.
        at: when the ledger changed.

    Returns:
        The time of the first decision that only this plan gives; `at` where there is none.
    """
    if before is None:
        return at
    later = decisions.filter(pl.col("decided_at") >= at).select("decided_at", "entity_id", "arm", "release_id").sort("decided_at")
    for decided_at, entity, arm, release in later.head(MOST_SEARCHED).iter_rows():
        now, earlier = assign(plan, entity), assign(before, entity)
        if (arm, release) == (now.arm, now.release_id) != (earlier.arm, earlier.release_id):
            return int(decided_at)
    return at


def steady(entities: Sequence[str], plans: Sequence[TrafficPlan]) -> list[str]:
    """The entities that all plans put into the same arm with the same release."""
    kept = []
    for entity in entities:
        found = {(assignment.arm, assignment.release_id) for assignment in (assign(plan, entity) for plan in plans)}
        if len(found) == 1:
            kept.append(entity)
    return kept


def _before(history: History, newest: int) -> TrafficPlan | None:
    """The plan before so many newest ones."""
    return history[-newest - 1][1] if newest and len(history) > newest else None


def _while(history: History, holds: Callable[[TrafficPlan], bool]) -> History:
    """The newest plans for which something holds, back to the first for which it does not; newest first."""
    found = []
    for at, plan in reversed(history):
        if not holds(plan):
            break
        found.append((at, plan))
    return found


def _drawn_as(plan: TrafficPlan, other: TrafficPlan) -> bool:
    """Whether two plans draw entities into arms alike, but for the arms' shares."""
    if len(other.arms) < 2:
        return False
    return (plan.salt, plan.control_salt, plan.control_share) == (other.salt, other.control_salt, other.control_share)
