"""P6: an event accepted is in the next decision; how long a durable answer takes, and how many events a second are taken in batches."""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench import feast
from bench.feature_world import CHAMPION_SET, USE_CASE, bundle_of, message
from bench.rows import Figure, Measurement
from contracts.settings import Settings, Store
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act
from releases.stages import start
from serving.service import DecisionService

BATCH = 1_000
"""Events of a request, which the settings take by default."""


def measure(options: Sequence[str]) -> Measurement:
    """Send events one at a time, each followed by a decision that must know it, then many in batches; real LMDB, real syncs."""
    parser = argparse.ArgumentParser(prog="make target ROW=P6 ARGS=…")
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=200_000, help="sent in batches")
    parser.add_argument("--singles", type=int, default=2_000, help="sent one at a time")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    with tempfile.TemporaryDirectory(prefix="offerloop-p6-") as folder:
        settings = Settings(state=folder, use_cases=(USE_CASE.name,), store=Store(map_size_bytes=32 * 2**30))
        with DecisionService(settings, {USE_CASE.name: USE_CASE}) as service:
            _begin(service)
            rates = _batches(service, chosen.events, chosen.entities, chosen.seed)
            waits, unseen = _singles(service, chosen.singles, chosen.entities, chosen.seed)
        peer = feast.push(Path(folder) / "feast", chosen.seed)
    median, last = float(np.percentile(waits, 50)), float(np.percentile(waits, 99))
    figures = (
        Figure("events not in the next decision", float(unseen), 0.0, ""),
        Figure("durable answer, p50", median, 3.0, "ms"),
        Figure("durable answer, p99", last, 20.0, "ms"),
        Figure("events a second in batches", float(np.median(rates)), 10_000.0, "/s", at_most=False),
    )
    notes = [
        f"{chosen.singles} single events, each read back by a decision; worst {max(waits):.2f} ms",
        f"{chosen.events} events of {chosen.entities} entities in requests of {BATCH}, one after another; a tenth of them at a time took "
        f"{min(rates):,.0f} to {max(rates):,.0f} a second",
        f"{len(CHAMPION_SET.names)} features a row are kept ready as a single event is accepted; behind a batch, by the next read",
        peer,
    ]
    return Measurement("P6", figures, tuple(notes))


def _begin(service: DecisionService) -> None:
    release_id = write_bundle(service.layout.bundles, bundle_of(CHAMPION_SET), service.layout.secrets)
    digest = read_bundle(service.layout.bundles, release_id).digest
    start(service.ledger, USE_CASE.name, release_id, digest, 0.0, Act("bench", service.clock.now_us(), "to be measured"))
    service.look()


def _batches(service: DecisionService, count: int, entities: int, seed: int) -> list[float]:
    random = np.random.default_rng(seed)
    now_us = service.clock.now_us()
    sent = [message(random, number, int(random.integers(entities)), now_us - int(random.integers(10**9))) for number in range(count)]
    rates = []
    tenth = max(BATCH, count // 10)
    for first in range(0, count, tenth):
        part = sent[first : first + tenth]
        began = time.perf_counter()
        for start_ in range(0, len(part), BATCH):
            taken = service.accept_events(USE_CASE.name, part[start_ : start_ + BATCH])
            assert taken.accepted == len(part[start_ : start_ + BATCH]), taken
        rates.append(len(part) / (time.perf_counter() - began))
    return rates


def _singles(service: DecisionService, count: int, entities: int, seed: int) -> tuple[list[float], int]:
    random = np.random.default_rng(seed + 1)
    place = CHAMPION_SET.names.index("matches_1h")
    waits: list[float] = []
    unseen = 0
    for number in range(count):
        entity = int(random.integers(entities))
        name = f"player-{entity}"
        before = service.decide(USE_CASE.name, name).features[place]
        event = message(random, 10**9 + number, entity, service.clock.now_us(), kind="match")
        began = time.perf_counter()
        service.accept_events(USE_CASE.name, [event])
        waits.append((time.perf_counter() - began) * 1e3)
        unseen += service.decide(USE_CASE.name, name).features[place] != before + 1
    return waits, unseen
