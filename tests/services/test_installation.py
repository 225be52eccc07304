"""The whole installation: every process killed in turn, the supervisor too, and nothing left behind."""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from client.client import Client
from client.messages import Ask
from contracts.errors import RequestFailed
from decisions.record import stored_decision
from services import state
from services.processes import SERVICE
from serving.console.replica import NICENESS
from serving.keys import owner_key
from storage.journal import Journal
from tests.installation import Running, wait_until

pytestmark = pytest.mark.installation
USE_CASE = "email_promotion"
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


class Traffic:
    """Decisions asked for, one after the other, by a client that tries again; and those that were answered."""

    def __init__(self, client: Client, name: str) -> None:
        self.answered: dict[str, str] = {}
        self.failed: list[str] = []
        self._client = client
        self._name = name
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self) -> None:
        number = 0
        while not self._enough.wait(0.02):
            number += 1
            asked = f"{self._name}-{number}"
            try:
                self.answered[asked] = self._client.decide(USE_CASE, f"e{number % 50}", decision_id=asked).action
            except RequestFailed as error:
                self.failed.append(f"{asked}: {error}")

    @contextmanager
    def flowing(self) -> Iterator["Traffic"]:
        """While the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._enough.set()
            self._thread.join(120.0)


def processes_of(installation: Running, service: str) -> list[psutil.Process]:
    return [process for process in installation.processes if process.environ().get(SERVICE) == service]


def listening() -> dict[int, tuple[str, int]]:
    """Address and owner of every TCP port that is listened on."""
    found: dict[int, tuple[str, int]] = {}
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN:
            ip, port = connection.laddr  # type: ignore[misc]  # why: it is empty only for what does not listen
            found[port] = (ip, connection.pid or 0)
    return found


def assert_kept(installation: Running, answered: dict[str, str]) -> None:
    journal = Journal(installation.layout.journal, installation.settings.store.map_size_bytes)
    try:
        with journal.read() as read:
            kept = {name: stored_decision(read, USE_CASE, name) for name in answered}
    finally:
        journal.close()
    assert {name: decision.action for name, decision in kept.items() if decision is not None} == answered


def test_everything_runs_on_loopback_alone(installation: Running) -> None:
    installation.wait_until_ready()
    own = {process.pid: process.cmdline()[:3] for process in installation.processes}
    elsewhere = {port: own[pid] for port, (ip, pid) in listening().items() if pid in own and ip not in LOOPBACK}
    assert elsewhere == {}


def test_a_second_up_is_refused_with_the_process_id_of_the_first(installation: Running) -> None:
    assert f"process {state.supervisor(installation.layout)} runs this installation" in installation.offerloop("up", fails=True)


def test_the_console_answers_beside_decisions_from_a_process_of_its_own(installation: Running) -> None:
    installation.wait_until_ready()
    address, key = installation.addresses.api, owner_key(installation.layout)
    with httpx.Client(base_url=address, trust_env=False, timeout=20.0) as browser:
        wait_until(lambda: browser.get("/console/sign-in").status_code == 200, 120.0)
        page = browser.get("/console/sign-in")
        assert "Offerloop" in page.text and "script-src 'self'" in page.headers["content-security-policy"]
        assert browser.get("/v1/console/decisions").status_code != 200
        token = re.findall(r'name="token" value="(\w+)"', page.text)[0]
        assert browser.post("/console/sign-in", data={"token": token, "key": key, "next": "/"}).status_code == 303
        overview = browser.get("/console/")
        assert overview.status_code == 200 and USE_CASE in overview.text
        assert browser.get("/console/assets/style.css").headers["content-type"].startswith("text/css")
    replicas = {
        process.cmdline()[0]: process for process in processes_of(installation, "ray") if process.name().startswith("ray::ServeRepli")
    }
    (console,) = (process for name, process in replicas.items() if "console" in name)
    assert any("decisions" in name for name in replicas)
    nicest = min(os.getpriority(os.PRIO_PROCESS, thread.id) for thread in console.threads())
    assert nicest == NICENESS


def test_decisions_go_on_while_the_console_is_dead(installation: Running) -> None:
    installation.wait_until_ready()
    found = [process for process in processes_of(installation, "ray") if "ServeReplica:console" in "".join(process.cmdline())]
    assert found
    with installation.client() as client, Traffic(client, "console").flowing() as traffic:
        for process in found:
            process.kill()
        wait_until(lambda: len(traffic.answered) > 50, 60.0)
    assert traffic.failed == []
    assert_kept(installation, traffic.answered)


@pytest.mark.faults
def test_decisions_go_on_while_each_of_the_others_is_killed_and_comes_back(installation: Running) -> None:
    installation.wait_until_ready()
    others = ("exporter", "dispatcher", "worker", "prefect", "mlflow")
    before = {name: installation.service(name) for name in others}
    with installation.client() as client, Traffic(client, "others").flowing() as traffic:
        for name in others:
            os.kill(before[name].pid, signal.SIGKILL)
            wait_until(lambda name=name: installation.service(name).starts > before[name].starts, 60.0)  # type: ignore[misc]  # why: bound now
        installation.wait_until_ready()
    assert traffic.failed == [] and len(traffic.answered) > 10
    assert_kept(installation, traffic.answered)


@pytest.mark.faults
@pytest.mark.parametrize("part", ["ray::ServeReplica", "haproxy", "ray::ServeController", "raylet", "gcs_server"])
def test_what_answers_decisions_comes_back_with_the_same_release(installation: Running, part: str) -> None:
    installation.wait_until_ready()
    plans = installation.status()["plans"]
    with installation.client(patience_s=240.0) as client, Traffic(client, part).flowing() as traffic:
        wait_until(lambda: len(traffic.answered) > 20, 60.0)
        found = [process for process in processes_of(installation, "ray") if process.name().startswith(part[:15])]
        assert found, f"no {part} runs"
        for process in found:
            process.kill()
        killed = len(traffic.answered)
        wait_until(lambda: len(traffic.answered) > killed + 100, 300.0)
    installation.wait_until_ready()
    assert traffic.failed == []
    assert_kept(installation, traffic.answered)
    assert installation.status()["plans"] == plans


@pytest.mark.faults
def test_a_supervisor_that_was_killed_leaves_nothing_undone(installation: Running) -> None:
    installation.wait_until_ready()
    plans, addresses = installation.status()["plans"], installation.addresses
    with installation.client() as client:
        answers = client.decide_many(USE_CASE, [Ask(f"e{number}") for number in range(200)])
    before = {answer.decision_id: answer.action for answer in answers}
    pid = state.supervisor(installation.layout)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: state.supervisor(installation.layout) is None, 30.0)
    old = {(process.pid, process.create_time()) for process in installation.processes}
    with installation.client() as client:
        client.decide(USE_CASE, "nobody-watches", decision_id="unwatched")
    installation.up()
    assert installation.addresses.ports == addresses.ports
    assert installation.status()["plans"] == plans
    assert old.isdisjoint({(process.pid, process.create_time()) for process in installation.processes})
    assert_kept(installation, before)
    with installation.client() as client:
        again = client.decide(USE_CASE, "nobody-watches", decision_id="unwatched")
    assert again.decision_id == "unwatched"


def test_down_leaves_no_process_and_no_port(installation: Running) -> None:
    installation.wait_until_ready()
    own = {process.pid for process in installation.processes}
    before = {port for port, (_, pid) in listening().items() if pid in own}
    assert installation.addresses.ports.api in before
    began = time.time()
    assert "processes ended" in installation.offerloop("down")
    assert installation.processes == []
    left = {port: pid for port, (_, pid) in listening().items() if port in before}
    assert [port for port, pid in left.items() if pid == 0 or psutil.Process(pid).create_time() < began] == []
    assert installation.offerloop("down").strip() == "nothing ran"
    assert installation.status()["ready"] is False
