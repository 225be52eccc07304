"""The decision service itself, without HTTP and without Ray: decide, accept, say what is live."""

import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from functools import partial
from time import perf_counter
from types import TracebackType

from contracts.clock import DAY_US
from contracts.errors import DataRefused, NotFound, NotReady, OfferloopError
from contracts.metrics import ACTIONS, DECISION_SECONDS, DECISIONS, DEGRADED, FEATURE_AGE_SECONDS, LOG_REFUSES, NOT_AS_DECLARED
from contracts.records import Decision, FieldValue
from contracts.settings import Settings
from decisions.assignment import assign
from decisions.decide import MODEL_FAILED, DecisionRequest
from decisions.record import ApplyEvent, Foreseen, answered, foresee, record_decision, stored_decision
from decisions.scorer import engine
from features.compaction import CompactionReport, compact
from features.coverage import cover
from features.rebuild import RebuildReport, rebuild, restore
from releases.ledger import Ledger
from serving.catching_up import CatchingUp
from serving.contents import Contents
from serving.deciding import UNREADABLE, Deciding
from serving.entropy import Entropy
from serving.intake import Intake, Part, SentEvents, SentOutcomes, mending, receipt
from serving.keys import Keys
from serving.known_keys import KnownKeys
from serving.live import Live, Watcher
from serving.messages import DecisionAnswer, Receipt, ReleaseStatus, Status, UseCaseStatus, check_context
from serving.metrics import Metrics
from serving.shadow import Offer, Shadow
from storage.health import HealthCounter
from storage.installation import open_installation
from storage.journal import Journal
from storage.latest_moment import LatestMoment
from storage.layout import Layout
from storage.tables import Tables
from storage.transaction import Read, Write
from use_cases.definition import UseCase, load_all

_LOG = logging.getLogger(__name__)


class DecisionService:
    """Decides and accepts for the use cases of an installation. Open it once a process, and close it, or use it in a `with` block.

    Everything that returns a `Future` has done its reading and computing when it returns; the future resolves once the record is on disk.

    Args:
        settings: of the installation.
        use_cases: by name; by default those that the settings name.
        metrics: what to count in.

    Raises:
        StateRefused: the state is another installation's.
        StoreUnavailable: a store cannot be opened.
    """

    def __init__(self, settings: Settings, use_cases: Mapping[str, UseCase] | None = None, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.layout = Layout(settings.folder)
        self.layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.installation = open_installation(self.layout, settings.clock)
        self.clock = self.installation.clock
        self._latest_moment = LatestMoment(self.layout)
        self._latest_moment.meet()
        self.use_cases = load_all(settings.use_cases, settings.approvers) if use_cases is None else use_cases
        self.metrics = metrics or Metrics()
        self.health = HealthCounter(self.layout)
        self.ledger = Ledger(self.layout.ledger, later=True)
        self.journal = Journal(self.layout.journal, settings.store.map_size_bytes)
        self.tables = Tables(self.layout.tables)
        self._catching_up = CatchingUp(self.layout, self.journal, lambda name: self._watcher.online(name))
        self._watcher = Watcher(self.layout, self.ledger, self.use_cases, self.clock, self.metrics, self._catching_up, self._each_round)
        self._shadow = Shadow(self.journal, self.clock, self.metrics)
        self._intakes = {name: self._intake(use_case) for name, use_case in self.use_cases.items()}
        self._entropy = Entropy()
        online, simulated = self._watcher.online, self.installation.simulated
        self._deciding = Deciding(online, self.clock, simulated, self._entropy, self.health, self.metrics)
        self._contents = Contents(self.layout, self._watcher.live)
        self._known_keys = KnownKeys(self.layout)

    def start(self) -> None:
        """Make ready what the traffic plans name, and follow them and the keys from now on."""
        self._known_keys.start()
        self._watcher.start()
        self._shadow.start()

    def close(self) -> None:
        """End the threads, having made durable what was accepted, and close the stores."""
        self._watcher.stop()
        self._known_keys.stop()
        self._catching_up.stop()
        self._shadow.stop()
        self.journal.close()
        self.ledger.close()
        self._publish_health(at_once=True)
        self.metrics.flush()

    def __enter__(self) -> "DecisionService":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def keys(self) -> Keys:
        """The keys that are accepted."""
        return self._known_keys.now

    def decide(
        self, use_case: str, entity_id: str, context: Mapping[str, FieldValue] | None = None, decision_id: str | None = None
    ) -> Decision:
        """What to show an entity now, durable when it is returned.

        Raises:
            NotFound: no such use case.
            NotReady: it serves no release yet.
            InvalidInput: the context breaks its contract.
            Conflict: the id was answered for another question.
            StoreUnavailable: the decision could not be made durable; nothing was decided.
            StaleFeatures: a feature is older than it may be, and declares that nothing is decided then.
        """
        return self.submit(use_case, entity_id, context or {}, decision_id).result()

    def submit(
        self, use_case: str, entity_id: str, context: Mapping[str, FieldValue], decision_id: str | None = None
    ) -> "Future[Decision]":
        """Decide now; the future resolves when the decision is durable. The same id gets the answer that was given first.

        Raises:
            NotFound, NotReady: as `decide`. What else it raises, the future does.
        """
        asked_s = perf_counter()
        live = self.live(use_case)
        if context:
            check_context(context)
        request = DecisionRequest(decision_id or self._entropy.new_id("d-"), use_case, entity_id, context)
        if decision_id is not None and self.journal.refusal() is not None and (known := self._answered_before(request)) is not None:
            return known
        assignment = assign(live.plan, entity_id)
        release = live.releases[assignment.release_id]
        made: list[tuple[Decision, bytes | None]] = []

        def prepare(read: Read | None) -> Callable[[Write], Decision]:
            state: bytes | None = None
            if read is not None:
                if decision_id is not None and (found := answered(read, request)) is not None:
                    return lambda write: found
                state = read.get_state(use_case, entity_id)
            decision = self._deciding.made(request, state, live, release, assignment, () if read is not None else (UNREADABLE,))
            made.append((decision, state))
            # why: processes write in turn, so as little as can be is left for then; the id and the state are looked at once more
            foreseen = self._foreseen(decision, state)
            return lambda write: record_decision(write, decision, self._applying(use_case, write), foreseen)

        future = self.journal.submit_prepared(prepare)
        future.add_done_callback(partial(self._after, made, live, asked_s))
        if self.use_cases[use_case].unlogged == "control":
            return self._deciding.or_control(future, request, live, release, lambda: self._answered(request))
        return future

    def submit_events(self, use_case: str, sent: SentEvents) -> "list[Future[Part]]":
        """Take events in; see `serving.intake`.

        Raises:
            NotFound: no such use case.
        """
        return self._intake_of(use_case).submit_events(sent)

    def submit_outcomes(self, use_case: str, sent: SentOutcomes) -> "list[Future[Part]]":
        """Take outcomes in; see `serving.intake`.

        Raises:
            NotFound: no such use case.
        """
        return self._intake_of(use_case).submit_outcomes(sent)

    def accept_events(self, use_case: str, sent: SentEvents) -> Receipt:
        """Take events in, durable when it returns.

        Raises:
            NotFound: no such use case.
            Conflict: every id was accepted before with other content.
            StoreUnavailable: some could not be made durable; send all again.
        """
        return receipt([future.result() for future in self.submit_events(use_case, sent)])

    def accept_outcomes(self, use_case: str, sent: SentOutcomes) -> Receipt:
        """Take outcomes in, durable when it returns; raises as `accept_events`."""
        return receipt([future.result() for future in self.submit_outcomes(use_case, sent)])

    def apply_event(self, use_case: str) -> ApplyEvent:
        """What lets an entity's features see an event, for those who write to the journal in bulk. It refuses a damaged state.

        Raises:
            NotFound: no such use case.
        """
        return partial(self._watcher.online(self._known(use_case).name).apply, in_bulk=True)

    def rebuild(self, use_case: str, entities: Collection[str] | None = None) -> RebuildReport:
        """Make feature states anew from the tables and the journal, of these entities or of all, while answers go on.

        Raises:
            NotFound: no such use case.
            StoreUnavailable: it could not be made durable; what was done stays, and doing it again does no harm.
        """
        name = self._known(use_case).name
        kept = self._catching_up.kept(name)
        report = rebuild(self.journal, self.tables, self.use_cases[name].schema, self._watcher.online(name), entities)
        if entities is None:
            self.journal.write(lambda write: cover(write, name, kept))
        return report

    def compact(self, use_case: str) -> CompactionReport:
        """Drop from feature states what no window needs any more.

        Raises:
            NotFound: no such use case.
        """
        name = self._known(use_case).name
        return compact(self.journal, name, self._watcher.online(name), self.clock.now_us())

    def decision(self, use_case: str, decision_id: str) -> Decision:
        """A decision's row of the log.

        Raises:
            NotFound: no such use case or decision.
        """
        self._known(use_case)
        with self.journal.read() as read:
            found = stored_decision(read, use_case, decision_id)
        if found is None:
            raise NotFound("decision", decision_id)
        return found

    def answer(self, decision: Decision) -> DecisionAnswer:
        """What the client is told of a decision."""
        return DecisionAnswer(
            decision_id=decision.decision_id,
            entity_id=decision.entity_id,
            action=decision.action,
            content=self._contents.of(decision),
            propensity=decision.propensity,
            release_id=decision.release_id,
            arm=decision.arm,
            arm_probability=decision.arm_probability,
            degraded=decision.degraded,
            decided_at=decision.decided_at,
            expires_at=decision.expires_at,
        )

    def live(self, use_case: str) -> Live:
        """What serves a use case on this replica.

        Raises:
            NotFound: no such use case.
            NotReady: it serves no release yet.
        """
        live = self._watcher.live(use_case)
        if live is None:
            self._known(use_case)
            raise NotReady(f"use case `{use_case}`", "it has no release that can serve yet")
        return live

    def ready(self) -> bool:
        """Whether every use case serves a release."""
        return all(self._watcher.live(name) is not None for name in self.use_cases)

    def lost(self) -> str | None:
        """Why another process must take this one's place; None while it need not, as where the log refuses for all."""
        return self.journal.lost()

    def status(self) -> Status:
        """What serves now."""
        return Status(
            self.installation.installation_id,
            self.installation.simulated,
            self.clock.now_us(),
            [self._status(name) for name in self.use_cases],
        )

    def look(self) -> None:
        """Look at the traffic plans now, rather than within a quarter of a second."""
        self._watcher.look()

    def _foreseen(self, decision: Decision, state: bytes | None) -> Foreseen | None:
        try:
            return foresee(decision, state, self._watcher.online(decision.use_case).apply)
        except DataRefused:
            # why: who writes makes a damaged state anew
            return None

    def _answered_before(self, request: DecisionRequest) -> "Future[Decision] | None":
        """The answer to what was answered before, which needs no writing; None where it was not."""
        done: Future[Decision] = Future()
        try:
            found = self._answered(request)
        except OfferloopError as error:
            done.set_exception(error)
            return done
        if found is None:
            return None
        done.set_result(found)
        return done

    def _answered(self, request: DecisionRequest) -> Decision | None:
        with self.journal.read() as read:
            return answered(read, request)

    def _after(self, made: list[tuple[Decision, bytes | None]], live: Live, asked_s: float, future: "Future[Decision]") -> None:
        if future.cancelled() or future.exception() is not None or not made:
            return
        kept = future.result()
        decision, state = made[-1]
        if kept.decided_at != decision.decided_at or kept.draw != decision.draw:
            return
        metrics, seconds = self.metrics, perf_counter() - asked_s
        if MODEL_FAILED not in kept.degraded:
            self.health.decided((kept.use_case, live.plan.version, kept.arm, kept.release_id), seconds, degraded=bool(kept.degraded))
        metrics.add(DECISIONS, kept.use_case, kept.arm, kept.release_id)
        metrics.observe(DECISION_SECONDS, kept.use_case, kept.arm, value=seconds)
        if kept.degraded:
            metrics.add(NOT_AS_DECLARED, kept.use_case, kept.arm, kept.release_id)
        metrics.add(ACTIONS, kept.use_case, kept.action)
        for reason in kept.degraded:
            metrics.add(DEGRADED, kept.use_case, reason.partition(":")[0])
        if (oldest := max(kept.ages_us, default=-1)) >= 0:
            metrics.observe(FEATURE_AGE_SECONDS, kept.use_case, value=oldest / 1e6)
        if live.plan.shadow is not None:
            self._shadow.offer(Offer(kept, state, live, self._watcher.online(kept.use_case)))

    def _known(self, use_case: str) -> UseCase:
        found = self.use_cases.get(use_case)
        if found is None:
            raise NotFound("use case", use_case, tuple(self.use_cases))
        return found

    def _intake_of(self, use_case: str) -> Intake:
        return self._intakes[self._known(use_case).name]

    def _intake(self, use_case: UseCase) -> Intake:
        horizon_us = self.settings.store.idempotency_days * DAY_US
        online = partial(self._applying, use_case.name)
        return Intake(use_case, self.journal, self.clock, self.installation.simulated, self.metrics, horizon_us, online)

    def _applying(self, use_case: str, write: Write, in_bulk: bool = False) -> ApplyEvent:
        online = self._watcher.online(use_case)
        schema = self.use_cases[use_case].schema
        return mending(partial(online.apply, in_bulk=in_bulk), lambda entity_id: restore(write, self.tables, schema, online, entity_id))

    def _status(self, use_case: str) -> UseCaseStatus:
        live = self._watcher.live(use_case)
        if live is None:
            return UseCaseStatus(use_case, False, 0, 0.0, [], None, {})
        arms = [
            ReleaseStatus(arm.name, arm.release_id, arm.share, engine(live.releases[arm.release_id].runtime.scorer))
            for arm in live.plan.arms
        ]
        return UseCaseStatus(use_case, True, live.plan.version, live.plan.control_share, arms, live.plan.shadow, live.refused)

    def _each_round(self) -> None:
        self._latest_moment.meet()
        for name in self.use_cases:
            self.metrics.set(LOG_REFUSES, name, value=float(self.journal.refusal() is not None))
        self._known_keys.look()
        self._publish_health()

    def _publish_health(self, *, at_once: bool = False) -> None:
        try:
            self.health.publish(at_once=at_once)
        except OSError:
            _LOG.exception("the health of releases cannot be published; what serves serves on")
