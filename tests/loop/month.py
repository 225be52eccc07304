"""A month of the simulated game against a decision service in this process, on a machine whose clock moves when it is told to."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np

from contracts.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from contracts.records import Decision, FieldValue
from contracts.settings import ClockSettings, Settings, Store
from decisions.record import EVENT, OUTCOME
from features.materialize import refresh
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act
from releases.stages import register, start, to_champion, to_shadow
from serving.intake import read_events, read_outcomes, receipt
from serving.service import DecisionService
from simulator.play import Sessions, history, match_events, open_sessions, play_matches, purchase_events, session_events, session_id, settle
from simulator.settings import WorldSettings
from simulator.world import World
from storage.drain import drain
from storage.tables import Tables
from tests.loop.disturbance import Disturbance, body
from tests.loop.month_features import FIRST, SECOND
from training.train import start_parts
from use_cases.definition import UseCase
from use_cases.game_promotion import USE_CASE
from use_cases.game_promotion.events import CHANNELS, COUNTRIES, PLATFORMS

DAYS = 30
BATCH = 300
PATIENCE_S = 60.0


class Machine:
    """The machine's clock: it stands still until it is told to go on."""

    def __init__(self) -> None:
        self._now_ns = 1_900_000_000 * 1_000_000_000

    def time_ns(self) -> int:
        """As `time.time_ns`."""
        return self._now_ns

    def go_on(self, microseconds: int) -> None:
        """Let time pass."""
        self._now_ns += 1_000 * microseconds


@dataclass(frozen=True)
class Month:
    """What came of it.

    Attributes:
        tiles: the folder of tiles of the same events, refreshed every three days.
        use_cases: as they were in the first and in the second half, each with its own feature set.
        received: `accepted`, `duplicates` and `quarantined` messages, as the service said.
        decided: how many decisions were made; `asked_again`: how many of them were asked for twice.
    """

    tables: Tables
    tiles: Path
    use_cases: tuple[UseCase, UseCase]
    disturbance: Disturbance
    received: Counter[str]
    decided: int
    asked_again: int


class Traffic:
    """The players' side of the month, and the way to the service."""

    def __init__(self, service: DecisionService, machine: Machine, world: World, chance: Random) -> None:
        self.disturbance = Disturbance(chance)
        self.received: Counter[str] = Counter()
        self.decided = 0
        self.asked_again = 0
        self._service = service
        self._machine = machine
        self._world = world
        self._chance = chance
        self._profiled: set[int] = set()

    @property
    def now_us(self) -> int:
        """The installation's now."""
        return self._service.clock.now_us()

    def begin(self, days: float) -> None:
        """Send what players did in the days before."""
        events = _plain(list(history(self._world, days)))
        self.disturbance.send(EVENT, events, [self.now_us] * len(events))

    def step(self) -> None:
        """Let some minutes pass: what is on its way comes, players open sessions, are shown something, play and buy."""
        self._machine.go_on(self._chance.randint(5 * MINUTE_US, 40 * MINUTE_US))
        now_us = self.now_us
        self._profiles(now_us)
        sessions = open_sessions(self._world, now_us)
        self.disturbance.send(EVENT, _plain(session_events(self._world, sessions, "g")), [now_us] * len(sessions))
        self.deliver()
        if len(sessions):
            # why: what happened at the very moment of a decision does not count in it, and what happened just before does
            self._machine.go_on(self._chance.choice((0, 0, 1, 3 * SECOND_US)))
            self._after(sessions, self._decide(sessions))

    def deliver(self) -> None:
        """Hand over what has come."""
        come = self.disturbance.due(self.now_us)
        for kind in (EVENT, OUTCOME):
            messages = [message for of, message in come if of == kind]
            for first in range(0, len(messages), BATCH):
                sent = body(kind, messages[first : first + BATCH])
                if kind == EVENT:
                    parts = self._service.submit_events(USE_CASE.name, read_events(sent, BATCH))
                else:
                    parts = self._service.submit_outcomes(USE_CASE.name, read_outcomes(sent, BATCH))
                said = receipt([part.result() for part in parts])
                self.received.update(accepted=said.accepted, duplicates=said.duplicates, quarantined=len(said.quarantined))

    def end(self) -> None:
        """Wait until everything has come."""
        self._machine.go_on(max(self.disturbance.last_us - self.now_us, 0))
        self.deliver()

    def _profiles(self, now_us: int) -> None:
        joined = {int(player) for player in np.flatnonzero(self._world.people.joined_us <= now_us)}
        for player in sorted(joined - self._profiled):
            self._profile(player, f"f-{player}", int(self._world.people.joined_us[player]), int(self._world.people.country[player]))
        self._profiled |= joined
        if self._chance.random() < 0.1:
            # A correction of what was recorded wrongly days ago.
            player = self._chance.choice(sorted(joined))
            valid_us = max(now_us - self._chance.randrange(10 * DAY_US), int(self._world.people.joined_us[player]))
            self._profile(player, f"f-{player}-{now_us}", valid_us, self._chance.randrange(len(COUNTRIES)))

    def _profile(self, player: int, name: str, valid_us: int, country: int) -> None:
        people = self._world.people
        fields = {
            "country": COUNTRIES[country],
            "platform": PLATFORMS[people.platform[player]],
            "channel": CHANNELS[people.channel[player]],
        }
        said = {"event_id": name, "entity_id": people.names[player], "type": "profile", "event_time": valid_us, "fields": fields}
        self.disturbance.send(EVENT, [said], [self.now_us])

    def _decide(self, sessions: Sessions) -> list[Decision]:
        asked = []
        for row, player in enumerate(sessions.players):
            context: dict[str, FieldValue] = {"battery": self._chance.choice((0.25, 1, 97, "full", None, -0.0))}
            if self._chance.random() < 0.7:
                context["screen"] = self._chance.choice(("shop", "map", "chat", 3))
            asked.append((self._world.people.names[player], context, session_id(self._world, sessions, row, "g")))
        made = [future.result() for future in [self._service.submit(USE_CASE.name, *question) for question in asked]]
        again = [row for row in range(len(asked)) if self._chance.random() < 0.05]
        for row in again:
            same = self._service.submit(USE_CASE.name, *asked[row]).result()
            assert (same.decision_id, same.seq, same.draw, same.action) == (
                made[row].decision_id, made[row].seq, made[row].draw, made[row].action,
            )  # fmt: skip
        self.decided += len(made)
        self.asked_again += len(again)
        return made

    def _after(self, sessions: Sessions, made: Sequence[Decision]) -> None:
        world = self._world
        actions = np.array([world.catalogue.index[decision.action] for decision in made], dtype=np.int64)
        decided_us = np.array([decision.decided_at for decision in made], dtype=np.int64)
        matches = _plain(match_events(world, sessions, play_matches(world, sessions), "g"))
        bought = settle(world, sessions, actions, decided_us)
        purchases = _plain(purchase_events(world, sessions, bought, actions, "g"))
        outcomes: list[dict[str, Any]] = [
            {
                "outcome_id": event["event_id"],
                "decision_id": made[row].decision_id,
                "reward": int(micros),
                "event_time": event["event_time"],
            }
            for event, row, micros in zip(purchases, bought.rows, bought.micros, strict=True)
        ]
        for event, outcome in zip(list(purchases), list(outcomes), strict=True):
            if self._chance.random() < 0.3:
                later = event["event_time"] + self._chance.randrange(HOUR_US, 2 * DAY_US)
                given = {**event["fields"], "amount_micros": -event["fields"]["amount_micros"]}
                purchases.append({**event, "event_id": f"{event['event_id']}-r", "event_time": later, "fields": given})
                outcomes.append({**outcome, "outcome_id": f"{event['event_id']}-r", "reward": -outcome["reward"], "event_time": later})
        for kind, messages in ((EVENT, [*matches, *purchases]), (OUTCOME, outcomes)):
            self.disturbance.send(kind, messages, [message["event_time"] for message in messages])


def play_month(folder: Path, machine: Machine, players: int, seed: int) -> Month:
    """Play it, by two releases of two feature sets, one a half; the journal is drained every day, and small files are merged."""
    print(f"traffic seed {seed}")
    settings = Settings(
        state=str(folder / "state"),
        use_cases=(USE_CASE.name,),
        clock=ClockSettings(origin="2031-02-10T00:00:00Z"),
        store=Store(map_size_bytes=2**30),
    )
    first, second = (replace(USE_CASE, feature_set=feature_set) for feature_set in (FIRST, SECOND))
    with DecisionService(settings, {USE_CASE.name: first}) as service:
        tables = Tables(service.layout.tables)
        world = World(USE_CASE.catalogue, seed, service.clock.now_us(), WorldSettings(players=players, horizon_days=DAYS))
        traffic = Traffic(service, machine, world, Random(seed))
        begin_us = service.clock.now_us()
        _release(service, first)
        traffic.begin(2.0)
        for day in range(DAYS):
            if day == DAYS // 2:
                _release(service, second)
            while service.clock.now_us() < begin_us + (day + 1) * DAY_US:
                traffic.step()
            drain(service.journal, tables, {USE_CASE.name: USE_CASE.schema})
            if day % 7 == 6:
                tables.merge({USE_CASE.name: USE_CASE.schema}, most=1)
            if day % 3 == 2:
                refresh(tables, USE_CASE.schema, folder / "tiles")
        traffic.end()
        drain(service.journal, tables, {USE_CASE.name: USE_CASE.schema})
        refresh(tables, USE_CASE.schema, folder / "tiles")
    return Month(tables, folder / "tiles", (first, second), traffic.disturbance, traffic.received, traffic.decided, traffic.asked_again)


def _release(service: DecisionService, use_case: UseCase) -> None:
    release_id = write_bundle(service.layout.bundles, start_parts(use_case), service.layout.secrets)
    digest = read_bundle(service.layout.bundles, release_id).digest
    act = Act("test", service.clock.now_us(), "it is its turn")
    if service.ledger.plan(use_case.name) is None:
        start(service.ledger, use_case.name, release_id, digest, use_case.control_share, act)
    else:
        register(service.ledger, use_case.name, release_id, digest, act)
        to_shadow(service.ledger, use_case.name, release_id, act)
        to_champion(service.ledger, use_case.name, release_id, act)
    until = time.monotonic() + PATIENCE_S
    while release_id not in {arm.release_id for status in service.status().use_cases for arm in status.arms}:
        assert time.monotonic() < until, f"release {release_id} does not serve"
        service.look()
        time.sleep(0.05)


def _plain(events: Sequence[object]) -> list[dict[str, Any]]:
    plain: list[dict[str, Any]] = [msgspec.to_builtins(event) for event in events]
    return plain
