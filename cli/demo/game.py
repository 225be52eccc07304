"""The demo of the loop: a simulated game explores, learns, proves, releases, and earns more."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cli.demo.stage import Advance, Stage, telling
from client.aio import AsyncClient
from contracts.settings import ClockSettings
from contracts.tables import DECISIONS, OUTCOMES
from releases.ledger import Ledger, LedgerRow
from serving.keys import owner_key
from simulator import Game, Progress, TruthLog, World, WorldSettings
from storage.tables import Tables
from use_cases.definition import UseCase, load

USE_CASE = "game_promotion"
CLOCK = ClockSettings(scale=7_000, origin="2026-01-05T00:00:00Z")
"""A second of the demo is almost two hours of the game."""

AT_A_TIME = 500
"""Decisions between two looks at how far a roll-out is."""

HISTORY_DAYS = 4.0
CONNECTIONS = 24


@dataclass(frozen=True, slots=True)
class Played:
    """Everything that the demo's report is made from.

    Attributes:
        began_us: logical time at which each phase began, in order, and the end of the last; the second is the roll-out by steps.
        truth: what really could have been earned.
        rewards: matured decisions of the log, with `reward` in micro-dollars.
        ledger: all rows of the use case, oldest first.
    """

    use_case: UseCase
    seed: int
    began_us: tuple[int, ...]
    truth: TruthLog
    rewards: pl.DataFrame
    ledger: tuple[LedgerRow, ...]


def changes(state: Path) -> Mapping[str, Any]:
    """What the demo's settings differ in: one use case, and the game's own table of profiles."""
    return {"use_cases": (USE_CASE,), "attribute_sources": {"profile": str((state / "game.sqlite").absolute())}}


async def play(stage: Stage, *, seed: int, players: int, decisions: int) -> Played:
    """Play three phases of so many decisions each, a training behind the first and the second, and a roll-out by steps after the first."""
    use_case = load(USE_CASE)
    world = World(use_case.catalogue, seed, stage.clock.now_us(), WorldSettings(players=players))
    async with AsyncClient(stage.addresses.api, owner_key(stage.layout), CONNECTIONS) as client:
        game = Game(world, client, USE_CASE, stage.clock, Path(stage.settings.attribute_sources["profile"]))
        with stage.step(
            "Open the game", f"{players} players, {HISTORY_DAYS:.0f} days of history sent as events; profiles read by SQL"
        ) as advance:
            await game.prepare(HISTORY_DAYS, _moving(advance, "events", 0))
            advance(0, await _flow(stage, "features", {"use_case": USE_CASE}, advance))
        began = [stage.clock.now_us()]
        await _phase(
            stage, game, "Phase 1: explore", "every eligible promotion has the same chance, so that the log can value any policy", decisions
        )
        await _train(
            stage, "Learn from the log", "features, checks, model, value with an interval, gate, bundle, registry, shadow", "champion"
        )
        began.append(stage.clock.now_us())
        await _roll_out(stage, game, decisions)
        began.append(stage.clock.now_us())
        await _phase(
            stage,
            game,
            "Phase 2: the learned policy serves",
            "what may be as good is still tried, the rarer the worse it looks; control goes on",
            decisions,
        )
        await _train(stage, "Learn again", "twice the log; what passes the gate challenges the champion beside it", "challenger")
        began.append(stage.clock.now_us())
        await _phase(
            stage,
            game,
            "Phase 3: a challenger beside the champion",
            "half of the players each, so that money decides between them",
            decisions,
        )
        began.append(stage.clock.now_us())
        with stage.step("Judge what came", "the flow `monitor` compares the arms and ends the experiment if money is clear") as advance:
            advance(0, await _flow(stage, "monitor", {}, advance))
    return Played(use_case, seed, tuple(began), game.truth, *_log(stage, use_case))


async def _phase(stage: Stage, game: Game, name: str, why: str, decisions: int) -> None:
    with stage.step(name, why, decisions) as advance:
        await game.play(decisions, _moving(advance, "decisions", decisions))
        await game.settle()
        # why: the last decision's window must close before its reward is known
        await asyncio.sleep(stage.clock.real_seconds(load(USE_CASE).outcome_window_us))


async def _roll_out(stage: Stage, game: Game, most: int) -> None:
    """Play until the release that was trained is champion, or was stopped, or so many decisions have been made."""
    why = "a share of the players first, watched; the flow `rollout` takes each step, and the guard stops it when a limit breaks"
    with stage.step("Roll it out by steps", why, most) as advance, closing(Ledger(stage.layout.ledger)) as ledger:
        played = 0
        while played < most and (standing := _standing(ledger))[1]:
            played += (await game.play(min(AT_A_TIME, most - played))).decisions
            advance(played, f"{played:,} decisions; {standing[0]}")
        await game.settle()
        advance(played, f"{played:,} decisions; {_standing(ledger)[0]}")


def _standing(ledger: Ledger) -> tuple[str, bool]:
    """Where the newest release stands, in words, and whether it is on its way to champion."""
    release = ledger.releases(USE_CASE)[-1]
    plan = ledger.plan(USE_CASE)
    share = next((arm.share for arm in plan.arms if arm.release_id == release.release_id), 0.0) if plan else 0.0
    said = f"{release.release_id} is {release.stage}" + (f" at {share:.0%}" if release.stage == "canary" else "")
    promised = [row.details.get("promote") for row in ledger.rows(USE_CASE, release_id=release.release_id, action="shadow", limit=1)]
    return said, release.stage == "canary" or (release.stage == "shadow" and promised == ["champion"])


async def _train(stage: Stage, name: str, why: str, promote: str) -> None:
    with stage.step(name, why) as advance:
        advance(0, await _flow(stage, "train", {"use_case": USE_CASE, "promote": promote, "challenger_share": 0.5}, advance))


async def _flow(stage: Stage, name: str, payload: Mapping[str, Any], advance: Advance) -> str:
    return await asyncio.to_thread(stage.flow, name, payload, telling(advance))


def _moving(advance: Advance, what: str, total: int) -> Callable[[Progress], None]:
    def move(progress: Progress) -> None:
        done = progress.decisions if what == "decisions" else progress.events
        spent = f", players spent ${progress.spent_micros / 1e6:,.0f}" if progress.spent_micros else ""
        refused = f", {progress.refused} in quarantine" if progress.refused else ""
        advance(done, f"{done:,}{f' of {total:,}' if total else ''} {what}{spent}{refused}")

    return move


def _log(stage: Stage, use_case: UseCase) -> tuple[pl.DataFrame, tuple[LedgerRow, ...]]:
    tables = Tables(stage.layout.tables)
    decisions, outcomes = (tables.frame(use_case.schema, table) for table in (DECISIONS, OUTCOMES))
    rewards = use_case.rewards(decisions, outcomes, now_us=stage.clock.now_us())
    with closing(Ledger(stage.layout.ledger)) as ledger:
        return rewards, tuple(sorted(ledger.rows(use_case.name, limit=1_000), key=lambda row: row.id))
