"""The decision service on a real Ray Serve behind its HAProxy: everything that only shows there."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from client import Ask, AsyncClient, Client, Event
from contracts.errors import ServiceFailed
from contracts.records import FieldValue
from contracts.settings import Ports, Settings, Store
from services import environment, ports, ray
from services.bootstrap import start_releases
from services.credentials import make_credentials
from services.ports import Addresses
from services.processes import INSTANCE, end_all, members, start
from services.readiness import Port
from serving.deploy import main, wait_until_ready
from serving.environment import REPLICA_PORTS, short_folder
from serving.keys import owner_key
from storage.journal import Journal
from storage.layout import Layout
from use_cases.definition import load

pytestmark = pytest.mark.installation

USE_CASE = "game_promotion"
UNDER_WAY = """
import sys, time
import ray

ray.init(address="auto", namespace="serve", log_to_driver=False, logging_level="ERROR")
names = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True)]
replicas = [ray.get_actor(name, "serve") for name in names if name.startswith("SERVE_REPLICA::offerloop#decisions")]
assert replicas
under_way = lambda: sum(ray.get([one.get_num_ongoing_requests.remote() for one in replicas]))
print(under_way(), flush=True)
for line in sys.stdin:
    until = time.monotonic() + 3.0
    while (count := under_way()) != int(line.split()[1]) and time.monotonic() < until:
        time.sleep(0.02)
    print(count, flush=True)
"""
"""Says how many requests are under way, by Ray's count, whenever it is to be another number, or after three seconds."""

SAMPLES: dict[str, FieldValue] = {"int": 1, "str": "x", "bool": True}


@dataclass(frozen=True)
class Cluster:
    """A Ray of its own with the decision service on it."""

    settings: Settings
    addresses: Addresses
    instance: str
    variables: dict[str, str]

    @property
    def key(self) -> str:
        """The owner's key."""
        return owner_key(Layout(self.settings.folder))

    def deploy(self, log: Path) -> None:
        """Deploy the decision service, and wait until it answers."""
        process = start([sys.executable, "-m", "serving.deploy"], self.variables, log)
        assert process.wait(300) == 0, log.read_text()

    def client(self) -> Client:
        """A patient client."""
        return Client(self.addresses.api, self.key)

    def replicas(self) -> list[psutil.Process]:
        """The replicas' processes."""
        return [process for process in members(self.instance) if "".join(process.cmdline()).startswith("ray::ServeReplica:offerloop:")]

    def replica_ports(self) -> list[int]:
        """Where they listen for requests."""
        found = [
            one.laddr.port for replica in self.replicas() for one in replica.net_connections("tcp") if one.status == psutil.CONN_LISTEN
        ]
        return [port for port in found if REPLICA_PORTS[0] <= port < REPLICA_PORTS[1]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Ray and the decision service, on free ports, ended by process id."""
    folder = tmp_path_factory.mktemp("cluster")
    asked = Settings(state=str(folder / "state"), use_cases=(USE_CASE,), ports=Ports(0, 0, 0, 0, 0, 0), store=Store(map_size_bytes=2**28))
    make_credentials(asked)
    start_releases(asked)
    addresses = ports.choose(asked)
    settings = environment.resolved(asked, addresses)
    needed = environment.base(settings, addresses) | ray.environment(settings, addresses, Layout(settings.folder))
    made = Cluster(settings, addresses, needed[INSTANCE], needed)
    try:
        start(ray.head(settings, addresses), needed, folder / "ray.log")
        until(lambda: Port("127.0.0.1", addresses.ray.gcs).holds(0), "Ray")
        made.deploy(folder / "deploy.log")
        yield made
    finally:
        end_all(made.instance)
        shutil.rmtree(short_folder(settings), ignore_errors=True)
    assert members(made.instance) == []


def until(holds: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def test_the_same_id_gets_the_same_answer_from_the_log(cluster: Cluster) -> None:
    with cluster.client() as client:
        first = client.decide(USE_CASE, "p-1", decision_id="d-1")
        assert client.decide(USE_CASE, "p-1", decision_id="d-1") == first
        stored = client.decision(USE_CASE, "d-1")
    assert (stored.action, stored.propensity, stored.release_id) == (first.action, first.propensity, first.release_id)


def test_an_event_is_in_the_next_decision(cluster: Cluster) -> None:
    event_type = next(name for name in load(USE_CASE).schema.types if name not in ("decision", "outcome"))
    fields: dict[str, FieldValue] = {name: SAMPLES[kind] for name, kind in load(USE_CASE).schema.types[event_type].fields.items()}
    with cluster.client() as client:
        assert client.send_events(USE_CASE, [Event("e-1", "p-2", event_type, time.time_ns() // 1_000, fields)]).accepted == 1
        decision = client.decision(USE_CASE, client.decide(USE_CASE, "p-2").decision_id)
    assert decision.seen_seq == 1


def test_many_at_once_are_all_answered(cluster: Cluster) -> None:
    async def run() -> Counter[str]:
        async with AsyncClient(cluster.addresses.api, cluster.key, connections=32) as client:
            answers = await asyncio.gather(*(client.decide(USE_CASE, f"p-{number % 50}") for number in range(500)))
            batch = await client.decide_many(USE_CASE, [Ask(f"p-{number}") for number in range(100)])
        return Counter(answer.arm for answer in (*answers, *batch))

    assert asyncio.run(run()).total() == 600


def test_replicas_answer_decisions_directly(cluster: Cluster) -> None:
    head = f"POST /v1/{USE_CASE}/decisions HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {cluster.key}\r\n"
    both = f'{head}content-length: 20\r\n\r\n{{"entity_id":"p-10"}}'.encode() * 2
    found = cluster.replica_ports()
    assert len(found) >= len(cluster.replicas()) > 0
    for port in found:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as asking:
            # why: Ray's way answers one after the other and keeps the connection; this answers the first and closes it
            asking.sendall(both)
            answered = b"".join(iter(lambda: asking.recv(65_536), b""))
        assert answered.count(b"HTTP/1.1 200 ") == 1
        assert b"connection: close" in answered.lower()


def test_ray_counts_what_replicas_answer_directly(cluster: Cluster) -> None:
    command = [sys.executable, "-c", UNDER_WAY]
    with (
        subprocess.Popen(command, env=cluster.variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as counting,
        cluster.client() as client,
    ):
        assert counting.stdin is not None and counting.stdout is not None
        assert counting.stdout.readline() == "0\n"
        journal = Journal(Layout(cluster.settings.folder).journal, cluster.settings.store.map_size_bytes)
        held, enough = threading.Event(), threading.Event()

        def hold(_: object) -> None:
            held.set()
            enough.wait(4.0)

        holding = threading.Thread(target=journal.write, args=(hold,))
        asking = threading.Thread(target=client.decide, args=(USE_CASE, "p-11"))
        holding.start()
        assert held.wait(30)
        asking.start()
        counting.stdin.write("until 1\n")
        counting.stdin.flush()
        counted = counting.stdout.readline()
        enough.set()
        asking.join()
        holding.join()
        journal.close()
        counting.stdin.write("until 0\n")
        counting.stdin.close()
        assert (counted, counting.stdout.readline()) == ("1\n", "0\n")


def test_nothing_listens_but_on_loopback(cluster: Cluster) -> None:
    listening = [
        (process.name(), connection.laddr)
        for process in members(cluster.instance)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 3
    assert [found for found in listening if found[1].ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")] == []


def test_headers_that_rays_replica_stumbles_over_do_not_reach_it(cluster: Cluster) -> None:
    hostile = {
        "x-request-id": b"\xff\xfe",
        "x-request-timeout-seconds": b"\xff",
        "x-session-id": b"\xff",
        "serve-multiplexed-model-id": b"\xff",
    }
    for name, value in hostile.items():
        assert httpx.get(f"{cluster.addresses.api}/healthz", headers={name.encode(): value}, timeout=10).status_code == 200, name
    assert httpx.get(f"{cluster.addresses.api}/-/routes", timeout=10).status_code == 404
    assert httpx.get(f"{cluster.addresses.api}/docs", timeout=10).status_code == 401


def test_rays_metrics_have_what_was_counted(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.decide(USE_CASE, "p-3")

    def counted() -> bool:
        page = httpx.get(f"http://127.0.0.1:{cluster.addresses.ray.metrics}/metrics", timeout=10).text
        return all(name in page for name in ("ray_offerloop_decisions_total{", "ray_offerloop_request_seconds_bucket{"))

    until(counted, "metrics")


def test_a_replica_that_is_killed_costs_no_answer_and_no_500(cluster: Cluster) -> None:
    statuses: Counter[int] = Counter()
    before = {process.pid for process in cluster.replicas()}
    assert before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 3.0
    with httpx.Client(timeout=20) as plain:
        while time.monotonic() < end:
            try:
                statuses[plain.get(f"{cluster.addresses.api}/readyz").status_code] += 1
            except httpx.TransportError:
                statuses[0] += 1
    with Client(cluster.addresses.api, cluster.key, patience_s=90.0) as client:
        assert client.decide(USE_CASE, "p-1", decision_id="d-1").decision_id == "d-1"
    assert set(statuses) <= {0, 200, 503}
    assert before.isdisjoint({process.pid for process in cluster.replicas()})


def test_deploying_again_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    cluster.deploy(tmp_path / "deploy.log")
    with cluster.client() as client:
        assert client.ready()


def test_waiting_ends_with_what_was_said_last(tmp_path: Path, free_port: Callable[[], int]) -> None:
    settings = Settings(state=str(tmp_path), ports=Ports(api=free_port()))
    with pytest.raises(ServiceFailed, match="does not answer decisions in time"):
        wait_until_ready(settings, time.monotonic() + 0.3)


def test_a_wrong_setting_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFFERLOOP_SERVING__UNHEARD", "1")
    assert main() == 1
    assert "unheard" in capsys.readouterr().err
