"""A whole campaign in memory: the game's players, the real decisions over the real features, and no installation around them.

Time jumps from tick to tick, and nothing is written to disk, so that a month of decisions takes a minute. Features come from
`features.online`, arms from `decisions.assignment`, answers from `decisions.decide` with a release's own runtime. What is left out is HTTP,
the journal and the tables, which change no answer.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np
import polars as pl

from contracts.clock import DAY_US, MINUTE_US, SECOND_US
from contracts.records import DECISION_EVENT, Decision, Event, FieldValue, event_of_decision
from contracts.traffic import CHAMPION, Arm, TrafficPlan
from decisions.assignment import assign
from decisions.decide import DecisionRequest, ReleaseRuntime, decide
from decisions.record import make_event
from features.online import OnlineFeatures, retention
from features.skew import SkewReport
from simulator.people import Bools, Floats, Ints
from simulator.play import history, match_events, open_sessions, play_matches, purchase_events, session_events, session_id, settle
from simulator.settings import WorldSettings
from simulator.truth import Standing, standing
from simulator.world import World
from training.dataset import TrainingSet
from use_cases.definition import UseCase
from use_cases.game_promotion.events import CHANNELS, COUNTRIES, PLATFORMS

START_US = 20_000 * DAY_US
STEP_US = 30 * MINUTE_US


@dataclass(frozen=True, eq=False)
class Played:
    """Decisions in the order they were made; n of them, K candidates, F features. Rewards are complete.

    Attributes:
        rows: `decision_id, entity_id, decided_at, arm, release_id, source, propensity, reward`.
        expected: (n, K) what each candidate would truly have earned, in dollars: known to nobody but the simulator.
    """

    rows: pl.DataFrame
    features: Floats
    action: Ints
    eligible: Bools
    p_in_arm: Floats
    expected: Floats

    def __len__(self) -> int:
        return self.rows.height

    def standing(self, rows: Bools, nothing: int) -> Standing:
        """The standing of the decisions that `rows` picks."""
        return standing(self.expected[rows], self.eligible[rows], self.action[rows], nothing)


class Rehearsal:
    """One campaign: a world, what is known of its players, the traffic plan, and the log.

    Args:
        use_case: one over the game's catalogue and events.
        seed: of the world and of the draws.
        settings: of the world.
        history_days: of play before the first decision.
    """

    def __init__(self, use_case: UseCase, seed: int, settings: WorldSettings | None = None, history_days: float = 7.0) -> None:
        self.use_case = use_case
        self.now_us = START_US
        self.world = World(use_case.catalogue, seed, START_US, settings)
        self.plan = TrafficPlan(
            use_case.name, 1, use_case.control_share, (Arm(CHAMPION, "start", 1.0),), salt=f"{seed}:1", control_salt=f"{seed}:control"
        )
        self._runtimes: dict[str, ReleaseRuntime] = {}
        self._online = OnlineFeatures(use_case.schema, retention([use_case.feature_set], [use_case.catalogue]))
        self._states: dict[str, bytes] = {}
        self._draw = np.random.default_rng([seed, 4])
        self._later: list[tuple[int, int, Event]] = []
        self._number = count()
        self._profiled = np.zeros(len(self.world.people.names), dtype=np.bool_)
        self._decided: list[Decision] = []
        self._rewards: list[int] = []
        self._expected: list[Floats] = []
        self._remember(history_days)

    def serve(self, plan: TrafficPlan, runtimes: Mapping[str, ReleaseRuntime]) -> None:
        """Let a traffic plan answer from now on."""
        self._runtimes |= runtimes
        self.plan = plan

    def play(self, decisions: int) -> None:
        """Play on until so many more decisions were made."""
        until = len(self._decided) + decisions
        while len(self._decided) < until:
            self.now_us += STEP_US
            self._tick()

    @property
    def decided(self) -> int:
        """Decisions made so far."""
        return len(self._decided)

    def played(self) -> Played:
        """Everything decided so far. The newest rewards are those of purchases still to come."""
        catalogue, made = self.use_case.catalogue, self._decided
        eligible = np.zeros((len(made), len(catalogue.candidates)), dtype=np.bool_)
        p_in_arm = np.zeros(eligible.shape)
        for row, decision in enumerate(made):
            for candidate in decision.candidates:
                place = catalogue.index[candidate.candidate_id]
                eligible[row, place] = True
                p_in_arm[row, place] = candidate.p_in_arm
        rows = pl.DataFrame(
            {
                "decision_id": [decision.decision_id for decision in made],
                "entity_id": [decision.entity_id for decision in made],
                "decided_at": [decision.decided_at for decision in made],
                "arm": [decision.arm for decision in made],
                "release_id": [decision.release_id for decision in made],
                "source": ["served"] * len(made),
                "propensity": [decision.propensity for decision in made],
                "reward": self._rewards,
            }
        )
        return Played(
            rows,
            np.array([decision.features for decision in made]),
            np.array([catalogue.index[decision.action] for decision in made]),
            eligible,
            p_in_arm,
            np.concatenate(self._expected).astype(np.float64),
        )

    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Decisions and outcomes so far, with the columns of the tables that a live comparison reads."""
        made = self._decided
        decisions = pl.DataFrame(
            {
                "decision_id": [decision.decision_id for decision in made],
                "entity_id": [decision.entity_id for decision in made],
                "decided_at": [decision.decided_at for decision in made],
                "arm": [decision.arm for decision in made],
                "release_id": [decision.release_id for decision in made],
                "action": [decision.action for decision in made],
                "degraded": [list(decision.degraded) for decision in made],
                "feature_set": [decision.feature_set for decision in made],
                "features": [list(decision.features) for decision in made],
            },
            schema_overrides={"degraded": pl.List(pl.String)},
        )
        rewards = pl.Series("reward", self._rewards)
        happened = pl.col("decided_at") + self.use_case.outcome_window_us - 1
        outcomes = decisions.select("decision_id", rewards, event_time=happened, ingested_time=happened, kind=pl.lit("purchase"))
        return decisions, outcomes.filter(pl.col("reward") != 0)

    def training_set(self) -> TrainingSet:
        """What `training.dataset.build` makes of such a log."""
        played = self.played()
        return TrainingSet(
            use_case=self.use_case,
            rows=played.rows,
            features=np.ascontiguousarray(played.features),
            action=played.action,
            eligible=played.eligible,
            p_in_arm=played.p_in_arm,
            entity=played.rows["entity_id"].rank("dense").cast(pl.Int64).to_numpy() - 1,
            backfilled=0,
            skew=SkewReport(0, 0, {}, ()),
        )

    def _tick(self) -> None:
        world, now_us = self.world, self.now_us
        self._profiles()
        self._deliver(now_us)
        sessions = open_sessions(world, now_us)
        if not len(sessions):
            return
        for event in session_events(world, sessions, "g"):
            self._apply(make_event(event.event_id, event.entity_id, event.type, now_us, dict(event.fields), ingested_time=now_us))
        decided_us = now_us + SECOND_US
        made = [
            self._decide(session_id(world, sessions, row, "g"), world.people.names[player], decided_us)
            for row, player in enumerate(sessions.players)
        ]
        actions = np.array([world.catalogue.index[decision.action] for decision in made], dtype=np.int64)
        matches = play_matches(world, sessions)
        bought = settle(world, sessions, actions, np.full(len(sessions), decided_us))
        rewards = np.zeros(len(sessions), dtype=np.int64)
        rewards[bought.rows] = bought.micros
        self._decided += made
        self._rewards += rewards.tolist()
        self._expected.append(sessions.chances.expected.astype(np.float32))
        for event in (*match_events(world, sessions, matches, "g"), *purchase_events(world, sessions, bought, actions, "g")):
            self._keep(event.event_id, event.entity_id, event.type, int(event.event_time or 0), dict(event.fields))

    def _decide(self, decision_id: str, entity_id: str, now_us: int) -> Decision:
        assignment = assign(self.plan, entity_id)
        runtime = self._runtimes[assignment.release_id]
        state = self._states.get(entity_id)
        row = self._online.read(state, self.use_case.feature_set, now_us, {})
        shown = self._online.times_of(state, DECISION_EVENT, "candidate_id", now_us)
        request = DecisionRequest(decision_id, self.use_case.name, entity_id)
        decision = decide(request, row, runtime, assignment, draw=self._draw.random(), now_us=now_us, shown=shown, simulated=True)
        self._apply(event_of_decision(decision))
        return decision

    def _remember(self, days: float) -> None:
        self._profiles()
        for event in history(self.world, days):
            at = int(event.event_time or 0)
            self._apply(make_event(event.event_id, event.entity_id, event.type, at, dict(event.fields), ingested_time=at))

    def _profiles(self) -> None:
        people = self.world.people
        for player in np.flatnonzero((people.joined_us <= self.now_us) & ~self._profiled):
            fields = {
                "country": COUNTRIES[people.country[player]],
                "platform": PLATFORMS[people.platform[player]],
                "channel": CHANNELS[people.channel[player]],
            }
            at = int(people.joined_us[player])
            self._apply(make_event(f"f-{player}", people.names[player], "profile", at, dict(fields), ingested_time=at))
            self._profiled[player] = True

    def _keep(self, event_id: str, entity_id: str, kind: str, at: int, fields: dict[str, FieldValue]) -> None:
        heapq.heappush(self._later, (at, next(self._number), make_event(event_id, entity_id, kind, at, fields, ingested_time=at)))

    def _deliver(self, now_us: int) -> None:
        while self._later and self._later[0][0] <= now_us:
            self._apply(heapq.heappop(self._later)[2])

    def _apply(self, event: Event) -> None:
        self._states[event.entity_id] = self._online.apply(self._states.get(event.entity_id), event, in_bulk=True)[0]
