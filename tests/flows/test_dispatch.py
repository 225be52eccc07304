"""The dispatcher's loop, in this process."""

import threading
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from contracts.traffic import CANARY
from flows.dispatch import run
from flows.place import Place
from releases.bundle import read_bundle, write_bundle
from releases.inbox import Inbox
from releases.ledger import Act
from releases.stages import register, to_challenger, to_shadow
from storage.health import HealthCounter
from tests.flows.conftest import USE_CASE
from tests.installation import wait_until
from training.train import start_parts
from use_cases.definition import load

ACT = Act("test", 10**15, "because")


def test_a_broken_canary_is_stopped_though_no_orchestrator_answers(
    place: Place, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    place.layout.run.mkdir(parents=True, exist_ok=True)
    release_id = write_bundle(place.layout.bundles, start_parts(load(USE_CASE), {"revision": "one"}), place.layout.secrets)
    with place.ledger() as ledger:
        register(ledger, USE_CASE, release_id, read_bundle(place.layout.bundles, release_id).digest, ACT)
        to_shadow(ledger, USE_CASE, release_id, ACT)
        version = to_challenger(ledger, USE_CASE, release_id, 0.05, ACT, CANARY).version
    counter = HealthCounter(place.layout)
    for _ in range(60):
        counter.failed((USE_CASE, version, CANARY, release_id))
    counter.publish()
    ended = threading.Event()
    dispatching = threading.Thread(target=run, args=(place.settings, ended))
    dispatching.start()
    try:
        with place.ledger() as ledger:
            wait_until(lambda: ledger.stage_of(release_id) == "refused", 60.0)
            assert ledger.rows(USE_CASE, limit=1)[0].actor == "flow guard"
        wait_until((place.layout.run / "dispatcher.beat").exists, 60.0)
    finally:
        ended.set()
        dispatching.join()


def test_without_a_guard_the_dispatcher_does_not_count_as_alive(
    place: Place, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    place.layout.run.mkdir(parents=True, exist_ok=True)
    ended, said = threading.Event(), ""
    broken = msgspec.structs.replace(place.settings, use_cases=("nobody",))
    dispatching = threading.Thread(target=run, args=(broken, ended))
    dispatching.start()
    try:

        def complained() -> bool:
            nonlocal said
            captured = capsys.readouterr()
            said += captured.out + captured.err
            return "guard: looking at roll-outs failed" in said and "Prefect cannot start it now" in said

        with closing(Inbox(place.layout.ledger)) as inbox:
            inbox.trigger("monitor", "test", "once", {}, 10**15)
        wait_until(complained, 60.0)
    finally:
        ended.set()
        dispatching.join()
    assert "nobody" in said and not (place.layout.run / "dispatcher.beat").exists()


class Nonsense(BaseHTTPRequestHandler):
    """An orchestrator that answers what it never should."""

    def do_GET(self) -> None:
        """Answer anything with a word."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"nonsense")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_an_error_that_nobody_foresaw_ends_the_process(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.layout.run.mkdir(parents=True, exist_ok=True)
    with closing(Inbox(place.layout.ledger)) as inbox, ThreadingHTTPServer(("127.0.0.1", 0), Nonsense) as server:
        inbox.trigger("monitor", "test", "once", {}, 10**15)
        answering = threading.Thread(target=server.serve_forever)
        answering.start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        ended = threading.Event()
        try:
            with pytest.raises(ValueError, match="Expecting value"):
                run(place.settings, ended)
        finally:
            server.shutdown()
            answering.join()
    assert ended.is_set() and "guard" not in [thread.name for thread in threading.enumerate()]
