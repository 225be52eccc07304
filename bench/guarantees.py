"""What each guarantee of a decision costs: the same requests in one process, with each of them switched off in turn.

`python -m bench.guarantees` prints it; it takes the options of a row. Requests begin as HTTP headers and a body and end as an answer's
bytes, in `serving.app.App.decide_soon`: sockets, HAProxy and Ray are not in it.

Differences are of a few microseconds, while a machine's own ups and downs are of dozens. So slices of some hundredths of a second follow
each other, with and without one guarantee; each difference is between neighbours, and the median of very many of them counts. The log is
switched off beside everything on; each of the others without the log. Nothing is replaced between slices: what is switched looks at a
flag, in both, since Python would else run anew what it has specialised. Entities' states are put back as they were, so that none grows.
"""

import argparse
import asyncio
import gc
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import uvloop

from bench.promotion_world import CANDIDATES, NAME, batches, entity, histories, release
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
from storage.transaction import Read, Write

ALL = "all on"
KEY, FEATURES, SHOWN, POLICY, LOG = (
    "the key",
    "features of its own",
    "what it was shown before",
    "a policy that explores",
    "the durable log",
)
GUARANTEES: Mapping[str, str] = {
    KEY: "whatever key is sent is the owner's",
    FEATURES: "every entity has the features of the first; its state is still read, as the log moves it on",
    SHOWN: "cool-downs and limits count nothing",
    POLICY: "all candidates are equally likely, which is not computed; scores are made all the same",
    LOG: "nothing is written: neither the decision, nor its id, nor that its entity has had it; nor is it handed to the thread that writes",
}
"""By name, what happens without it."""

UNDER_WAY = 32
GROUPED = 16
"""After so many groups of one, the journal waits no more for groups as large as they were."""

COMPILED_S = 60.0
_LOGGING = ("record_decision", "foresee")


@dataclass(frozen=True, slots=True)
class Median:
    """A median, and between what it lies, of 95 of 100 such measurements; microseconds."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Median":
        """Of values; the interval is between order statistics (Conover 1999, "Practical Nonparametric Statistics", section 3.2).

        Example:
            >>> Median.of([5.0, 1.0, 2.0, 4.0, 3.0, 6.0, 7.0, 8.0, 9.0])
            Median(middle=5.0, low=2.0, high=8.0)
        """
        ordered = sorted(values)
        reach = 0.98 * math.sqrt(len(ordered))
        first = max(0, math.floor(len(ordered) / 2 - reach))
        return cls(median(ordered), ordered[first], ordered[-1 - first])


@dataclass(frozen=True, slots=True)
class Cost:
    """What a decision takes.

    Attributes:
        processor: time of all threads, 32 requests being under way.
        alone: from request to answer where nothing else is under way.
    """

    processor: Median
    alone: Median


class Switch:
    """Which guarantees are off, by their names."""

    __slots__ = ("without",)

    def __init__(self) -> None:
        self.without: frozenset[str] = frozenset()


def costs(options: Sequence[str] = ()) -> tuple[dict[str, Cost], str]:
    """The cost of a decision with everything on, and of each guarantee: what is saved without it; and what scores, in words."""
    parser = argparse.ArgumentParser(prog="python -m bench.guarantees")
    parser.add_argument("--entities", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=40, help="of each entity, before")
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--decisions", type=int, default=96, help="of a slice; twice as many where the log is what is switched")
    parser.add_argument("--pairs", type=int, default=200, help="of slices, with and without each guarantee")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    with deciding(chosen.entities, chosen.events, chosen.trees, chosen.seed) as (app, service, key), switchable(service) as switch:
        bodies = [b'{"entity_id":"%s"}' % entity(number).encode() for number in range(chosen.entities)]
        slices = _Slices(app, switch, _headers(key), bodies, _States(service, chosen.entities))
        whole, saved = uvloop.run(_paired(slices, chosen.pairs, chosen.decisions))
        scorer = engine(service.live(NAME).releases[service.live(NAME).plan.champion.release_id].runtime.scorer)
    return {name: _cost(taken) for name, taken in {ALL: whole, **saved}.items()}, scorer


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


@dataclass(frozen=True, slots=True)
class _Taken:
    """Microseconds of a decision in a slice, or what they differ between two; as `Cost`."""

    processor: float
    alone: float


@dataclass(frozen=True, slots=True)
class _Slices:
    app: App
    switch: Switch
    headers: Mapping[bytes, bytes]
    bodies: Sequence[bytes]
    states: "_States"

    async def take(self, without: frozenset[str], count: int) -> _Taken:
        """One slice of so many decisions, and an eighth as many one after another."""
        self.states.restore(UNDER_WAY + count + GROUPED + count // 8)
        self.switch.without = without
        await decide(self.app, self.headers, self.bodies, UNDER_WAY, UNDER_WAY)
        began = time.process_time()
        await decide(self.app, self.headers, self.bodies, count, UNDER_WAY)
        processor = (time.process_time() - began) / count
        await decide(self.app, self.headers, self.bodies, GROUPED, 1)
        alone = await decide(self.app, self.headers, self.bodies, count // 8, 1)
        return _Taken(processor * 1e6, median(alone) * 1e6)


class _States:
    """Entities' states as they were, so that they do not grow with each decision that is made here."""

    def __init__(self, service: DecisionService, entities: int) -> None:
        self._journal = service.journal
        with service.journal.read() as read:
            self._kept = {entity(number): read.get_state(NAME, entity(number)) for number in range(entities)}
        self._decided = 0

    def restore(self, decisions: int) -> None:
        """Put them back before so many decisions more, once there have been as many as entities."""
        self._decided += decisions
        if self._decided > len(self._kept):
            self._decided = decisions
            self._journal.write(self._put)

    def _put(self, write: Write) -> None:
        for name, state in self._kept.items():
            if state is not None:
                write.put_state(NAME, name, state)


async def _paired(slices: _Slices, pairs: int, count: int) -> tuple[list[_Taken], dict[str, list[_Taken]]]:
    """What slices with everything on took, and by how much less those beside them took without each guarantee."""
    whole: list[_Taken] = []
    saved: dict[str, list[_Taken]] = {name: [] for name in GUARANTEES}
    for name in GUARANTEES:
        await slices.take(frozenset({name}), count)
    gc.collect()
    gc.disable()
    try:
        for number in range(pairs):
            for name, differences in saved.items():
                # why: the log's waits and threads differ by more, from slice to slice, than the others cost
                beside = frozenset[str]() if name == LOG else frozenset({LOG})
                order = (beside, beside | {name}) if number % 2 else (beside | {name}, beside)
                taken = {without: await slices.take(without, count * (1 + (name == LOG))) for without in order}
                on, off = taken[beside], taken[beside | {name}]
                whole += [on] if name == LOG else []
                differences.append(_Taken(on.processor - off.processor, on.alone - off.alone))
    finally:
        gc.enable()
    return whole, saved


def _cost(taken: Sequence[_Taken]) -> Cost:
    return Cost(Median.of([one.processor for one in taken]), Median.of([one.alone for one in taken]))


@contextmanager
def switchable(service: DecisionService) -> Iterator[Switch]:
    """Have guarantees of a service that can be switched off one at a time, as `GUARANTEES` says, by `Switch.without`."""
    switch = Switch()
    live = service.live(NAME)
    runtime = live.releases[live.plan.champion.release_id]
    policy, online = type(runtime.runtime.policy), OnlineFeatures(service.use_cases[NAME].schema, 0)
    row = online.read(service.journal.get_state(NAME, entity(0)), runtime.feature_set, service.clock.now_us(), {})
    check, read, times_of = Keys.check, OnlineFeatures.read, OnlineFeatures.times_of
    probabilities, submit = policy.probabilities, Journal.submit_prepared

    def checked(self: Keys, *asked: Any) -> Any:
        return "owner" if KEY in switch.without else check(self, *asked)

    def features(self: OnlineFeatures, *asked: Any) -> Any:
        return row if FEATURES in switch.without else read(self, *asked)

    def shown(self: OnlineFeatures, *asked: Any) -> Any:
        return {} if SHOWN in switch.without else times_of(self, *asked)

    shares = [np.full(count, 1.0 / max(1, count)) for count in range(CANDIDATES + 1)]

    def even(self: Any, scores: Any, positions: Any) -> Any:
        return shares[len(positions)] if POLICY in switch.without else probabilities(self, scores, positions)

    def submitted(self: Journal, prepare: Callable[[Read | None], Callable[[Any], Any]]) -> "Future[Any]":
        if LOG not in switch.without:
            return submit(self, prepare)
        future: Future[Any] = Future()
        with self.read() as read:
            future.set_result(prepare(read)(None))
        return future

    def logging(name: str) -> Callable[..., Any]:
        real = vars(decision_service)[name]

        def logged(*given: Any) -> Any:
            if LOG not in switch.without:
                return real(*given)
            return given[1] if name == "record_decision" else None

        return logged

    with ExitStack() as stack:
        for owner, name, instead in (
            (Keys, "check", checked),
            (OnlineFeatures, "read", features),
            (OnlineFeatures, "times_of", shown),
            (policy, "probabilities", even),
            (Journal, "submit_prepared", submitted),
            *((decision_service, name, logging(name)) for name in _LOGGING),
        ):
            stack.enter_context(patch.object(owner, name, instead))
        yield switch


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
    print(f"{'microseconds of a decision':28}{'processor':>24}{'one alone':>24}   scorer: {scorer}")
    for name, cost in taken.items():
        words = (f"{one.middle:.1f} ({one.low:.1f} to {one.high:.1f})" for one in (cost.processor, cost.alone))
        print(f"{name:28}" + "".join(f"{word:>24}" for word in words))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
