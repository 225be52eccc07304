"""Deciding within a service: what a release answers, and what stands in where it fails, cannot be read, or cannot be logged."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future

from contracts.clock import Clock
from contracts.errors import DataRefused, StaleFeatures, StoreUnavailable, Unconfirmed
from contracts.metrics import DEGRADED, FAILED
from contracts.records import DECISION_EVENT, Decision
from contracts.traffic import CONTROL
from decisions.assignment import Assignment
from decisions.decide import LOG_UNAVAILABLE, MODEL_FAILED, MODEL_GONE, NOTHING_SHOWN, DecisionRequest, decide, decide_by_rules
from features.online import OnlineFeatures
from serving.entropy import Entropy
from serving.live import Live, Release
from serving.metrics import Metrics
from storage.health import HealthCounter

DAMAGED = "state:damaged"
"""Said by a decision whose entity's state could not be read: it was made from defaults."""

UNREADABLE = "state:unavailable"
"""Said by a decision that was made from defaults because the store of states could not be read at all."""

_SAID_EVERY_S = 30.0
_LOG = logging.getLogger(__name__)


class Deciding:
    """Makes decisions of what is live; any thread may ask it.

    Args:
        online: gives what reads the states of a use case, as it is at the moment.
        clock: of the installation, `simulated` or not.
        simulated: see there.
        entropy: for draws.
        health: told of failures, as is `metrics`.
        metrics: see there.
    """

    def __init__(
        self,
        online: Callable[[str], OnlineFeatures],
        clock: Clock,
        simulated: bool,
        entropy: Entropy,
        health: HealthCounter,
        metrics: Metrics,
    ) -> None:
        self._online = online
        self._clock = clock
        self._simulated = simulated
        self._entropy = entropy
        self._health = health
        self._metrics = metrics
        self._silent_until: dict[str, float] = {}

    def made(
        self,
        request: DecisionRequest,
        state: bytes | None,
        live: Live,
        release: Release,
        assignment: Assignment,
        degraded: tuple[str, ...],
    ) -> Decision:
        """The decision that a release makes; the baseline's where it fails. Not durable yet.

        Args:
            request: the question.
            state: the entity's, or None where it has none or it cannot be read.
            live: what serves.
            release: that the assignment names.
            assignment: the entity's arm.
            degraded: what is not as declared already.

        Raises:
            StaleFeatures: a feature is older than it may be, and declares that nothing is decided then.
        """
        try:
            return self._decide(request, state, live, release, assignment, degraded)
        except StaleFeatures:
            self._count_failed(request.use_case, live, assignment)
            raise
        except Exception:  # noqa: BLE001  why: whatever a release fails with, its use case has a baseline, and who asked gets that
            self._count_failed(request.use_case, live, assignment)
            self._say_failed(release)
            return self.by_rules(request, state, live, release, assignment, (*degraded, MODEL_FAILED))

    def _decide(
        self,
        request: DecisionRequest,
        state: bytes | None,
        live: Live,
        release: Release,
        assignment: Assignment,
        degraded: tuple[str, ...],
    ) -> Decision:
        if release.bundle is None:
            return self.by_rules(request, state, live, release, assignment, (*degraded, MODEL_GONE))
        online = self._online(request.use_case)
        now_us = self._clock.now_us()
        shown = NOTHING_SHOWN
        try:
            row = online.read(state, release.feature_set, now_us, request.context)
            if state is not None and release.runtime.eligibility.looks_back_us:
                shown = online.times_of(state, DECISION_EVENT, "candidate_id", now_us)
        except DataRefused:
            _LOG.exception("the state of entity %s is damaged; defaults stand in", request.entity_id)
            degraded = (*degraded, DAMAGED)
            row = online.read(None, release.feature_set, now_us, request.context)
        if row.stale and (refusing := [name for name in row.stale if name in release.refusing]):
            raise StaleFeatures(request.entity_id, refusing)
        return decide(
            request,
            row,
            release.runtime,
            assignment,
            draw=self._entropy.draw(),
            now_us=now_us,
            shown=shown,
            withheld=live.plan.withheld,
            simulated=self._simulated,
            degraded=degraded,
        )

    def by_rules(
        self,
        request: DecisionRequest,
        state: bytes | None,
        live: Live,
        release: Release,
        assignment: Assignment,
        degraded: tuple[str, ...],
    ) -> Decision:
        """The baseline, as `made`; see `decisions.decide.decide_by_rules`."""
        online = self._online(request.use_case)
        now_us = self._clock.now_us()
        try:
            row = online.read(state, release.feature_set, now_us, request.context)
        except Exception:  # noqa: BLE001  why: what has failed may have been the reading of this state
            row = online.read(None, release.feature_set, now_us, {})
        return decide_by_rules(
            request,
            row,
            release.runtime,
            assignment,
            draw=self._entropy.draw(),
            now_us=now_us,
            withheld=live.plan.withheld,
            simulated=self._simulated,
            degraded=degraded,
        )

    def or_control(
        self,
        future: "Future[Decision]",
        request: DecisionRequest,
        live: Live,
        release: Release,
        answered: Callable[[], Decision | None],
    ) -> "Future[Decision]":
        """What a future resolves to; where the log took nothing, the baseline instead, not logged, as the use case declares.

        What the request was answered before, by `answered`, stays its answer; where that cannot be known either, it is refused.
        """
        answer: Future[Decision] = Future()

        def unlogged() -> Decision:
            assignment = Assignment(CONTROL, 1.0, release.runtime.release_id)
            decision = self.by_rules(request, None, live, release, assignment, (LOG_UNAVAILABLE,))
            self._metrics.add(DEGRADED, request.use_case, LOG_UNAVAILABLE.partition(":")[0])
            return decision

        def hand_over(logged: "Future[Decision]") -> None:
            error = logged.exception()
            if error is None:
                answer.set_result(logged.result())
            elif isinstance(error, StoreUnavailable) and not isinstance(error, Unconfirmed):
                try:
                    answer.set_result(answered() or unlogged())
                except Exception as other:  # noqa: BLE001  why: it is the caller's; whoever waits for the answer must get one
                    answer.set_exception(other)
            else:
                answer.set_exception(error)

        future.add_done_callback(hand_over)
        return answer

    def _count_failed(self, use_case: str, live: Live, assignment: Assignment) -> None:
        self._health.failed((use_case, live.plan.version, assignment.arm, assignment.release_id))
        self._metrics.add(FAILED, use_case, assignment.arm, assignment.release_id)

    def _say_failed(self, release: Release) -> None:
        """Log what failed now; of each release at most twice a minute, since it may be at every decision."""
        release_id, now_s = release.runtime.release_id, time.monotonic()
        if now_s >= self._silent_until.get(release_id, 0.0):
            self._silent_until[release_id] = now_s + _SAID_EVERY_S
            _LOG.exception("release %s failed at a decision; the baseline stands in for it", release_id)
