"""One logical tick: who plays now, what they do, and what they buy after what they were shown."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from client.messages import Event
from contracts.clock import DAY_US, MINUTE_US
from contracts.records import FieldValue
from simulator.people import Bools, Floats, Ints, mode_mix
from simulator.settings import THEMES
from simulator.world import NOT_DUE_US, Chances, World
from use_cases.game_promotion.events import MODES

SESSION_MINUTES = 40
LONGEST_DELAY_MINUTES = 120
MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions that open at one moment, one row each, with the luck that will settle them whatever is shown.

    Attributes:
        moment_us: when they open. `eligible`, `chances`: the truth at that moment, (rows, candidates).
        luck: uniform; a purchase happens where it is below the chance of one. `spend_luck`: standard normal. `delay_us`: until a purchase.
    """

    players: Ints
    moment_us: Ints
    eligible: Bools
    chances: Chances
    luck: Floats
    spend_luck: Floats
    delay_us: Ints

    def __len__(self) -> int:
        return len(self.players)


@dataclass(frozen=True, slots=True)
class Purchases:
    """What was bought in some sessions.

    Attributes:
        rows: positions of the buying sessions. `at_us`: when. `micros`: what was paid. `promoted`: whether the promotion caused it.
    """

    rows: Ints
    at_us: Ints
    micros: Ints
    promoted: Bools


def open_sessions(world: World, now_us: int, limit: int | None = None) -> Sessions:
    """The sessions of all players who are due at `now_us`, or of the first `limit` of them (the others stay due).

    They are not due again until `settle`.
    """
    players = np.flatnonzero((world.next_us <= now_us) & ~world.gone)
    if limit is not None and len(players) > limit:
        players = np.sort(players[np.argsort(world.next_us[players], kind="stable")[:limit]])
    world.next_us[players] = NOT_DUE_US
    moment_us = np.full(len(players), now_us, dtype=np.int64)
    delay = np.minimum(world.rng.exponential(world.settings.delay_minutes, len(players)), LONGEST_DELAY_MINUTES)
    return Sessions(
        players=players,
        moment_us=moment_us,
        eligible=world.eligible(players, moment_us),
        chances=world.chances(players, moment_us),
        luck=world.rng.random(len(players)),
        spend_luck=world.rng.standard_normal(len(players)),
        delay_us=(delay * MINUTE_US).astype(np.int64) + 1,
    )


def settle(world: World, sessions: Sessions, actions: Ints, decided_us: Ints) -> Purchases:
    """Let the sessions run their course after `actions` (candidate positions) were shown at `decided_us`; moves the world."""
    players, settings = sessions.players, world.settings
    row = np.arange(len(players))
    organic, added = sessions.chances.organic[row, actions], sessions.chances.added[row, actions]
    bought = sessions.luck < organic + added
    promoted = bought & (sessions.luck >= organic)
    mean = np.where(promoted, sessions.chances.added_spend[row, actions], sessions.chances.organic_spend[row, actions])
    sigma = settings.spend_sigma
    cents = np.maximum(np.rint(mean * np.exp(sigma * sessions.spend_luck - sigma * sigma / 2) * 100), 1).astype(np.int64)
    at_us = decided_us + sessions.delay_us

    shown = actions != world.nothing
    world.shown[players] = world.remembered(players, decided_us) + shown
    world.shown_us[players] = decided_us
    world.last_shown_us[players[shown], actions[shown]] = decided_us[shown]
    world.bought_us[players[bought]] = at_us[bought]
    days = 1 / world.people.sessions[players]
    leaving = settings.churn + settings.churn_by_offer * world.shown[players]
    world.gone[players] = world.rng.random(len(players)) < leaving * days
    moving = players[world.rng.random(len(players)) < settings.migration * days]
    world.segment[moving] = world.rng.integers(0, len(THEMES), len(moving))
    world.mix[moving] = mode_mix(settings, world.segment[moving], world.rng)
    world.next_us[players] = decided_us + world.gaps(players)
    rows = np.flatnonzero(bought)
    return Purchases(rows, at_us[rows], cents[rows] * (MICROS // 100), promoted[rows])


@dataclass(frozen=True, slots=True)
class Matches:
    """Matches played in some sessions: `rows` are positions of sessions, in order of time within each."""

    rows: Ints
    at_us: Ints
    mode: Ints
    won: Bools


def play_matches(world: World, sessions: Sessions) -> Matches:
    """The matches of these sessions, which raise levels; modes follow the hidden taste."""
    count = 1 + world.rng.poisson(world.settings.matches - 1, len(sessions))
    rows = np.repeat(np.arange(len(sessions)), count)
    players = sessions.players[rows]
    mode = (world.rng.random(len(rows))[:, None] > np.cumsum(world.mix[players], axis=1)[:, :-1]).sum(axis=1)
    won = world.rng.random(len(rows)) < world.people.skill[players]
    np.add.at(world.points, players, won)
    minutes = 2 + np.sort(world.rng.random(len(rows)) + rows) % 1 * (SESSION_MINUTES - 2)
    return Matches(rows, sessions.moment_us[rows] + (minutes * MINUTE_US).astype(np.int64), mode, won)


def history(world: World, days: float, step_minutes: int = 60) -> Iterator[Event]:
    """What players did in the `days` before the world's start, when nothing was promoted: events in order of time.

    Call it before any decision. Their ids start with `h-`, so that sending them again changes nothing.
    """
    start_us = world.start_us
    begin_us = start_us - int(days * DAY_US)
    world.next_us[:] = np.maximum(world.people.joined_us, begin_us) + world.gaps(np.arange(len(world.next_us)))
    sent: list[Event] = []
    for now_us in range(begin_us, start_us, step_minutes * MINUTE_US):
        sessions = open_sessions(world, now_us)
        sent.extend(session_events(world, sessions, "h"))
        sent.extend(match_events(world, sessions, play_matches(world, sessions), "h"))
        bought = settle(world, sessions, np.full(len(sessions), world.nothing), sessions.moment_us)
        sent.extend(purchase_events(world, sessions, bought, np.full(len(sessions), world.nothing), "h"))
    world.next_us[:] = np.maximum(world.people.joined_us, start_us)
    world.resume(start_us)
    sent.sort(key=lambda event: (event.event_time, event.event_id))
    yield from (event for event in sent if int(event.event_time) < start_us)


def session_id(world: World, sessions: Sessions, row: int, prefix: str) -> str:
    """Identifies a session, and with it its decision: the same in every retry."""
    return f"{prefix}-{world.seed}-{sessions.players[row]}-{sessions.moment_us[row]}"


def session_events(world: World, sessions: Sessions, prefix: str) -> list[Event]:
    """The event `session` of each session, as a client sends it."""
    levels = world.level(sessions.players)
    return [
        Event(f"{session_id(world, sessions, row, prefix)}-s", world.people.names[player], "session", int(moment), {"level": int(level)})
        for row, (player, moment, level) in enumerate(zip(sessions.players, sessions.moment_us, levels, strict=True))
    ]


def match_events(world: World, sessions: Sessions, matches: Matches, prefix: str) -> list[Event]:
    """The events `match` of these sessions."""
    return [
        Event(
            f"{session_id(world, sessions, row, prefix)}-m{position}",
            world.people.names[sessions.players[row]],
            "match",
            int(at),
            {"mode": MODES[mode], "won": bool(won)},
        )
        for position, (row, at, mode, won) in enumerate(zip(matches.rows, matches.at_us, matches.mode, matches.won, strict=True))
    ]


def purchase_events(world: World, sessions: Sessions, bought: Purchases, actions: Ints, prefix: str) -> list[Event]:
    """The events `purchase` of these sessions; what no promotion caused is from the `shop`."""
    events = []
    for row, at, micros, promoted in zip(bought.rows, bought.at_us, bought.micros, bought.promoted, strict=True):
        offer = world.catalogue.candidates[actions[row]].attributes
        product_set = str(offer["product_set"]) if promoted else "shop"
        fields: dict[str, FieldValue] = {"amount_micros": int(micros), "product_set": product_set}
        events.append(
            Event(f"{session_id(world, sessions, row, prefix)}-p", world.people.names[sessions.players[row]], "purchase", int(at), fields)
        )
    return events
