"""The dispatcher's loop, in this process."""

import threading
from collections.abc import Callable

import pytest

from contracts.traffic import CANARY
from flows.dispatch import run
from flows.place import Place
from releases.bundle import read_bundle, write_bundle
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
    finally:
        ended.set()
        dispatching.join()
