"""P7: decisions a second over HTTP with everything on, beside servers that only score."""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from bench.bare_servers import Server, answers, mlflow_server, scorers, tried
from bench.load import Loaded, Plan, load
from bench.processes import family, peak_mb
from bench.promotion_world import CANDIDATES, NAME, asks, entity, release, serving
from bench.rounds import in_turn, ratio
from bench.rows import Figure, Measurement, Series
from bench.served import Served

CONNECTIONS = (1, 8, 32)
TARGETS = {8: 0.9, 32: 1.0}
"""Least times the bare scorer's rate, by connections."""

MLFLOW_AT, MLFLOW_TARGET = 8, 4.0
COMPARED = 40
"""Decisions whose scores are compared, to the bit."""


def measure(options: Sequence[str]) -> Measurement:
    """Ask a running installation, the scorer written by hand, and MLflow's server, in turn."""
    parser = argparse.ArgumentParser(prog="make target ROW=P7 ARGS=…")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--entities", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=40, help="of each entity, before")
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--settle", type=float, default=3.0, help="seconds to wait before the first load")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    parts = release(2 * chosen.seed, trees=chosen.trees)
    with (
        tempfile.TemporaryDirectory(prefix="offerloop-p7-") as folder,
        serving(chosen.replicas, chosen.entities, chosen.events, chosen.seed, parts) as running,
    ):
        logged = logged_decisions(running, COMPARED)
        features = [decision["features"] for decision in logged]
        peers = Path(folder) / "bare"
        peers.mkdir()
        with scorers(parts, features, peers) as bare, mlflow_server(parts, features, Path(folder), chosen.replicas) as mlflow:
            differing = _same(logged, bare[0], mlflow)
            time.sleep(chosen.settle)
            ours = asks(chosen.entities, running.key)
            trials = {connections: tried(bare, connections) for connections in CONNECTIONS}
            best = {connections: max(rates, key=rates.__getitem__) for connections, rates in trials.items()}
            things: dict[str, Callable[[], Loaded]] = {}
            for connections in CONNECTIONS:
                things[f"ours {connections}"] = partial(load, Plan(running.settings.ports.api, ours, connections, chosen.seconds))
                things[f"bare {connections}"] = partial(_load, best[connections], connections, chosen.seconds)
                if connections == MLFLOW_AT:
                    things["mlflow"] = partial(_load, mlflow, connections, chosen.seconds)
            found = in_turn(things, chosen.rounds)
            memory = {
                "ours, replicas and HAProxy": peak_mb(running.serving_processes()),
                "the scorer": max(peak_mb(family([server.process])) for server in bare),
                "MLflow": peak_mb(family([mlflow.process])),
            }
    return Measurement("P7", _figures(found, differing), _notes(found, trials, memory, chosen), (_series(found),))


def logged_decisions(running: Served, count: int) -> list[dict[str, Any]]:
    """Ask for so many decisions, and read them back from the log."""
    base, headers = f"{running.address}/v1/{NAME}/decisions", {"authorization": f"Bearer {running.key}"}
    found = []
    with httpx.Client(headers=headers, timeout=30.0, trust_env=False) as client:
        for number in range(count):
            decided = client.post(base, json={"entity_id": entity(number)})
            decided.raise_for_status()
            logged = client.get(f"{base}/{decided.json()['decision_id']}")
            logged.raise_for_status()
            found.append(logged.json())
    return found


def _load(server: Server, connections: int, seconds: float) -> Loaded:
    return load(Plan(server.port, server.requests, connections, seconds))


def _same(logged: Sequence[Mapping[str, Any]], bare: Server, mlflow: Server) -> int:
    """How many of the logged scores differ in a bit from what either peer says of the same features."""
    differing = 0
    said = zip(logged, answers(bare, "/scores", len(logged)), answers(mlflow, "/invocations", len(logged)), strict=True)
    for decision, bare_scores, by_mlflow in said:
        own = [candidate[2] for candidate in decision["candidates"]]
        assert len(own) == CANDIDATES, f"only {len(own)} candidates were eligible"
        for other in (bare_scores, by_mlflow["predictions"]):
            differing += sum(mine != theirs for mine, theirs in zip(own, other, strict=True))
    return differing


def _figures(found: Mapping[str, Sequence[Loaded]], differing: int) -> tuple[Figure, ...]:
    rates = {name: [one.rate for one in rounds] for name, rounds in found.items()}
    figures = [
        Figure(
            f"{connections} connections, times the bare scorer",
            ratio(rates[f"ours {connections}"], rates[f"bare {connections}"])[0],
            target,
            "×",
            at_most=False,
        )
        for connections, target in TARGETS.items()
    ]
    times = ratio(rates[f"ours {MLFLOW_AT}"], rates["mlflow"])[0]
    figures.append(Figure(f"{MLFLOW_AT} connections, times MLflow", times, MLFLOW_TARGET, "×", at_most=False))
    figures.append(Figure("scores that differ in a bit", float(differing), 0.0, ""))
    failed = sum(one.failed for name, rounds in found.items() if name.startswith("ours") for one in rounds)
    return (*figures, Figure("answers of ours that were not 2xx", float(failed), 0.0, ""))


def _series(found: Mapping[str, Sequence[Loaded]]) -> Series:
    lines: dict[str, dict[str, float]] = {"Offerloop, everything on": {}, "FastAPI that only scores": {}, "MLflow": {}}
    for (name, place), rounds in zip((_place(name) for name in found), found.values(), strict=True):
        lines[name][place] = median(one.rate for one in rounds)
    return Series("Decisions over HTTP", "connections", "answers a second", lines)


def _place(name: str) -> tuple[str, str]:
    who, _, connections = name.partition(" ")
    names = {"ours": "Offerloop, everything on", "bare": "FastAPI that only scores", "mlflow": "MLflow"}
    return names[who], connections or str(MLFLOW_AT)


def _notes(
    found: Mapping[str, Sequence[Loaded]],
    trials: Mapping[int, Mapping[Server, float]],
    memory: Mapping[str, float],
    chosen: argparse.Namespace,
) -> tuple[str, ...]:
    best = {connections: max(rates, key=rates.__getitem__) for connections, rates in trials.items()}
    lines = [
        f"ours: {chosen.replicas} replicas behind HAProxy, key, features of {chosen.entities} players with {chosen.events} events each, "
        f"rules and a limit for each of {CANDIDATES} candidates (all eligible), {chosen.trees} trees, learned policy, durable log",
        f"the bare scorer is sent the features, and answers with the best candidate; MLflow has {chosen.replicas} workers",
        "the bare scorer in four settings (uvicorn with uvloop and httptools, no access log), the fastest for each number of connections; "
        "answers a second at " + "; ".join(f"{connections}: {_tried(rates)}" for connections, rates in trials.items()),
    ]
    for connections in CONNECTIONS:
        ours, bare = found[f"ours {connections}"], found[f"bare {connections}"]
        spread = ratio([one.rate for one in ours], [one.rate for one in bare])
        lines.append(
            f"{connections} connections: {_words(ours)}; bare scorer ({best[connections].name}) {_words(bare)}; "
            f"{spread[0]:.2f} ×, rounds {spread[1]}"
        )
    lines.append(f"{MLFLOW_AT} connections: MLflow {_words(found['mlflow'])}")
    lines.append("peak memory: " + ", ".join(f"{name} {size:.0f} MB" for name, size in memory.items()))
    return tuple(lines)


def _tried(rates: Mapping[Server, float]) -> str:
    return ", ".join(f"{server.name} {rate:,.0f}" for server, rate in rates.items())


def _words(rounds: Sequence[Loaded]) -> str:
    rate, half, last = (
        median(value) for value in zip(*((one.rate, one.latency_ms(0.5), one.latency_ms(0.99)) for one in rounds), strict=True)
    )
    return f"{rate:,.0f}/s (p50 {half:.2f} ms, p99 {last:.1f} ms)"
