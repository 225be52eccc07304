"""What each guarantee of a decision costs: the same requests in one process, with each of them switched off in turn.

`python -m bench.guarantees` prints it; it takes the options of a row. Requests begin as HTTP headers and a body and end as an answer's
bytes, in `serving.app.App.decide_soon`: sockets, HAProxy and Ray are not in it.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import uvloop

from bench.promotion_world import NAME, batches, entity, histories, release
from bench.rounds import in_turn
from contracts.settings import Settings
from decisions.scorer import engine
from features.online import OnlineFeatures
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act
from releases.stages import start
from serving import service as decision_service
from serving.app import App
from serving.hooks import Hooks
from serving.keys import Keys, owner_key
from serving.problems import Answer
from serving.replica import SWITCH_S
from serving.service import DecisionService
from storage.journal import Journal
from storage.transaction import Read

ALL = "all on"
UNDER_WAY = 32
COMPILED_S = 60.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a decision takes, in microseconds.

    Attributes:
        processor: time of all threads, 32 requests being under way.
        alone: from request to answer where nothing else is under way, as of the fastest tenth, which nothing on the machine disturbed.
    """

    processor: float
    alone: float


def costs(options: Sequence[str] = ()) -> tuple[dict[str, Cost], str]:
    """The cost of a decision with everything on, and of each guarantee: what is saved without it; and what scores, in words."""
    parser = argparse.ArgumentParser(prog="python -m bench.guarantees")
    parser.add_argument("--entities", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=40, help="of each entity, before")
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--decisions", type=int, default=1_000, help="of each variant in a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    with deciding(chosen.entities, chosen.events, chosen.trees, chosen.seed) as (app, service, key):
        run = partial(_run, app, _headers(key), chosen.entities, chosen.decisions)
        things: dict[str, Callable[[], Cost]] = {ALL: partial(run, nullcontext)}
        things |= {name: partial(run, partial(without, service)) for name, without in GUARANTEES.items()}
        found = in_turn(things, chosen.rounds)
        scorer = engine(service.live(NAME).releases[service.live(NAME).plan.champion.release_id].runtime.scorer)
    whole = found.pop(ALL)
    taken = {ALL: _median(whole)}
    for name, rounds in found.items():
        saved = [Cost(on.processor - off.processor, on.alone - off.alone) for on, off in zip(whole, rounds, strict=True)]
        taken[name] = _median(saved)
    return taken, scorer


@contextmanager
def deciding(entities: int, events: int, trees: int, seed: int) -> Iterator[tuple[App, DecisionService, str]]:
    """A service in this process whose champion has so many trees, and whose players have histories; and its owner's key."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    with (
        tempfile.TemporaryDirectory(prefix="offerloop-cost-") as folder,
        DecisionService(Settings(state=folder, use_cases=(NAME,))) as service,
    ):
        layout, now_us = service.layout, service.clock.now_us()
        key = owner_key(layout)
        release_id = write_bundle(layout.bundles, release(2 * seed, trees=trees), layout.secrets)
        start(service.ledger, NAME, release_id, read_bundle(layout.bundles, release_id).digest, 0.0, Act("bench", now_us, "measured"))
        service.look()
        for part in batches(histories(entities, events, now_us, seed), 1_000):
            service.accept_events(NAME, part)
        _wait_for_compiled(service)
        hooks = Hooks(layout, service.clock)
        try:
            yield App(service, hooks, echo_request_id=False), service, key
        finally:
            hooks.close()
            sys.setswitchinterval(before)


async def decide(app: App, headers: Mapping[bytes, bytes], bodies: Sequence[bytes], count: int, under_way: int) -> list[float]:
    """Ask for so many decisions, so many at once; what each took, in seconds.

    Raises:
        AssertionError: an answer is not 200.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    taken: list[float] = []
    left = iter(range(count))

    def ask(number: int) -> None:
        began = time.perf_counter()

        def done(answer: Answer, request_id: str) -> None:
            taken.append(time.perf_counter() - began)
            if answer.status != 200 and not over.done():
                over.set_exception(AssertionError(answer.body.decode()))
            following = next(left, None)
            if following is not None:
                loop.call_soon(ask, following)
            elif len(taken) == count and not over.done():
                over.set_result(None)

        app.decide_soon(NAME, headers, bodies[number % len(bodies)], done)

    for number in islice(left, under_way):
        ask(number)
    await over
    return taken


def _run(
    app: App, headers: Mapping[bytes, bytes], entities: int, count: int, without: Callable[[], AbstractContextManager[object]]
) -> Cost:
    bodies = [b'{"entity_id":"%s"}' % entity(number).encode() for number in range(entities)]

    async def run() -> Cost:
        await decide(app, headers, bodies, count // 10 + 1, UNDER_WAY)
        began = time.process_time()
        await decide(app, headers, bodies, count, UNDER_WAY)
        processor = (time.process_time() - began) / count
        alone = await decide(app, headers, bodies, count // 4 + 1, 1)
        return Cost(processor * 1e6, float(np.percentile(alone, 10)) * 1e6)

    with without():
        return uvloop.run(run())


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(median(one.processor for one in costs), median(one.alone for one in costs))


@contextmanager
def _no_key(service: DecisionService) -> Iterator[None]:
    with patch.object(Keys, "check", lambda self, authorization, scope: "owner"):
        yield


@contextmanager
def _constant_features(service: DecisionService) -> Iterator[None]:
    """Every entity has the features of the first, and no state is read but by what writes it."""
    live = service.live(NAME)
    feature_set = live.releases[live.plan.champion.release_id].feature_set
    online = OnlineFeatures(service.use_cases[NAME].schema, 0)
    row = online.read(service.journal.get_state(NAME, entity(0)), feature_set, service.clock.now_us(), {})
    read_state = Read.get_state

    def get_state(self: Read, use_case: str, entity_id: str) -> bytes | None:
        return None if type(self) is Read else read_state(self, use_case, entity_id)

    with patch.object(OnlineFeatures, "read", lambda *_, **__: row), patch.object(Read, "get_state", get_state):
        yield


@contextmanager
def _uniform(service: DecisionService) -> Iterator[None]:
    live = service.live(NAME)
    policy = live.releases[live.plan.champion.release_id].runtime.policy

    def even(self: object, scores: Any, positions: Any) -> Any:
        return np.full(len(positions), 1.0 / len(positions))

    with patch.object(type(policy), "probabilities", even):
        yield


@contextmanager
def _no_log(service: DecisionService) -> Iterator[None]:
    """Nothing is written: neither the decision, nor that its entity has had one."""

    def submit(self: Journal, prepare: Callable[[Read], Callable[[Any], Any]]) -> "Future[Any]":
        future: Future[Any] = Future()
        with self.read() as read:
            future.set_result(prepare(read)(None))
        return future

    with (
        patch.object(decision_service, "record_decision", lambda write, decision, apply: decision),
        patch.object(Journal, "submit_prepared", submit),
    ):
        yield


GUARANTEES: Mapping[str, Callable[[DecisionService], AbstractContextManager[None]]] = {
    "the key": _no_key,
    "features of its own": _constant_features,
    "a policy that explores": _uniform,
    "the durable log": _no_log,
}
"""By name, what goes on without it."""


def _headers(key: str) -> dict[bytes, bytes]:
    return {
        b"host": b"127.0.0.1",
        b"content-type": b"application/json",
        b"content-length": b"24",
        b"authorization": f"Bearer {key}".encode(),
        b"x-request-id": b"0123456789abcdef",
    }


def _wait_for_compiled(service: DecisionService) -> None:
    until = time.monotonic() + COMPILED_S
    live = service.live(NAME)
    scorer = live.releases[live.plan.champion.release_id].runtime.scorer
    while engine(scorer) == "LightGBM" and time.monotonic() < until:
        time.sleep(0.1)


def main(arguments: Sequence[str]) -> int:
    """Print the costs."""
    taken, scorer = costs(arguments)
    print(f"{'microseconds of a decision':28}{'processor':>12}{'one alone':>12}   scorer: {scorer}")
    for name, cost in taken.items():
        print(f"{name:28}{cost.processor:12.0f}{cost.alone:12.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
