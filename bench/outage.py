"""Faults of a running installation under load: clients that never rest, the processes to hit, and how long it takes until all is well."""

import asyncio
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import psutil

from bench.acknowledged import History
from bench.served import Served
from client import AsyncClient, Event, Outcome
from contracts.errors import RequestFailed
from contracts.events import EventSchema, FieldType
from contracts.records import DECISION_EVENT, OUTCOME_EVENT, FieldValue
from services.processes import instance_of, members

REPLICA = "ray::ServeReplica:offerloop:decisions"
CONTROLLER = "ray::ServeController"
LONG_S = 1.0
"""A request that is under way for longer may hang."""

STEADY = 20
"""So many answers in a row, without a failure between, are called steady."""


@dataclass(frozen=True, slots=True)
class Try:
    """One request that is sent once: when, until when, and the status; 0 without an answer."""

    asked_s: float
    ended_s: float
    status: int
    said: str = ""


class Traffic:
    """Clients in a thread of their own, until the block ends. Each does one thing after the other.

    Typed ones try again with the same ids: they decide, ask for an earlier decision again, send events and outcomes. Raw ones ask once.

    Args:
        served: whom they ask.
        use_case: of which.
        rate: requests a second, of all clients together.
        clients: typed ones. `raw`: those that ask once. `leaving`: those that close the connection before they are answered, often in the
            middle of what they send, and then ask again with the same id.
        seed: of what they ask; it is part of the ids.
        patience_s: for how long a typed client goes on trying.
        entities: how many there are.
    """

    def __init__(
        self,
        served: Served,
        use_case: str,
        *,
        rate: float = 200.0,
        clients: int = 8,
        raw: int = 4,
        leaving: int = 2,
        seed: int = 1,
        patience_s: float = 60.0,
        entities: int = 500,
    ) -> None:
        self.history = History()
        self.failed: list[str] = []
        self.tries: list[Try] = []
        self.silent: list[str] = []
        """What was refused to raw clients without saying when to come again."""
        self._under_way: dict[int, float] = {}
        self.asked = self.left = 0
        self._served = served
        self._use_case = use_case
        self._schema = served.desk.use_cases[use_case].schema
        self._clock = served.desk.clock
        self._rate = rate
        self._clients, self._raw, self._leaving = clients, raw, leaving
        self._seed = seed
        self._patience_s = patience_s
        self._entities = entities
        self._enough = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic", daemon=True)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        until = time.monotonic() + 60.0
        while not (self.history.decisions and (self.tries or not self._raw)) and time.monotonic() < until:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        lived = self._thread.is_alive()
        self._enough.set()
        self._thread.join(self._patience_s + 30.0)
        assert lived and not self._thread.is_alive(), "the clients did not live as long as they were to"

    def steady_since(self, moment_s: float) -> float | None:
        """When answers to raw clients began to come without a failure, of what was asked since a moment; None while they do not."""
        if any(moment_s <= asked_s < time.monotonic() - LONG_S for asked_s in list(self._under_way.values())):
            # why: it may fail yet
            return None
        since = [one for one in list(self.tries) if one.asked_s >= moment_s]
        failed = [number for number, one in enumerate(since) if one.status != 200]
        good = since[failed[-1] + 1 :] if failed else since
        return good[0].ended_s if len(good) >= STEADY else None

    async def _run(self) -> None:
        pause_s = (self._clients + self._raw + self._leaving) / self._rate
        async with AsyncClient(self._served.address, self._served.key, patience_s=self._patience_s) as client:
            limits = httpx.Limits(max_connections=max(1, self._raw))
            headers = {"authorization": f"Bearer {self._served.key}"}
            async with httpx.AsyncClient(headers=headers, limits=limits, timeout=30.0, trust_env=False) as raw:
                typed = [self._typed(client, number, pause_s) for number in range(self._clients)]
                leaving = [self._leave(client, number, pause_s) for number in range(self._leaving)]
                await asyncio.gather(*typed, *leaving, *(self._once(raw, number, pause_s) for number in range(self._raw)))

    async def _typed(self, client: AsyncClient, number: int, pause_s: float) -> None:
        chance = random.Random(f"{self._seed}-{number}")
        count = 0
        while not self._enough.is_set():
            began_s = time.monotonic()
            count += 1
            name = f"{self._seed}-{number}-{count}"
            try:
                await self._step(client, chance, name)
            except RequestFailed as error:
                self.failed.append(f"{name}: {error}")
            self.asked += 1
            await asyncio.sleep(max(0.0, chance.uniform(0.5, 1.5) * pause_s - (time.monotonic() - began_s)))

    async def _step(self, client: AsyncClient, chance: random.Random, name: str) -> None:
        history, use_case = self.history, self._use_case
        entity = f"e{chance.randrange(self._entities)}"
        kind = chance.random()
        if kind < 0.6 or not history.decisions:
            history.answered(await client.decide(use_case, entity, decision_id=f"d-{name}"))
        elif kind < 0.7:
            known = history.decisions[chance.choice(tuple(history.decisions)[-200:])]
            history.answered(await client.decide(use_case, known.entity_id, decision_id=known.decision_id))
        elif kind < 0.85:
            event = made_event(self._schema, f"v-{name}", entity, self._clock.now_us(), chance)
            if not (await client.send_events(use_case, [event])).quarantined:
                history.events.add(event.event_id)
        else:
            known = history.decisions[chance.choice(tuple(history.decisions)[-200:])]
            outcome = Outcome(f"o-{name}", known.decision_id, chance.randrange(1, 1_000))
            if not (await client.send_outcomes(use_case, [outcome])).quarantined:
                history.outcomes[outcome.outcome_id] = outcome.reward

    async def _leave(self, client: AsyncClient, number: int, pause_s: float) -> None:
        chance = random.Random(f"{self._seed}-leaving-{number}")
        address = urlsplit(self._served.address)
        count = 0
        while not self._enough.is_set():
            count += 1
            name, entity = f"d-{self._seed}-leaving-{number}-{count}", f"e{chance.randrange(self._entities)}"
            body = msgspec.json.encode({"entity_id": entity, "decision_id": name})
            head = f"POST /v1/{self._use_case}/decisions HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer {self._served.key}\r\n"
            message = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
            try:
                _, writer = await asyncio.open_connection(address.hostname, address.port)
                writer.write(message if chance.random() < 0.5 else message[: chance.randrange(len(message))])
                await asyncio.sleep(chance.choice((0.0, 0.001, 0.01)))
                writer.transport.abort()
                self.left += 1
                self.history.answered(await client.decide(self._use_case, entity, decision_id=name))
            except OSError:
                pass
            except RequestFailed as error:
                self.failed.append(f"{name}: {error}")
            await asyncio.sleep(chance.uniform(0.5, 1.5) * pause_s)

    async def _once(self, client: httpx.AsyncClient, number: int, pause_s: float) -> None:
        chance = random.Random(f"{self._seed}-raw-{number}")
        url = f"{self._served.address}/v1/{self._use_case}/decisions"
        while not self._enough.is_set():
            asked_s = self._under_way[number] = time.monotonic()
            status, said = 0, ""
            try:
                answer = await client.post(url, json={"entity_id": f"e{chance.randrange(self._entities)}"})
                status, said = answer.status_code, "" if answer.status_code == 200 else answer.text[:200]
                self.silent += [f"{status} without Retry-After: {said}"] if is_silent(answer) else []
            except httpx.HTTPError as error:
                said = repr(error)
            del self._under_way[number]
            self.tries.append(Try(asked_s, time.monotonic(), status, said))
            await asyncio.sleep(max(0.0, chance.uniform(0.5, 1.5) * pause_s - (time.monotonic() - asked_s)))


def is_silent(answer: httpx.Response) -> bool:
    """Whether an answer refuses for now, and does not say when to come again."""
    return answer.status_code in (429, 503) and not answer.headers.get("retry-after", "").isdigit()


def made_event(schema: EventSchema, event_id: str, entity_id: str, now_us: int, chance: random.Random) -> Event:
    """An event of one of the use case's own types, with fields of its types."""
    own = [one for name, one in schema.types.items() if name not in (DECISION_EVENT, OUTCOME_EVENT)]
    kind = chance.choice(own)
    values: dict[FieldType, Callable[[], FieldValue]] = {
        FieldType.INT: lambda: chance.randrange(1, 100),
        FieldType.STR: lambda: f"s{chance.randrange(5)}",
        FieldType.BOOL: lambda: chance.random() < 0.5,
    }
    return Event(event_id, entity_id, kind.name, now_us, {name: values[field]() for name, field in kind.fields.items()})


def processes(running: Served, title: str) -> list[psutil.Process]:
    """The living processes of an installation whose command line begins so."""
    found = []
    for process in members(instance_of(running.desk.layout.root)):
        try:
            if " ".join(process.cmdline()).startswith(title):
                found.append(process)
        except psutil.Error:
            continue
    return found


def service_of(running: Served, service: str) -> list[psutil.Process]:
    """The living processes of one of its services."""
    return members(instance_of(running.desk.layout.root), service)


def proxies(running: Served) -> list[psutil.Process]:
    """The processes that HTTP comes in by: HAProxy, or Ray's own where there is none."""
    found = []
    for process in members(instance_of(running.desk.layout.root)):
        try:
            name, words = process.name(), " ".join(process.cmdline())
        except psutil.Error:
            continue
        if name.startswith("haproxy") or "HAProxyManager" in words or "ProxyActor" in words:
            found.append(process)
    return found


def hit(found: Sequence[psutil.Process], number: signal.Signals = signal.SIGKILL) -> int:
    """Send a signal to processes; how many there still were."""
    count = 0
    for process in found:
        try:
            process.send_signal(number)
            count += 1
        except psutil.NoSuchProcess:
            continue
    return count


def ended(process: psutil.Process) -> bool:
    """Whether a process has ended, its sockets closed, though it may not have been reaped."""
    try:
        # why: its first thread ends first, and its sockets are closed by the last
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.NoSuchProcess:
        return True


def seconds_until(holds: Callable[[], Any], patience_s: float, look_s: float = 0.2) -> float:
    """Seconds until something holds; infinite when it has not within one's patience."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < patience_s:
        if holds():
            return time.monotonic() - began_s
        time.sleep(look_s)
    return float("inf")
