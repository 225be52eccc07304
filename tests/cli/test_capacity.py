import asyncio
import json
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.asking import Asked, ask
from cli.capacity import held
from cli.trial import begin_with_champion
from contracts.settings import Settings
from releases.bundle import read_bundle
from releases.ledger import Ledger
from storage.layout import Layout
from tests.cli.conftest import USE_CASE, Run


@pytest.mark.parametrize(
    ("cores", "busy", "free_mb", "expected"),
    [(8, 1.0, 100_000.0, 7), (8, 2.0, 100_000.0, 3), (8, 0.5, 1_000.0, 3), (1, 1.5, 100_000.0, 1)],
)
def test_a_machine_holds_replicas_by_cores_and_memory(cores: int, busy: float, free_mb: float, expected: int) -> None:
    assert held(cores, busy, free_mb, 300.0) == expected


class Server:
    """Answers what it is asked in turn with these answers, whatever is asked; an empty one ends the connection."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers
        self.asked: list[bytes] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            answer = self.answers[len(self.asked) % len(self.answers)]
            if not answer:
                break
            writer.write(answer)
        writer.close()


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[tuple[Server, int]]:
    server, ready = Server(request.param), threading.Event()
    found: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        enough = asyncio.Event()
        async with await asyncio.start_server(server.answer, "127.0.0.1", 0) as listening:
            found.append((listening.sockets[0].getsockname()[1], asyncio.get_running_loop(), enough))
            ready.set()
            await enough.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10.0)
    port, loop, enough = found[0]
    yield server, port
    loop.call_soon_threadsafe(enough.set)
    thread.join()


GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("answering", [[GOOD]], indirect=True)
def test_every_answer_is_counted_and_requests_go_in_turn(answering: tuple[Server, int]) -> None:
    server, port = answering
    asked = ask(port, [b"GET /1 HTTP/1.1\r\n\r\n", b"GET /2 HTTP/1.1\r\n\r\n"], 2, 0.2)

    assert asked.good == len(server.asked) > 2 and asked.failed == 0
    assert asked.latency_ms(0.5) > 0.0
    assert {one.split()[1] for one in server.asked} == {b"/1", b"/2"}


@pytest.mark.parametrize("answering", [[GOOD, BAD], [GOOD, b""]], indirect=True)
def test_refusals_and_lost_connections_are_failures(answering: tuple[Server, int]) -> None:
    _, port = answering
    asked = ask(port, [b"GET / HTTP/1.1\r\n\r\n"], 1, 0.2)

    assert asked.good > 0 and asked.failed > 0


def test_nobody_there_is_a_failure() -> None:
    asked = ask(1, [b""], 1, 0.1)

    assert asked.good == 0 and asked.failed > 0 and asked.latency_ms(0.99) == 0.0


def test_the_slowest_hundredth_is_what_it_says() -> None:
    assert Asked(1.0, [float(number) / 1e3 for number in range(100, 0, -1)]).latency_ms(0.99) == 99.0


def test_an_unknown_use_case_is_refused_before_anything_starts(run: Run) -> None:
    ran = run("capacity", "--use-case", "oracle")

    assert ran.code == 2 and "use case `oracle` is not known" in ran.err


def test_the_settings_of_the_guide_are_settings(repository: Path) -> None:
    guide = (repository / "docs/capacity.md").read_text()
    (block,) = [part.split("```")[0] for part in guide.split("```toml\n")[1:]]

    assert Settings.build(block, {}).serving.max_replicas == tomllib.loads(block)["serving"]["max_replicas"]


def test_a_trial_begins_with_the_champion_of_the_installation(layout: Layout, tmp_path: Path) -> None:
    settings = Settings(state=str(layout.root), use_cases=(USE_CASE,))
    other = Layout(tmp_path / "other" / "state")
    begin_with_champion(settings, USE_CASE, other)

    plans = []
    for each in (layout, other):
        ledger = Ledger(each.ledger)
        plans.append(ledger.plan(USE_CASE))
        ledger.close()

    assert plans[0] is not None and plans[1] is not None
    assert plans[1].arms[0].release_id == plans[0].arms[0].release_id
    assert read_bundle(other.bundles, plans[1].arms[0].release_id, other.secrets).digest


def test_a_trial_of_what_never_ran_makes_its_own_release(tmp_path: Path) -> None:
    begin_with_champion(Settings(state=str(tmp_path / "none")), USE_CASE, Layout(tmp_path / "other"))

    assert not (tmp_path / "other").exists()


@pytest.mark.faults
def test_the_champion_is_measured_in_an_installation_of_its_own(run: Run, layout: Layout) -> None:
    ledger = Ledger(layout.ledger)
    plan = ledger.plan(USE_CASE)
    assert plan is not None
    rows = len(ledger.rows(USE_CASE, limit=100))

    ran = run("capacity", "--seconds", "1", "--p99-ms", "2000", "--json")

    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["release"] == plan.arms[0].release_id and found["scorer"] == "constant"
    assert [load["connections"] for load in found["loads"]] == [1, 4, 16, 64]
    assert found["best"]["decisions_s"] > 0 and found["best"]["failed"] == 0 and found["memory_mb"] > 50 and found["replicas"] >= 1
    assert len(ledger.rows(USE_CASE, limit=100)) == rows
    ledger.close()
