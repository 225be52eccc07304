"""R8: outcomes sent up to five times each, shuffled, while replicas are killed: each counts once, and other content is a conflict."""

import argparse
import asyncio
import random
import threading
import time
from collections.abc import Sequence

from bench.acknowledged import History, check
from bench.outage import REPLICA, hit, processes, seconds_until
from bench.rows import Figure, Measurement
from bench.served import Served, served
from client import Answer, Ask, AsyncClient, Outcome
from contracts.errors import RequestFailed
from contracts.tables import OUTCOMES
from storage.tables import Tables

BEFORE_KILLS_S = 60.0
SENDERS = 8
DECISIONS_EACH = 500


def measure(options: Sequence[str]) -> Measurement:
    """Send every outcome as often as chance has it, in parts of chance, and kill a replica now and then."""
    parser = argparse.ArgumentParser(prog="make target ROW=R8 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--outcomes", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--conflicts", type=int, default=200, help="ids that are sent again with other content")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    with served(chosen.use_case, chosen.replicas) as running:
        sending = Sending(running, chosen.use_case, chosen.outcomes, chosen.seed)
        thread = threading.Thread(target=lambda: asyncio.run(sending.run()), daemon=True)
        thread.start()
        kills = 0
        chance = random.Random(chosen.seed)
        for number in range(chosen.kills):
            # why: spread over the sending, whatever its speed; and not before somebody is there to be killed
            at_share = (number + 0.5) / chosen.kills
            seconds_until(lambda share=at_share: sending.share >= share or not thread.is_alive(), 600.0, 0.01)  # type: ignore[misc]
            seconds_until(lambda: processes(running, REPLICA), BEFORE_KILLS_S)
            kills += hit([chance.choice(processes(running, REPLICA))]) if thread.is_alive() else 0
        thread.join(600.0)
        conflicts = asyncio.run(_conflicts(running, chosen.use_case, sending.outcomes[: chosen.conflicts]))
        schema = running.desk.use_cases[chosen.use_case].schema
        findings = check(running.desk.layout, schema, sending.history)
        kept = Tables(running.desk.layout.tables).frame(schema, OUTCOMES)
    total = sum(outcome.reward for outcome in sending.outcomes)
    figures = (
        Figure("outcomes lost", float(len(findings.lost) + chosen.outcomes - len(sending.history.outcomes)), 0.0, ""),
        Figure("outcomes counted twice, or otherwise than sent", float(len(findings.doubled) + len(findings.differing)), 0.0, ""),
        Figure("reward kept beside the reward sent", float(abs(int(kept["reward"].sum()) - total)), 0.0, ""),
        Figure("requests that failed through the client", float(len(sending.failed)), 0.0, ""),
        Figure("the same id with other content that was not a 409", float(sum(status != 409 for status in conflicts)), 0.0, ""),
        Figure("kills", float(kills), float(chosen.kills), "", at_most=False),
    )
    notes = [
        f"{chosen.outcomes} outcomes, shuffled, sent {sending.sent} times in {sending.took_s:.1f} s by {SENDERS} clients, 1 to 60 at once",
        f"receipts: {sending.accepted} accepted, {sending.duplicates} known already; {len(conflicts)} conflicts were tried",
        "an answer that a kill swallowed makes the client send again, so receipts alone may count fewer accepted than are kept",
        *sending.failed[:3],
        *([str(findings)] if str(findings) else []),
    ]
    return Measurement("R8", figures, tuple(notes))


class Sending:
    """Decides, then sends the outcomes of these decisions, each one to five times."""

    def __init__(self, running: Served, use_case: str, count: int, seed: int) -> None:
        self.history = History()
        self.outcomes: list[Outcome] = []
        self.failed: list[str] = []
        self.share = 0.0
        self.sent = self.accepted = self.duplicates = 0
        self.took_s = 0.0
        self._running = running
        self._use_case = use_case
        self._count = count
        self._seed = seed

    async def run(self) -> None:
        """All of it."""
        chance = random.Random(self._seed)
        async with AsyncClient(self._running.address, self._running.key, patience_s=120.0) as client:
            asks = [Ask(f"e{number % 997}", decision_id=f"r8-{self._seed}-{number}") for number in range(max(1, self._count // 4))]
            answers: list[Answer] = []
            for start in range(0, len(asks), DECISIONS_EACH):
                answers += await client.decide_many(self._use_case, asks[start : start + DECISIONS_EACH])
            for answer in answers:
                self.history.answered(answer)
            self.outcomes = [
                Outcome(f"o-{self._seed}-{number}", chance.choice(answers).decision_id, chance.randrange(-100, 1_000))
                for number in range(self._count)
            ]
            copies = [outcome for outcome in self.outcomes for _ in range(chance.randint(1, 5))]
            chance.shuffle(copies)
            parts: list[list[Outcome]] = []
            while copies:
                size = chance.randint(1, 60)
                parts.append(copies[:size])
                del copies[:size]
            whole = len(parts)
            began_s = time.monotonic()

            async def send() -> None:
                while parts:
                    part = parts.pop()
                    await self._send(client, part)
                    self.share = 1.0 - len(parts) / whole

            await asyncio.gather(*(send() for _ in range(SENDERS)))
            self.took_s = time.monotonic() - began_s

    async def _send(self, client: AsyncClient, part: list[Outcome]) -> None:
        self.sent += len(part)
        try:
            receipt = await client.send_outcomes(self._use_case, part)
        except RequestFailed as error:
            self.failed.append(str(error))
            return
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        refused = {refusal.index for refusal in receipt.quarantined}
        self.failed += [f"quarantined: {refusal.reason}" for refusal in receipt.quarantined]
        self.history.outcomes |= {outcome.outcome_id: outcome.reward for number, outcome in enumerate(part) if number not in refused}


async def _conflicts(running: Served, use_case: str, outcomes: Sequence[Outcome]) -> list[int]:
    """The statuses of known outcomes sent again, one by one, with another reward."""
    statuses = []
    async with AsyncClient(running.address, running.key, patience_s=60.0) as client:
        for outcome in outcomes:
            try:
                await client.send_outcomes(use_case, [Outcome(outcome.outcome_id, outcome.decision_id, outcome.reward + 1)])
                statuses.append(200)
            except RequestFailed as error:
                statuses.append(error.status)
    return statuses
