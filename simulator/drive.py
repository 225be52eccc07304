"""Plays the game against an installation: asks for decisions as players come, sends what they do, and later what they bought."""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from client.messages import Answer, Event, Outcome, Receipt
from contracts.clock import HOUR_US, Clock
from contracts.records import FieldValue
from simulator.play import (
    Sessions,
    history,
    match_events,
    open_sessions,
    play_matches,
    purchase_events,
    session_events,
    session_id,
    settle,
)
from simulator.profiles import write_profiles
from simulator.truth import TruthLog
from simulator.world import World

TICK_S = 0.05
MOST_IN_A_TICK = 256
TICKS_IN_FLIGHT = 2
BATCH = 400
PREFIX = "g"
PROFILES_EVERY_US = 6 * HOUR_US


class Door(Protocol):
    """The way into an installation: `client.aio.AsyncClient`, or `simulator.inside.Inside` within one process."""

    async def decide(
        self, use_case: str, entity_id: str, context: Mapping[str, FieldValue] | None = None, decision_id: str | None = None
    ) -> Answer:
        """Ask for one decision; the same id gets the same answer."""
        ...

    async def send_events(self, use_case: str, events: Iterable[Event]) -> Receipt:
        """Send events; sending one again changes nothing."""
        ...

    async def send_outcomes(self, use_case: str, outcomes: Iterable[Outcome]) -> Receipt:
        """Send outcomes; sending one again changes nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase is.

    Attributes:
        target: decisions that are wanted.
        refused: records that went to quarantine.
        spent_micros: what players spent after these decisions.
    """

    target: int
    decisions: int = 0
    events: int = 0
    outcomes: int = 0
    refused: int = 0
    spent_micros: int = 0
    now_us: int = 0


class Game:
    """One simulated game and the installation it plays against. Its time is the installation's clock.

    Args:
        world: the players.
        door: way into the installation; it retries by itself, with the same ids, and raises when its patience is out.
        use_case: name in the paths.
        clock: of the installation.
        profiles: SQLite file of the profiles, written as players join; none for no profiles.

    Attributes:
        truth: what really could have been earned, decision by decision.
    """

    def __init__(self, world: World, door: Door, use_case: str, clock: Clock, profiles: Path | None = None) -> None:
        self.world = world
        self.truth = TruthLog(world)
        self._door = door
        self._use_case = use_case
        self._clock = clock
        self._profiles = profiles
        self._profiles_due_us = 0
        self._later: list[tuple[int, int, Event | Outcome]] = []
        self._order = 0

    async def prepare(self, days: float, progress: Callable[[Progress], None] | None = None) -> Progress:
        """Write the profiles and send the history of the days before the world's start."""
        self.write_profiles()
        events = list(history(self.world, days))
        done = Progress(target=0)
        width = 4 * BATCH
        for start in range(0, len(events), width):
            done = await self._send(events[start : start + width], [], done)
            if progress is not None:
                progress(done)
        return done

    async def play(self, decisions: int, progress: Callable[[Progress], None] | None = None) -> Progress:
        """Play on until so many more decisions were made; what is bought and done afterwards is sent by `settle` or the next `play`.

        Raises:
            RequestFailed: the installation did not answer within the door's patience.
        """
        done = Progress(target=decisions)
        loop = asyncio.get_running_loop()
        self.world.resume(self._clock.now_us())
        opened = 0
        running: set[asyncio.Task[Progress]] = set()
        try:
            while opened < decisions or running:
                began = loop.time()
                if opened < decisions and len(running) < TICKS_IN_FLIGHT:
                    sessions = open_sessions(self.world, self._clock.now_us(), min(MOST_IN_A_TICK, decisions - opened))
                    opened += len(sessions)
                    running.add(loop.create_task(self._tick(sessions)))
                if self._clock.now_us() >= self._profiles_due_us:
                    self.write_profiles()
                waiting = opened >= decisions or len(running) == TICKS_IN_FLIGHT
                finished, running = await asyncio.wait(running, timeout=None if waiting else 0, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    done = _sum(done, task.result())
                done = replace(done, now_us=self._clock.now_us())
                if progress is not None:
                    progress(done)
                if opened < decisions:
                    await asyncio.sleep(max(TICK_S - (loop.time() - began), 0.0))
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return done

    async def settle(self) -> Progress:
        """Wait until everything that was begun has happened, and send it: afterwards no outcome is on its way."""
        done = Progress(target=0)
        while self._later:
            await asyncio.sleep(min(max(self._clock.real_seconds(self._later[0][0] - self._clock.now_us()), TICK_S), 1.0))
            done = await self._send_due(done)
        return done

    def write_profiles(self) -> int:
        """Write the profiles of those who joined; how many were new."""
        now_us = self._clock.now_us()
        self._profiles_due_us = now_us + PROFILES_EVERY_US
        return write_profiles(self._profiles, self.world.people, now_us) if self._profiles is not None else 0

    async def _tick(self, sessions: Sessions) -> Progress:
        done = Progress(target=0)
        if not len(sessions):
            return await self._send_due(done)
        # A session's event must be in before its decision is asked for, so that the features of the decision have seen it.
        done = await self._send_due(done, session_events(self.world, sessions, PREFIX))
        names = self.world.people.names
        answers = await asyncio.gather(
            *(
                self._door.decide(self._use_case, names[player], None, session_id(self.world, sessions, row, PREFIX))
                for row, player in enumerate(sessions.players)
            )
        )
        actions = np.array([self.world.catalogue.index[answer.action] for answer in answers], dtype=np.int64)
        decided_us = np.array([answer.decided_at for answer in answers], dtype=np.int64)
        matches = play_matches(self.world, sessions)
        bought = settle(self.world, sessions, actions, decided_us)
        self.truth.add(sessions, answers, actions, bought)
        purchases = purchase_events(self.world, sessions, bought, actions, PREFIX)
        self._keep(match_events(self.world, sessions, matches, PREFIX))
        self._keep(purchases)
        self._keep(
            [
                Outcome(
                    outcome_id=purchase.event_id,
                    decision_id=answers[row].decision_id,
                    reward=int(micros),
                    event_time=int(at),
                    kind="purchase",
                )
                for purchase, row, at, micros in zip(purchases, bought.rows, bought.at_us, bought.micros, strict=True)
            ]
        )
        return replace(done, decisions=done.decisions + len(answers), spent_micros=int(bought.micros.sum()))

    def _keep(self, messages: Sequence[Event | Outcome]) -> None:
        for message in messages:
            self._order += 1
            heapq.heappush(self._later, (int(message.event_time or 0), self._order, message))

    async def _send_due(self, done: Progress, events: list[Event] | None = None) -> Progress:
        now_us = self._clock.now_us()
        events = events or []
        outcomes: list[Outcome] = []
        while self._later and self._later[0][0] <= now_us:
            message = heapq.heappop(self._later)[2]
            if isinstance(message, Event):
                events.append(message)
            else:
                outcomes.append(message)
        return await self._send(events, outcomes, done)

    async def _send(self, events: Sequence[Event], outcomes: Sequence[Outcome], done: Progress) -> Progress:
        sending = [self._door.send_events(self._use_case, events[start : start + BATCH]) for start in range(0, len(events), BATCH)]
        sending += [self._door.send_outcomes(self._use_case, outcomes[start : start + BATCH]) for start in range(0, len(outcomes), BATCH)]
        receipts = await asyncio.gather(*sending)
        refused = sum(len(receipt.quarantined) for receipt in receipts)
        return replace(done, events=done.events + len(events), outcomes=done.outcomes + len(outcomes), refused=done.refused + refused)


def _sum(total: Progress, part: Progress) -> Progress:
    return replace(
        total,
        decisions=total.decisions + part.decisions,
        events=total.events + part.events,
        outcomes=total.outcomes + part.outcomes,
        refused=total.refused + part.refused,
        spent_micros=total.spent_micros + part.spent_micros,
    )
