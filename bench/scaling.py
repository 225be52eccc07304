"""P15: decisions a second with more replicas, and replicas that come and go with the load, without a lost request."""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from bench.load import Loaded, Plan, load, loading
from bench.outage import REPLICA, Traffic, processes
from bench.processes import cpu_s
from bench.promotion_world import NAME, asks, release, serving
from bench.rows import Figure, Measurement
from bench.served import Served, served

COUNTS = (1, 2, 4)
LINEAR = 0.8
"""Share of what so many replicas, or all the cores, would give, that is still called linear: they write one log in turn."""

FASTER = 1.05
"""Times the decisions of one replica, from which more of them are shown to help at all."""

CALM_RATE = 40.0
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class _Found:
    """What came of the load on so many replicas: cores `busy` with whatever the machine did, of them `serving` with replicas and proxy."""

    replicas: int
    loaded: Loaded
    busy: float
    serving: float

    @property
    def needed(self) -> float:
        """Cores that decisions took, and the clients that asked for them; what else the machine did is not their work."""
        return self.serving + self.loaded.cpu_s / self.loaded.seconds


def measure(options: Sequence[str]) -> Measurement:
    """Load installations of 1, 2 and 4 replicas as cores allow; then one that scales itself, under little load, much, and little again."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="make target ROW=P15 ARGS=…")
    parser.add_argument("--most", type=int, default=min(max(COUNTS), cores), help="replicas; more than the cores cannot be faster")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--entities", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=20, help="of each entity, before")
    parser.add_argument("--scale-down", type=float, default=8.0, help="seconds of little load, after which a replica is ended")
    parser.add_argument("--part", choices=("all", "linear", "by-itself"), default="all")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    figures: list[Figure] = []
    notes: list[str] = [f"{cores} cores; replicas: {', '.join(str(count) for count in COUNTS if count <= chosen.most)}"]
    if chosen.part != "by-itself":
        found = [_under_load(count, chosen) for count in COUNTS if count <= chosen.most]
        figures += _linear(found, cores)
        notes += [_words(one) for one in found]
        notes.append(
            f"the cores allow the rate of one replica times {cores} over the {found[0].needed:.2f} that it, the proxy and the clients took"
        )
    if chosen.part != "linear":
        own, said = _by_itself(chosen)
        figures += own
        notes += said
    return Measurement("P15", tuple(figures), tuple(notes))


def _under_load(replicas: int, chosen: argparse.Namespace) -> _Found:
    parts = release(2 * chosen.seed)
    with serving(replicas, chosen.entities, chosen.events, chosen.seed, parts) as running:
        requests = asks(chosen.entities, running.key)
        port = running.settings.ports.api
        load(Plan(port, requests, chosen.connections, 2.0))
        rounds = [_round(running, replicas, Plan(port, requests, chosen.connections, chosen.seconds)) for _ in range(chosen.rounds)]
    return sorted(rounds, key=lambda one: one.loaded.rate)[len(rounds) // 2]


def _round(running: Served, replicas: int, plan: Plan) -> _Found:
    watched = running.serving_processes()
    before, before_s, began_s = psutil.cpu_times(), cpu_s(watched), time.monotonic()
    loaded = load(plan)
    passed_s = time.monotonic() - began_s
    # why: until the clients have started they ask for nothing
    asked_s = loaded.seconds + plan.warm_s
    return _Found(replicas, loaded, _busy_s(before, psutil.cpu_times()) / passed_s, (cpu_s(watched) - before_s) / asked_s)


def _busy_s(before: "psutil._pslinux.scputimes", after: "psutil._pslinux.scputimes") -> float:
    idle = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(getattr(after, name) - getattr(before, name) for name in after._fields if name not in idle))


def _linear(found: Sequence[_Found], cores: int) -> list[Figure]:
    """More replicas beside one: a share of what they or the cores allow, and whether they are faster at all."""
    one, *more = found
    figures = [Figure("numbers of replicas that one could be held against", float(len(more)), 1.0, "", at_most=False)]
    for several in more:
        times = several.loaded.rate / one.loaded.rate
        allowed = min(several.replicas, cores / one.needed)
        figures += [
            Figure(f"{several.replicas} replicas, share of what they or the cores allow", times / allowed, LINEAR, "", at_most=False),
            Figure(f"{several.replicas} replicas, times the decisions of one", times, FASTER, "×", at_most=False),
        ]
    return figures


def _words(found: _Found) -> str:
    rate, half, last = found.loaded.rate, found.loaded.latency_ms(0.5), found.loaded.latency_ms(0.99)
    return (
        f"{found.replicas} replicas: {rate:,.0f} decisions/s (p50 {half:.1f} ms, p99 {last:.1f} ms), {found.busy:.2f} cores busy, of them "
        f"{found.serving:.2f} with replicas and proxy and {found.needed - found.serving:.2f} with clients, "
        f"{1e6 * found.serving / rate:,.0f} µs a decision; {found.loaded.failed} failed"
    )


def _by_itself(chosen: argparse.Namespace) -> tuple[list[Figure], list[str]]:
    """One replica that may become two: how soon the second is started, and what is lost on both ways."""
    more = {"OFFERLOOP_SERVING__MAX_REPLICAS": "2", "OFFERLOOP_SERVING__SCALE_DOWN_S": str(chosen.scale_down)}
    with served(NAME, 1, more) as running, Traffic(running, NAME, rate=CALM_RATE, seed=chosen.seed) as calm:
        time.sleep(3.0)
        before = len(processes(running, REPLICA))
        plan = Plan(running.settings.ports.api, asks(chosen.entities, running.key), chosen.connections, 2.0 * chosen.seconds + 20.0)
        began_s = time.monotonic()
        with loading(plan) as heavy:
            started_s = _until(running, before + 1)
            answers_s = _until_answering(running, before + 1)
            result = heavy.result()
        over_s = time.monotonic()
        ended_s = _until(running, before, fewer=True)
        time.sleep(3.0)
        left = len(processes(running, REPLICA))
    lost = [one for one in calm.tries if one.status != 200]
    figures = [
        Figure("a replica more is started, after the load begins", started_s - began_s, 10.0, "s"),
        Figure("requests lost on the way up and down", float(result.failed + len(lost) + len(calm.failed)), 0.0, ""),
        Figure("replicas once the load is over, more than before", float(left - before), 0.0, ""),
    ]
    notes = [
        f"by itself: {before} replica, load of {chosen.connections} connections; another was started after {started_s - began_s:.1f} s and "
        f"answered after {answers_s - began_s:.1f} s; ended {ended_s - over_s:.1f} s after the load (scale_down_s {chosen.scale_down:g})",
        f"{result.good:,} answers to the load at {result.rate:,.0f}/s, {len(calm.tries) + calm.asked:,} to {CALM_RATE:g}/s beside it",
        *(f"lost: {one.status} {one.said}" for one in lost[:3]),
        *([f"lost of the load: {dict(result.statuses)}"] if result.failed else []),
    ]
    return figures, notes


def _until(running: Served, count: int, *, fewer: bool = False) -> float:
    """When there are so many replicas (or fewer, as asked), in seconds of the monotonic clock; when patience ended, if never."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        found = len(processes(running, REPLICA))
        if found <= count if fewer else found >= count:
            break
        time.sleep(0.1)
    return time.monotonic()


def _until_answering(running: Served, count: int) -> float:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s and len(running.replicas()) < count:
        time.sleep(0.2)
    return time.monotonic()
