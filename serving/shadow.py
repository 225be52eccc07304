"""Scoring by the release in the shadow: from a queue, off the answer's path, in a thread that gives way when there is too much."""

import logging
import queue
import threading
import time
from dataclasses import dataclass

from contracts.clock import Clock
from contracts.metrics import FAILED, SHADOW_SCORED
from contracts.records import Decision, ShadowScore
from decisions.decide import NOTHING_SHOWN, score_in_shadow
from decisions.record import record_shadow
from features.online import OnlineFeatures
from serving.live import Live, Release
from serving.metrics import Metrics
from storage.journal import Journal
from storage.transaction import Write

MOST_WAITING = 2_000
"""More than this waiting are passed over: the shadow must not take memory from the answers."""
MOST_TOGETHER = 64
SAID_EVERY_S = 30.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A decision that was answered, with what it was made from."""

    decision: Decision
    state: bytes | None
    live: Live
    online: OnlineFeatures


class Shadow:
    """The thread that scores in the shadow."""

    def __init__(self, journal: Journal, clock: Clock, metrics: Metrics) -> None:
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._waiting: queue.Queue[Offer | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._silent_until_s = 0.0
        self.passed_over = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Score what waits and end the thread."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def offer(self, offer: Offer) -> None:
        """Let a decision be scored when there is time; never waits."""
        try:
            self._waiting.put_nowait(offer)
        except queue.Full:
            self.passed_over += 1

    def _run(self) -> None:
        last = False
        while not last:
            together = [self._waiting.get()]
            while len(together) < MOST_TOGETHER and not self._waiting.empty():
                together.append(self._waiting.get())
            last = None in together
            try:
                self._score([offer for offer in together if offer is not None])
            except Exception:  # noqa: BLE001  why: who scores no more would leave every later release unseen
                _LOG.exception("%d decisions were not scored in the shadow", len(together))

    def _score(self, offers: list[Offer]) -> None:
        scores = [score for offer in offers if (score := self._scored_or_none(offer)) is not None]

        def keep(write: Write) -> None:
            for score in scores:
                record_shadow(write, score)

        if scores:
            self._journal.submit(keep).result()
            for score in scores:
                self._metrics.add(SHADOW_SCORED, score.use_case, score.release_id)

    def _scored_or_none(self, offer: Offer) -> ShadowScore | None:
        release = offer.live.shadow
        if release is None:
            return None
        try:
            return self._scored(offer, release)
        except Exception:  # noqa: BLE001  why: the release is not proven yet, and the others of its group are not to blame
            self._metrics.add(FAILED, offer.decision.use_case, "shadow", release.runtime.release_id)
            if time.monotonic() >= self._silent_until_s:
                self._silent_until_s = time.monotonic() + SAID_EVERY_S
                _LOG.exception("release %s failed to score a decision in the shadow", release.runtime.release_id)
            return None

    def _scored(self, offer: Offer, release: Release) -> ShadowScore:
        decision, online = offer.decision, offer.online
        row = online.read(offer.state, release.feature_set, decision.decided_at, decision.context)
        shown = NOTHING_SHOWN
        if release.runtime.eligibility.looks_back_us:
            shown = online.times_of(offer.state, "decision", "candidate_id", decision.decided_at)
        withheld = offer.live.plan.withheld
        return score_in_shadow(decision, row, release.runtime, scored_at=self._clock.now_us(), shown=shown, withheld=withheld)
