"""P5: twenty features read online, for one entity, for a hundred, and where every window has moved since the last event."""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import lmdb
import msgspec
import numpy as np

from bench import feast
from bench.feature_world import CHAMPION_SET, USE_CASE, event
from bench.rows import Figure, Measurement
from contracts.clock import DAY_US, HOUR_US, SECOND_US
from contracts.records import Event
from features.online import OnlineFeatures, retention
from features.ready import ROW
from features.state import HEAD
from features.store import read_entities, read_entity
from storage.journal import Journal
from storage.transaction import Write

NOW = 20_000 * DAY_US + 12 * HOUR_US
MANY = 100
ROUNDS = 99
ROUND = 400
"""Reads of a round, alone or in hundreds: short, so that whatever else runs disturbs few rounds."""

_READS = 4_000
REPLAY = "replay"
REPLAYED = 20
"""Newest events of an entity that are replayed one by one."""


def measure(options: Sequence[str]) -> Measurement:
    """Read from a journal and, in turn, bare values of the same size from a bare LMDB environment with as many entities."""
    parser = argparse.ArgumentParser(prog="make target ROW=P5 ARGS=…")
    parser.add_argument("--entities", type=int, default=50_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--moved", type=int, default=200, help="entities whose traffic is replayed")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    online = OnlineFeatures(USE_CASE.schema, retention([CHAMPION_SET]), ready=[CHAMPION_SET])
    with tempfile.TemporaryDirectory(prefix="offerloop-p5-") as folder:
        journal = Journal(Path(folder) / "journal", 64 * 2**30)
        bare = lmdb.open(str(Path(folder) / "bare"), map_size=8 * 2**30)
        try:
            history = _history(chosen.seed, chosen.entities, chosen.events)
            size = _fill(journal, bare, online, history)
            _check(journal, online, history)
            one, many = _compare(journal, bare, online, list(history), chosen.seed)
            alone = _one_by_one(journal, online, list(history), chosen.seed)
            moved = _replay(journal, online, history, chosen.moved, chosen.seed)
        finally:
            journal.close()
            bare.close()
        peer = feast.read(Path(folder) / "feast", chosen.seed)
    ratios = [[ours / theirs for ours, theirs in rounds] for rounds in (one, many)]
    figures = [
        Figure("one entity, times bare", median(ratios[0]), 5.0, "×"),
        Figure("100 entities, times bare", median(ratios[1]), 5.0, "×"),
        Figure("every window moved, p50", float(np.percentile(moved, 50)), 100.0, "µs"),
    ]
    if peer.one_us:
        figures.append(Figure("one entity, Feast's time over ours", peer.one_us / alone[0], 50.0, "×", at_most=False))
        figures.append(Figure("100 entities, Feast's time over ours", peer.many_us / alone[1], 50.0, "×", at_most=False))
    notes = [
        f"{chosen.entities} entities with {chosen.events} events, states of {size:.0f} bytes on average, rows as of now",
        *(
            f"{name}: {median(mine for mine, _ in rounds):.1f} µs, bare {median(other for _, other in rounds):.1f} µs; "
            f"{len(rounds)} rounds, ratio {min(ratio):.2f} to {max(ratio):.2f}"
            for name, rounds, ratio in (("one entity", one, ratios[0]), ("100 entities", many, ratios[1]))
        ),
        f"{len(moved)} reads a day or more after the last event, in replayed traffic:"
        f" p99 {np.percentile(moved, 99):.1f} µs, worst {max(moved):.1f} µs",
        "rows kept ready equal rows computed from the events, to the bit, in 500 states at two moments",
        f"timed one by one, as Feast is: {alone[0]:.1f} µs for one entity, {alone[1]:.0f} µs for 100. {peer.words}",
    ]
    return Measurement("P5", tuple(figures), tuple(notes))


def _history(seed: int, entities: int, events: int) -> dict[str, list[Event]]:
    random = np.random.default_rng(seed)
    whose = random.integers(entities, size=events)
    times = np.sort(NOW - random.integers(1, 30 * DAY_US, size=events))
    history: dict[str, list[Event]] = {f"player-{number}": [] for number in range(entities)}
    for number, (entity, at_us) in enumerate(zip(whose.tolist(), times.tolist(), strict=True)):
        name = f"player-{entity}"
        history[name].append(event(random, number, name, at_us))
    return history


def _fill(journal: Journal, bare: lmdb.Environment, online: OnlineFeatures, history: dict[str, list[Event]]) -> float:
    states = {name: online.build(events) for name, events in history.items()}
    found = [(name, online.compact(state, NOW)) for name, state in states.items() if state is not None]
    value = np.arange(len(CHAMPION_SET.names), dtype=np.float64).tobytes()
    for start in range(0, len(found), 5_000):
        part = found[start : start + 5_000]
        journal.write(lambda write, part=part: [write.put_state(USE_CASE.name, name, state) for name, state in part])  # type: ignore[misc]
        with bare.begin(write=True) as transaction:
            for name, _ in part:
                transaction.put(f"{USE_CASE.name}\0{name}".encode(), value)
    return float(np.mean([len(state) for _, state in found]))


def _check(journal: Journal, online: OnlineFeatures, history: dict[str, list[Event]]) -> None:
    plain = OnlineFeatures(USE_CASE.schema, retention([CHAMPION_SET]))
    names = [name for name, events in history.items() if events][:500]
    with journal.read() as read:
        states = read.get_states(USE_CASE.name, names)
    for at_us in (NOW, NOW + 9 * DAY_US):
        many = online.read_many(states, CHAMPION_SET, at_us)
        for index, name in enumerate(names):
            grown = None
            for one in history[name]:
                grown, _ = plain.apply(grown, one)
            expected = plain.read(grown, CHAMPION_SET, at_us, {})
            single = online.read(states[index], CHAMPION_SET, at_us, {})
            assert single.values.tobytes() == expected.values.tobytes() == many.values[index].tobytes(), name
            assert single.ages_us.tolist() == expected.ages_us.tolist() == many.ages_us[index].tolist(), name


def _compare(
    journal: Journal, bare: lmdb.Environment, online: OnlineFeatures, names: list[str], seed: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    random = np.random.default_rng(seed + 1)
    asked = [names[place] for place in random.integers(len(names), size=(ROUNDS + 1) * ROUND).tolist()]
    at_us = NOW + SECOND_US

    def ours_one(part: list[str]) -> None:
        for name in part:
            read_entity(journal, online, USE_CASE.name, CHAMPION_SET, name, at_us, {})

    def bare_one(part: list[str]) -> None:
        for name in part:
            with bare.begin() as transaction:
                np.frombuffer(transaction.get(f"{USE_CASE.name}\0{name}".encode()) or b"")

    def ours_many(part: list[str]) -> None:
        for start in range(0, len(part), MANY):
            read_entities(journal, online, USE_CASE.name, CHAMPION_SET, part[start : start + MANY], at_us)

    def bare_many(part: list[str]) -> None:
        for start in range(0, len(part), MANY):
            with bare.begin() as transaction:
                for name in part[start : start + MANY]:
                    np.frombuffer(transaction.get(f"{USE_CASE.name}\0{name}".encode()) or b"")

    return _in_turn(ours_one, bare_one, asked, ROUND), _in_turn(ours_many, bare_many, asked, ROUND // MANY)


def _one_by_one(journal: Journal, online: OnlineFeatures, names: list[str], seed: int) -> tuple[float, float]:
    """Microseconds of the middle one of many reads, each timed by itself, of one entity and of 100."""
    random = np.random.default_rng(seed + 3)
    asked = [names[place] for place in random.integers(len(names), size=_READS).tolist()]
    at_us = NOW + SECOND_US
    ones, manies = [], []
    for name in asked:
        began = time.perf_counter_ns()
        read_entity(journal, online, USE_CASE.name, CHAMPION_SET, name, at_us, {})
        ones.append((time.perf_counter_ns() - began) / 1e3)
    for start in range(0, _READS, MANY):
        began = time.perf_counter_ns()
        read_entities(journal, online, USE_CASE.name, CHAMPION_SET, asked[start : start + MANY], at_us)
        manies.append((time.perf_counter_ns() - began) / 1e3)
    return median(ones), median(manies)


def _in_turn(
    ours: Callable[[list[str]], None], theirs: Callable[[list[str]], None], asked: list[str], count: int
) -> list[tuple[float, float]]:
    """Microseconds of each, ABBA, the first round thrown away; `count` of them a round."""
    rounds = []
    for start in range(0, len(asked), ROUND):
        part = asked[start : start + ROUND]
        mine, first, second, mine_again = (_timed(work, part) for work in (ours, theirs, theirs, ours))
        rounds.append(((mine + mine_again) / 2 / count * 1e6, (first + second) / 2 / count * 1e6))
    return rounds[1:]


def _timed(work: Callable[[list[str]], None], part: list[str]) -> float:
    began = time.perf_counter()
    work(part)
    return time.perf_counter() - began


def _replay(journal: Journal, online: OnlineFeatures, history: dict[str, list[Event]], entities: int, seed: int) -> list[float]:
    """Microseconds of reads a day or more after an event, before the next is known: no window's first moment is what it was."""
    random = np.random.default_rng(seed + 2)
    busy = [name for name, events in history.items() if len(events) > 1]
    took = []
    for name in [busy[place] for place in random.integers(len(busy), size=entities).tolist()]:
        events = [msgspec.structs.replace(one, seq=seq) for seq, one in enumerate(history[name], start=1)]
        known = max(0, len(events) - REPLAYED)
        state = online.build(events[:known])
        for one in events[known:]:
            state, _ = online.apply(state, one)
            journal.write(partial(_keep, name=name, state=state))
            moved_us = max(one.event_time + DAY_US, ROW.unpack_from(state, HEAD.size)[2])
            at_us = moved_us + int(random.integers(2 * DAY_US))
            began = time.perf_counter_ns()
            read_entity(journal, online, REPLAY, CHAMPION_SET, name, at_us, {})
            took.append((time.perf_counter_ns() - began) / 1e3)
    return took


def _keep(write: Write, *, name: str, state: bytes) -> None:
    write.put_state(REPLAY, name, state)
