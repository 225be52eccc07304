"""R11: ten times the connections that the service is fastest at, of several keys, and slow sockets; what is answered, and afterwards."""

import argparse
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

import psutil

from bench.load import Loaded, Plan, load, loading, posts
from bench.rows import Figure, Measurement
from bench.served import Served, served
from bench.slow import trickling
from services.processes import instance_of, members
from serving.keys import Scope, make_key

CONNECTIONS = (8, 16, 32, 64, 128)
"""Where the peak is looked for."""

PEAK = 0.97
"""The fewest connections that give this share of the best rate are the peak's."""

TIMES = 10
AGAIN_S = 8
NORMAL = 0.9
MEGABYTE = 1e6


def measure(options: Sequence[str]) -> Measurement:
    """Find the peak, ask ten times as much for as long as asked, and see how it goes on."""
    parser = argparse.ArgumentParser(prog="make target ROW=R11 ARGS=…")
    parser.add_argument("--use-case", default="game_promotion")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--probe", type=float, default=5.0, help="seconds at each number of connections")
    parser.add_argument("--keys", type=int, default=4)
    parser.add_argument("--slow", type=int, default=500, help="slow sockets beside")
    # why: so many that what each was shown does not grow so long during the row as to be what is measured
    parser.add_argument("--entities", type=int, default=5_000)
    chosen = parser.parse_args(options)
    with served(chosen.use_case, chosen.replicas) as running:
        bodies = [b'{"entity_id":"e%d"}' % number for number in range(chosen.entities)]
        path = f"/v1/{chosen.use_case}/decisions"
        keys = [_key(running, f"greedy-{number}") for number in range(chosen.keys)]
        requests = [posts(path, bodies, key) for key in keys]
        modest = posts(path, bodies, _key(running, "modest"))
        time.sleep(1.0)
        port = running.settings.ports.api
        _load(port, requests, 32, 3.0)
        probed = [_load(port, requests, connections, chosen.probe) for connections in CONNECTIONS]
        best = max(one.rate for one in probed)
        connections = next(one.connections for one in probed if one.rate >= PEAK * best)
        # why: the best of several short looks is better than the truth, so the peak is looked at anew, twice, and on average
        before = [_load(port, requests, connections, 2 * chosen.probe) for _ in range(2)]
        peak = before[-1]
        with _memory(running) as memory, trickling(port, chosen.slow) as slow:
            time.sleep(2.0)
            with loading(Plan(port, modest, 1, chosen.seconds)) as small:
                over = _load(port, requests, TIMES * peak.connections, chosen.seconds)
                little = small.result()
            again = load(Plan(port, list(chain.from_iterable(zip(*requests, strict=True))), peak.connections, AGAIN_S, warm_s=0.0))
            ended = slow.end()
        # why: as often as before, since one look of ten seconds differs from the next by as much as is to be told here
        after = [_load(port, requests, peak.connections, 2 * chosen.probe) for _ in range(2)]
    figures = (
        *_rates([one.rate for one in before], over, again, [one.rate for one in after]),
        Figure("answers but 2xx, 429 and 503", float(_others(over) + _others(little)), 0.0, ""),
        Figure("429 and 503 without Retry-After", float(over.without_retry_after + little.without_retry_after), 0.0, ""),
        Figure("memory of replicas and proxy, grown by at most", memory["grown"] / MEGABYTE, 128.0, "MB"),
        Figure("slow sockets that got an answer but 4xx", float(_answered(ended)), 0.0, ""),
    )
    return Measurement("R11", figures, _notes(chosen, probed, before, after, over, little, ended, memory))


def _rates(before: Sequence[float], over: Loaded, again: Loaded, after: Sequence[float]) -> tuple[Figure, ...]:
    """What is held against the peak as it was before: a service that overload leaves slower is not to lower its own bar."""
    peak = sum(before) / len(before)
    return (
        Figure("goodput, of the peak's before", over.rate / peak, NORMAL, "", at_most=False),
        Figure("normal again after", float(_normal_after(again, peak)), 5.0, "s"),
        Figure("the peak afterwards, of the peak's before", sum(after) / len(after) / peak, NORMAL, "", at_most=False),
    )


def _load(port: int, requests: Sequence[Sequence[bytes]], connections: int, seconds: float) -> Loaded:
    """Load by each key over connections of its own; all together as one."""
    with ExitStack() as stack:
        begun = [stack.enter_context(loading(Plan(port, own, connections // len(requests), seconds, warm_s=1.0))) for own in requests]
        each = [one.result() for one in begun]
    histogram: Counter[int] = Counter()
    for one in each:
        histogram.update(one.histogram)
    return Loaded(
        connections,
        sum(one.seconds for one in each) / len(each),
        sum((Counter(one.statuses) for one in each), Counter()),
        sum(one.without_retry_after for one in each),
        [],
        histogram,
        sum(one.cpu_s for one in each),
    )


def _key(running: Served, name: str) -> str:
    return make_key(running.desk.layout, name, (Scope.DECIDE,))


def _others(loaded: Loaded) -> int:
    return sum(count for status, count in loaded.statuses.items() if not 200 <= status < 300 and status not in (429, 503))


def _answered(ended: Mapping[str, int]) -> int:
    return sum(count for status, count in ended.items() if status not in ("0", "open") and not status.startswith("4"))


def _normal_after(again: Loaded, rate: float) -> int:
    """Whole seconds until it was as fast as at the peak and refused nothing; more than were looked at when it never was."""
    for second, statuses in enumerate(again.each_second):
        if statuses.get(200, 0) >= NORMAL * rate and set(statuses) == {200}:
            return second
    return len(again.each_second) + 1


@contextmanager
def _memory(running: Served) -> Iterator[dict[str, float]]:
    """By how many bytes the replicas and the proxy have grown together at most, looked at twice a second.

    What they map of files is not theirs: pages of the journal, which grows by what is decided, are given back when others need memory.
    """
    processes = [
        process
        for process in members(instance_of(running.desk.layout.root))
        if process.name() == "haproxy" or "".join(process.cmdline()).startswith("ray::ServeReplica:offerloop:")
    ]
    said = {"grown": 0.0, "before": _resident(processes), "processes": float(len(processes))}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            said["grown"] = max(said["grown"], _resident(processes) - said["before"])

    thread = threading.Thread(target=look, name="memory", daemon=True)
    thread.start()
    try:
        yield said
    finally:
        over.set()
        thread.join()


def _resident(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            total += 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
        except (OSError, StopIteration):
            continue
    return total


def _notes(
    chosen: argparse.Namespace,
    probed: Sequence[Loaded],
    before: Sequence[Loaded],
    after: Sequence[Loaded],
    over: Loaded,
    little: Loaded,
    ended: Mapping[str, int],
    memory: Mapping[str, float],
) -> tuple[str, ...]:
    found = ", ".join(f"{one.connections}: {one.rate:.0f}/s" for one in probed)
    peak = before[-1]
    return (
        f"{chosen.replicas} replicas; connections: {found}; the peak's {peak.connections}: "
        f"{' and '.join(f'{one.rate:.0f}' for one in before)}/s before, {' and '.join(f'{one.rate:.0f}' for one in after)}/s after",
        f"{over.connections} connections of {chosen.keys} keys for {over.seconds:.0f} s: {over.rate:.0f}/s, "
        f"statuses {dict(over.statuses)}, p50 {over.latency_ms(0.5):.0f} ms, p99 {over.latency_ms(0.99):.0f} ms "
        f"(at the peak {peak.latency_ms(0.5):.0f} and {peak.latency_ms(0.99):.0f}); nobody waited when told to come again later",
        f"one connection of another key meanwhile: {little.rate:.0f}/s, p50 {little.latency_ms(0.5):.0f} ms, "
        f"statuses {dict(little.statuses)}",
        f"{chosen.slow} slow sockets, half of them in the headers, half in the body: cut off by status {dict(ended)} (0: without a word)",
        f"{memory['processes']:.0f} processes of replicas and proxy, {memory['before'] / MEGABYTE:.0f} MB of their own before",
    )
