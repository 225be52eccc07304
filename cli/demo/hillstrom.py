"""The demo on real data: a logged experiment comes in, a policy is learned and released, and real customers are put to it."""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cli.demo.stage import Advance, Stage, telling
from cli.importing import take_in
from client.aio import AsyncClient
from client.messages import Answer, Outcome
from releases.ledger import Ledger
from serving.keys import owner_key
from use_cases.email_promotion.hillstrom import halves, read, write_customers, write_log

USE_CASE = "email_promotion"
CONNECTIONS = 24
PART = 400


@dataclass(frozen=True, slots=True)
class Replayed:
    """Everything that the report is made from.

    Attributes:
        customers: all of them, as published.
        later: the half that nothing was trained on, with `answer` and `arm`: what the live system chose for each.
        release_id: what answers now. `released`: whether that was trained here. `reasons`: what its gate said, or why nothing was released.
    """

    seed: int
    customers: pl.DataFrame
    later: pl.DataFrame
    release_id: str
    released: bool
    reasons: tuple[str, ...]


def changes(state: Path) -> Mapping[str, Any]:
    """What the demo's settings differ in: one use case, and the shop's own table of customers."""
    return {"use_cases": (USE_CASE,), "attribute_sources": {"customer": str((state / "shop.sqlite").absolute())}}


def replay(stage: Stage, *, path: Path, seed: int) -> Replayed:
    """Import one half, train, release, and put the other half to the live API."""
    customers = read(path)
    earlier, later = halves(customers, seed)
    with stage.step("Read the shop's customers", "what is known of each comes in from a table, by SQL") as advance:
        write_customers(customers, Path(stage.settings.attribute_sources["customer"]))
        advance(0, stage.flow("features", {"use_case": USE_CASE}, telling(advance)))
    with stage.step(
        "Import the log of one half", "random e-mails, with their probability and what was spent, as any company may have"
    ) as advance:
        log = stage.layout.root / "hillstrom-log.parquet"
        write_log(earlier, log)
        report = take_in(stage.settings, USE_CASE, log)
        advance(0, f"{report.rows:,} decisions, {report.rewarded:,} with a purchase, ${report.earned / 1e6:,.2f} in all")
    with stage.step("Learn from it", "features, checks, model, value with an interval, gate, bundle, registry, shadow, live") as advance:
        advance(0, stage.flow("train", {"use_case": USE_CASE, "promote": "champion"}, telling(advance)))
    with stage.step(
        "Replay the other half",
        "each customer is asked for over HTTP; where the answer is what was sent, its spend is the outcome",
        later.height,
    ) as advance:
        answers = stage.run(_ask(stage, later, advance))
    release_id, released, reasons = _released(stage)
    chosen = later.with_columns(answer=pl.Series([answer.action for answer in answers]), arm=pl.Series([answer.arm for answer in answers]))
    return Replayed(seed, customers, chosen, release_id, released, reasons)


async def _ask(stage: Stage, later: pl.DataFrame, advance: Advance) -> list[Answer]:
    answers: list[Answer] = []
    rows = later.select("entity_id", "action", "spend_micros").rows()
    async with AsyncClient(stage.addresses.api, owner_key(stage.layout), CONNECTIONS) as client:
        for start in range(0, len(rows), PART):
            part = rows[start : start + PART]
            given = await asyncio.gather(*(client.decide(USE_CASE, entity, None, f"replay-{entity}") for entity, _, _ in part))
            spent = [
                Outcome(f"spend-{entity}", answer.decision_id, spend)
                for (entity, sent, spend), answer in zip(part, given, strict=True)
                if answer.action == sent and spend
            ]
            if spent:
                await client.send_outcomes(USE_CASE, spent)
            answers += given
            same = sum(answer.action == sent for (_, sent, _), answer in zip(rows, answers, strict=False))
            advance(len(answers), f"{len(answers):,} of {len(rows):,} customers, {same:,} answered with what was really sent")
    return answers


def _released(stage: Stage) -> tuple[str, bool, tuple[str, ...]]:
    with closing(Ledger(stage.layout.ledger)) as ledger:
        plan = ledger.plan(USE_CASE)
        rows = ledger.rows(USE_CASE)
    assert plan is not None
    registered = next(row for row in rows if row.action == "register" and row.actor.startswith("flow"))
    reasons = tuple(check["reason"] for check in registered.details["checks"])
    return plan.champion.release_id, plan.champion.release_id == registered.release_id, reasons
