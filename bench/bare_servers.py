"""The peers of a decision over HTTP: a scorer written by hand with FastAPI, and `mlflow models serve`, of the same model."""

import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import lightgbm
import numpy as np
import psutil
from numpy.typing import NDArray

from bench.load import Plan, load, posts
from bench.processes import running
from decisions.matrix import ModelColumns, rows
from decisions.scorer import MODEL_FILE
from releases.bundle import BundleParts

WORKERS = (1, 2)
WAYS = ("async", "sync")
"""The scorer's two routes: on the event loop, or in FastAPI's pool of threads."""

TRY_S = 1.5


class Server:
    """A server that scores.

    Attributes:
        requests: to be asked in turn.
        process: the one that was started; it may have started others.
    """

    def __init__(self, name: str, port: int, requests: Sequence[bytes], process: psutil.Process) -> None:
        self.name = name
        self.port = port
        self.requests = requests
        self.process = process


@contextmanager
def scorers(parts: BundleParts, features: Sequence[Sequence[float]], folder: Path) -> Iterator[list[Server]]:
    """The scorer written by hand, with each number of workers and each way of scoring, at uvicorn's fastest: uvloop, httptools, no log.

    Args:
        parts: of the release whose model it has.
        features: of entities, in turn asked for.
        folder: for its files.
    """
    columns = columns_of(parts)
    (folder / MODEL_FILE).write_bytes(parts.scorer_files[MODEL_FILE])
    np.save(folder / "candidates.npy", columns.values)
    np.save(folder / "matched.npy", columns.matched)
    (folder / "names.json").write_text(json.dumps(list(parts.catalogue.index)))
    bodies = [json.dumps({"entity_id": f"player-{number}", "features": list(row)}).encode() for number, row in enumerate(features)]
    fast = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning", "--host", "127.0.0.1")
    environment = dict(os.environ) | {"BARE_SCORER": str(folder)}
    first, second = (free_port() for _ in WORKERS)

    def command(port: int, workers: int) -> list[str]:
        return [sys.executable, "-m", "uvicorn", "bench.peers.bare_scorer:app", "--port", str(port), "--workers", str(workers), *fast]

    with (
        running(command(first, 1), environment, folder / "one.log", f"http://127.0.0.1:{first}/") as one,
        running(command(second, 2), environment, folder / "two.log", f"http://127.0.0.1:{second}/") as two,
    ):
        yield [
            Server(f"{workers} worker{'s' if workers > 1 else ''}, {way}", port, posts(f"/{way}", bodies), process)
            for workers, port, process in ((1, first, one), (2, second, two))
            for way in WAYS
        ]


@contextmanager
def mlflow_server(parts: BundleParts, features: Sequence[Sequence[float]], folder: Path, workers: int) -> Iterator[Server]:
    """`mlflow models serve` of the same model: the rows of all candidates in a request, as its protocol has it."""
    import mlflow.lightgbm  # why: twelve seconds of import that only this peer needs

    columns = columns_of(parts)
    booster = lightgbm.Booster(model_str=parts.scorer_files[MODEL_FILE].decode())
    path = folder / "mlflow"
    mlflow.lightgbm.save_model(booster, str(path), pip_requirements=["lightgbm"])
    bodies = [
        json.dumps({"dataframe_split": {"columns": columns.names, "data": _clean(matrix(columns, row))}}).encode() for row in features
    ]
    port = free_port()
    serve = [
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(path),
        "--env-manager",
        "local",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "-w",
        str(workers),
    ]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    bin_path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    environment = dict(os.environ) | quiet | {"PATH": bin_path}
    with running([sys.executable, *serve], environment, folder / "mlflow.log", f"http://127.0.0.1:{port}/ping") as process:
        yield Server("mlflow models serve", port, posts("/invocations", bodies), process)


def tried(servers: Sequence[Server], connections: int) -> dict[Server, float]:
    """Answers a second of each, tried for a moment."""
    return {server: load(Plan(server.port, server.requests, connections, TRY_S, 0.3)).rate for server in servers}


def answers(server: Server, path: str, count: int) -> list[Any]:
    """What a server says to its first requests, asked at a path, as JSON."""
    found = []
    with httpx.Client(timeout=30.0, trust_env=False) as client:
        for request in server.requests[:count]:
            body = request.partition(b"\r\n\r\n")[2]
            said = client.post(f"http://127.0.0.1:{server.port}{path}", content=body, headers={"content-type": "application/json"})
            said.raise_for_status()
            found.append(said.json())
    return found


def columns_of(parts: BundleParts) -> ModelColumns:
    """The columns of a release's model."""
    return ModelColumns.of([feature["name"] for feature in parts.features["features"]], parts.catalogue)


def matrix(columns: ModelColumns, features: Sequence[float]) -> NDArray[np.float64]:
    """The rows of all candidates for an entity."""
    return rows(np.array(features, dtype=np.float64), columns, np.arange(len(columns.values)))


def free_port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _clean(rows: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if value != value else value for value in row] for row in rows.tolist()]
