"""The guard of roll-outs: stops a canary whose guard-rails are broken, and asks for its next step as soon as that may come.

A thread of the dispatcher calls it several times a second. So a canary is stopped within a second or two of the evidence, whatever flows
run, and no flow has to wait for a step's time to pass: it is started when it can do something.
"""

import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from typing import Any

from contracts.clock import SECOND_US
from contracts.errors import NotFound, StepRefused, StoreUnavailable
from contracts.traffic import CANARY, CHAMPION, Arm, TrafficPlan
from decisions.canary import Limit, limits
from releases.inbox import Inbox
from releases.ledger import Act, LedgerRow, ReleaseRow
from releases.stages import reject
from serving.operations import ROLLOUT, Desk, waiting_for_sign_off
from storage.health import Health, read_health
from storage.rollouts import CanaryMeasure, LimitMeasure, RolloutMeasure, write_rollouts
from use_cases.definition import CanaryStep, UseCase

ACTOR = "flow guard"

COMPARED_WITH = "compared_with"
"""In the details of the ledger row `shadow`: the champion that its gate compared a release with."""

AGAIN_S = 60.0
"""Real seconds after which a step that waits for evidence is asked for again at the earliest; else after as long as it lasts at least."""

SHOWN_S = 1.0
"""Real seconds between two writings of what is seen."""


NOT_TAKEN_S = 15.0
"""Real seconds that replicas have to take a plan, before a canary whose bundle one refused earlier counts as refused now."""

SAID_S = 5.0
"""Real seconds between two complaints of one use case."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A canary at a look.

    Attributes:
        row: where it stands, and since when.
        step: of the use case's roll-out; None for a share that no step has, given by hand: it is watched, and stays as it is.
        ours: its health since the step began; `theirs` the champion's.
        limits: its guard-rails.
    """

    use_case: UseCase
    plan: TrafficPlan
    row: ReleaseRow
    arm: Arm
    step: CanaryStep | None
    ours: Health
    theirs: Health
    limits: tuple[Limit, ...]

    @property
    def until_us(self) -> int:
        """Until when, on the installation's clock, the step lasts at least."""
        return self.row.changed_at + (self.step.at_least_us if self.step else 0)

    def missing(self, now_us: int) -> str:
        """What the step's minimum still lacks, in words; empty once it has come."""
        if self.step is None:
            return f"a share of {self.arm.share:.0%} was given by hand, and is no step of its roll-out"
        lacks = []
        if now_us < self.until_us:
            lacks.append(f"{(self.until_us - now_us) / SECOND_US / 3_600:.1f} hours")
        if self.ours.decided < self.step.decisions:
            lacks.append(f"{self.step.decisions - self.ours.decided} decisions")
        return " and ".join(lacks)

    @property
    def details(self) -> dict[str, Any]:
        """The figures, for the ledger."""
        return {
            "share": self.arm.share,
            "limits": {limit.name: {name: value for name, value in asdict(limit).items() if name != "name"} for limit in self.limits},
            "canary": _counts(self.ours),
            "champion": _counts(self.theirs) | {"release_id": self.plan.champion.release_id},
        }


def see(desk: Desk, use_case: UseCase) -> Seen | None:
    """The canary of a use case, and how it does; None where there is none."""
    plan = desk.ledger.plan(use_case.name)
    arm = next((arm for arm in plan.arms if arm.name == CANARY), None) if plan else None
    if plan is None or arm is None:
        return None
    row = desk.ledger.release(arm.release_id)
    began = began_with(desk, row)
    health = read_health(desk.layout, use_case.name, began.plan.version if began.plan else plan.version)
    ours = health.get((CANARY, arm.release_id), Health())
    theirs = health.get((CHAMPION, plan.champion.release_id), Health())
    rollout = use_case.rollout
    judged = limits(
        ours,
        theirs,
        max_failed=rollout.max_failed,
        max_degraded=rollout.max_degraded,
        max_latency=rollout.max_latency,
        judged_from=rollout.judged_from,
    )
    return Seen(use_case, plan, row, arm, rollout.step_of(arm.share), ours, theirs, judged)


def began_with(desk: Desk, release: ReleaseRow) -> LedgerRow:
    """The ledger row that brought a release where it stands."""
    return desk.ledger.rows(before=release.ledger_id + 1, limit=1)[0]


def compared_with(entered: LedgerRow, plan: TrafficPlan) -> str:
    """The champion that the gate of a release in the shadow compared it with; where no flow noted it, the one beside which it entered."""
    beside = (entered.plan or plan).champion.release_id
    return str(entered.details.get(COMPARED_WITH, beside))


@dataclass
class Guard:
    """Watches the roll-outs of an installation.

    Attributes:
        desk: the installation.
        inbox: where steps are asked for.
        not_taken_s: see `NOT_TAKEN_S`.
    """

    desk: Desk
    inbox: Inbox
    not_taken_s: float = NOT_TAKEN_S
    _asked: set[str] = field(default_factory=set)
    _asked_us: dict[str, int] = field(default_factory=dict)
    _shown: dict[str, RolloutMeasure] = field(default_factory=dict)
    _shown_s: float = 0.0
    _first: dict[str, tuple[float, int]] = field(default_factory=dict)
    _said_s: dict[str, float] = field(default_factory=dict)

    def look(self) -> list[str]:
        """Look at every use case once; what was done, in words. What fails for one of them keeps it from no other.

        Raises:
            StoreUnavailable: the ledger cannot be read or written now.
        """
        done: list[str] = []
        show = not self._shown or time.monotonic() - self._shown_s >= SHOWN_S
        measured = dict(self._shown)
        for name, use_case in self.desk.use_cases.items():
            try:
                seen = see(self.desk, use_case)
                done += self._watch(seen) if seen else self._wake(use_case)
                if show:
                    measured[name] = self._measure(name, seen)
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  why: whatever it is, it is said, and must not leave the others unwatched
                done += self._failed(name, error)
        if show:
            self._show(measured)
        return done

    def _failed(self, name: str, error: Exception) -> list[str]:
        if time.monotonic() - self._said_s.get(name, -SAID_S) < SAID_S:
            return []
        self._said_s[name] = time.monotonic()
        traceback.print_exception(error, file=sys.stderr)
        return [f"{name}: LOOKING AT IT FAILED ({error}); its canary is not watched until it succeeds"]

    def _watch(self, seen: Seen) -> list[str]:
        reasons = [limit.words for limit in seen.limits if limit.broken] + self._refused(seen)
        if reasons:
            return self._stop(seen, "; ".join(reasons))
        now_us = self.desk.clock.now_us()
        if seen.missing(now_us):
            return []
        assert seen.step is not None
        # why: a step that waits for evidence is asked for again, and each time is one row, also after a new start
        again_us = max(seen.step.at_least_us, round(AGAIN_S * SECOND_US * self.desk.clock.scale))
        step = f"{seen.row.release_id}@{seen.plan.version}"
        if now_us - self._asked_us.get(step, -again_us) < again_us:
            return []
        self._asked_us[step] = now_us
        return self._ask(seen.use_case.name, seen.row.release_id, f"{step}:{(now_us - seen.until_us) // max(again_us, 1)}")

    def _stop(self, seen: Seen, reason: str) -> list[str]:
        name, release_id = seen.use_case.name, seen.row.release_id
        act = Act(ACTOR, self.desk.clock.now_us(), f"stopped as canary at {seen.arm.share:.0%}: {reason}", seen.plan.version, seen.details)
        try:
            reject(self.desk.ledger, name, release_id, act)
        except StepRefused as error:
            return [f"{name}: {release_id} is not stopped, since something else came first: {error}"]
        # why: the flow lets the registry's aliases follow
        self._ask(name, release_id, f"{release_id}@stopped:{seen.row.ledger_id}")
        return [f"{name}: {release_id} {act.reason}"]

    def _refused(self, seen: Seen) -> list[str]:
        """What a replica that refuses the canary's bundle says of it."""
        rows = self.desk.ledger.rows(seen.use_case.name, release_id=seen.row.release_id, action="refuse", limit=1)
        return [f"a replica cannot serve it: {row.reason}" for row in rows if row.id > seen.row.ledger_id or self._not_taken(seen)]

    def _not_taken(self, seen: Seen) -> bool:
        """Whether decisions have been made for a while, and none under a plan with the canary's step: replicas go on with the one before.

        A replica says once why it refuses a bundle, so its complaint may be older than the step.
        """
        name, step = seen.use_case.name, f"{seen.row.release_id}@{seen.row.ledger_id}"
        ever = sum(health.asked for health in read_health(self.desk.layout, name).values())
        since_s, before = self._first.setdefault(step, (time.monotonic(), ever))
        began = began_with(self.desk, seen.row).plan or seen.plan
        taken = any(health.asked for health in read_health(self.desk.layout, name, began.version).values())
        return not taken and ever > before and time.monotonic() - since_s >= self.not_taken_s

    def _wake(self, use_case: UseCase) -> list[str]:
        """Ask again for a release that waited in the shadow while another was compared with the champion, once that has ended."""
        plan = self.desk.ledger.plan(use_case.name)
        if plan is None or plan.shadow is None or len(plan.arms) > 1:
            return []
        key = f"{plan.shadow}@{plan.version}"
        if key in self._asked:
            return []
        try:
            entered = began_with(self.desk, self.desk.ledger.release(plan.shadow))
        except NotFound:
            return []
        before = entered.plan
        waited = before is not None and before.version != plan.version and compared_with(entered, plan) == plan.champion.release_id
        if waited and entered.details.get("promote", "shadow") != "shadow":
            return self._ask(use_case.name, plan.shadow, key)
        # why: only what was read to the end is not read again; a ledger that could not be read is asked again
        self._asked.add(key)
        return []

    def _ask(self, use_case: str, release_id: str, key: str) -> list[str]:
        if key in self._asked:
            return []
        payload = {"use_case": use_case, "release_id": release_id}
        self.inbox.trigger(ROLLOUT, "guard", key, payload, self.desk.clock.now_us())
        self._asked.add(key)
        return [f"{use_case}: the next step of {release_id} may come"]

    def _show(self, now: dict[str, RolloutMeasure]) -> None:
        self._shown_s = time.monotonic()
        if now != self._shown:
            write_rollouts(self.desk.layout, now)
            self._shown = now

    def _measure(self, name: str, seen: Seen | None) -> RolloutMeasure:
        # why: before its first release a use case has nobody to compare with
        plan = self.desk.ledger.plan(name)
        waiting = waiting_for_sign_off(self.desk, name) if plan is not None and plan.shadow else ()
        return RolloutMeasure(_canary(seen) if seen else None, tuple(row.release_id for row in waiting))


def _canary(seen: Seen) -> CanaryMeasure:
    steps = seen.use_case.rollout.steps
    return CanaryMeasure(
        release_id=seen.row.release_id,
        share=seen.arm.share,
        step=steps.index(seen.step) + 1 if seen.step else 0,
        steps=len(steps),
        began_us=seen.row.changed_at,
        until_us=seen.until_us,
        decisions=seen.ours.asked,
        needed=seen.step.decisions if seen.step else 0,
        failed=seen.ours.failed,
        degraded=seen.ours.degraded,
        limits=tuple(LimitMeasure(**asdict(limit), words=limit.words) for limit in seen.limits),
    )


def _counts(health: Health) -> dict[str, Any]:
    slowest = health.quantile(0.99)
    return {"decided": health.decided, "failed": health.failed, "degraded": health.degraded, "slowest_hundredth_s": slowest}
