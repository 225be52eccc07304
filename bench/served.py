"""An installation that really runs, and clients that keep asking it: what measurements over HTTP stand on."""

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import msgspec
import psutil

from contracts.errors import ServiceFailed
from contracts.settings import Settings
from releases.ledger import Ledger
from services import ports
from services.processes import instance_of, members
from serving.environment import REPLICA_PORTS
from serving.keys import owner_key
from serving.operations import Desk
from storage.installation import open_installation
from storage.layout import Layout
from use_cases.definition import load_all

COMMAND = str(Path(sys.executable).with_name("offerloop"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got: when it asked and had the answer (seconds of the monotonic clock), the status, and what the answer says."""

    asked_s: float
    answered_s: float
    status: int
    said: Mapping[str, Any]

    @property
    def release_id(self) -> str:
        """The release that answered."""
        return str(self.said.get("release_id", ""))


@dataclass(frozen=True)
class Served:
    """A running installation of one use case."""

    settings: Settings
    desk: Desk
    key: str

    @property
    def address(self) -> str:
        """Of its decision API."""
        return f"http://127.0.0.1:{self.settings.ports.api}"

    def replicas(self) -> list[int]:
        """The ports of the replicas that answer decisions, so that each may be asked by itself."""
        own = {process.pid for process in members(instance_of(self.desk.layout.root))}
        listening = {
            connection.laddr.port
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.pid in own and connection.laddr
        }
        return sorted(port for port in listening if REPLICA_PORTS[0] <= port < REPLICA_PORTS[1] and self._decides(port))

    def serving_processes(self) -> list[psutil.Process]:
        """The processes that answer decisions: replicas, and HAProxy in front of them."""
        ports = set(self.replicas())
        found = []
        for process in members(instance_of(self.desk.layout.root)):
            try:
                listens = {one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
                if ports & listens or process.name() == "haproxy":
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def status(self, port: int, use_case: str) -> dict[str, Any]:
        """What a replica says of a use case."""
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/status", headers=self._headers, timeout=5.0, trust_env=False)
        answer.raise_for_status()
        return next(status for status in answer.json()["use_cases"] if status["use_case"] == use_case)

    def _decides(self, port: int) -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/status", headers=self._headers, timeout=5.0, trust_env=False)
            return answer.status_code == 200 and "use_cases" in answer.json()
        except (httpx.HTTPError, ValueError):
            return False

    @property
    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


@contextmanager
def served(use_case: str, replicas: int, more: Mapping[str, str] = MappingProxyType({})) -> Iterator[Served]:
    """An installation of a use case with so many replicas, on free ports and in a folder of its own; ended with the block.

    Args:
        use_case: which.
        replicas: how many.
        more: variables, such as of further settings.

    Raises:
        ServiceFailed: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="offerloop-bench-") as folder:
        environment = _environment(Path(folder) / "state", use_case, replicas) | dict(more)
        layout = Layout(Path(folder) / "state")
        try:
            done = subprocess.run([COMMAND, "up", "--detach"], env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
            if done.returncode:
                raise ServiceFailed("offerloop up", f"ended with {done.returncode}: {done.stderr[-400:]}", str(layout.logs))
            found = ports.read(layout)
            assert found is not None
            settings = msgspec.structs.replace(Settings.build("", environment), ports=found.ports)
            ledger = Ledger(layout.ledger)
            try:
                clock = open_installation(layout, settings.clock).clock
                yield Served(settings, Desk(layout, ledger, load_all(settings.use_cases, settings.approvers), clock), owner_key(layout))
            finally:
                ledger.close()
        finally:
            subprocess.run([COMMAND, "down"], env=environment, cwd=folder, capture_output=True, timeout=120)


class Load:
    """Clients that ask for decisions, each its next as soon as it has an answer; nothing is tried again.

    Args:
        served: whom they ask.
        use_case: of which.
        clients: at once.
        entities: about how many, in turn.
    """

    def __init__(self, served: Served, use_case: str, clients: int = 8, entities: int = 500) -> None:
        self.answers: list[Answer] = []
        self._url = f"{served.address}/v1/{use_case}/decisions"
        self._key = served.key
        self._clients = clients
        self._entities = entities
        self._enough = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()), name="load", daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        while len(self.answers) < self._clients and self._thread.is_alive():
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        lived = self._thread.is_alive()
        self._enough.set()
        self._thread.join(60.0)
        assert lived, "the clients ended before they were to"

    def since(self, moment_s: float) -> Sequence[Answer]:
        """The answers to what was asked since a moment of the monotonic clock."""
        return [answer for answer in list(self.answers) if answer.asked_s >= moment_s]

    async def _ask(self) -> None:
        limits = httpx.Limits(max_connections=self._clients)
        headers = {"authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(headers=headers, limits=limits, timeout=30.0, trust_env=False) as client:
            await asyncio.gather(*(self._one(client, number) for number in range(self._clients)))

    async def _one(self, client: httpx.AsyncClient, number: int) -> None:
        while not self._enough.is_set():
            number += self._clients
            asked_s = time.monotonic()
            try:
                answer = await client.post(self._url, json={"entity_id": f"e{number % self._entities}"})
                status, said = answer.status_code, answer.json()
            except (httpx.HTTPError, ValueError) as error:
                status, said = 0, {"error": repr(error)}
            self.answers.append(Answer(asked_s, time.monotonic(), status, said))


def _environment(state: Path, use_case: str, replicas: int) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("OFFERLOOP_")}
    free = {f"OFFERLOOP_PORTS__{name.upper()}": "0" for name in Settings().ports.__struct_fields__}
    scaled = {"OFFERLOOP_SERVING__MIN_REPLICAS": str(replicas), "OFFERLOOP_SERVING__MAX_REPLICAS": str(replicas)}
    return own | free | scaled | {"OFFERLOOP_STATE": str(state), "OFFERLOOP_USE_CASES": use_case}
