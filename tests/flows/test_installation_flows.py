"""Flows as Prefect runs them: started by the signed webhook, worked off by the dispatcher, run by the worker."""

import json
import os
import random
import signal
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import psutil
import pytest

from client.client import Client
from client.messages import Ask, Event, Outcome
from contracts.clock import DAY_US
from contracts.errors import RequestFailed
from contracts.records import FieldValue
from contracts.traffic import CANARY
from features.definitions import Attribute
from releases.bundle import read_bundle, write_bundle
from releases.inbox import Inbox, InboxRow
from releases.ledger import Act, Ledger
from releases.stages import register, to_challenger, to_shadow
from serving.keys import hook_secret, owner_key
from storage.installation import open_installation
from tests.installation import Running, wait_until
from training.train import start_parts
from use_cases.definition import load

pytestmark = pytest.mark.installation
USE_CASE = "email_promotion"
BEST = "mens"


def prefect(installation: Running, path: str, body: object = None) -> Any:
    headers = {"authorization": f"Bearer {owner_key(installation.layout)}"}
    with httpx.Client(base_url=f"{installation.addresses.prefect}/api", timeout=30.0, trust_env=False, headers=headers) as client:
        answer = client.get(path) if body is None else client.post(path, json=body)
        return answer.raise_for_status().json()


def asked(installation: Running, name: str, payload: dict[str, Any]) -> InboxRow:
    """Ask for a flow by its signed webhook; the row, once it has ended."""
    with installation.client() as client:
        inbox_id = client.trigger(name, payload, hook_secret(installation.layout)).inbox_id
    inbox = Inbox(installation.layout.ledger)
    try:
        wait_until(lambda: inbox.row(inbox_id).status not in ("waiting", "claimed"), 120.0)
        return inbox.row(inbox_id)
    finally:
        inbox.close()


def ended(installation: Running, row: InboxRow) -> dict[str, Any]:
    """The flow run of a row, once it has ended."""
    found: dict[str, Any] = {}

    def over() -> bool:
        found.update(prefect(installation, f"/flow_runs/{row.run_id}"))
        return found["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED")

    wait_until(over, 300.0)
    return found


def play(client: Client, rng: random.Random, count: int) -> None:
    """Ask for decisions; the best candidate earns ten times as often."""
    answers = client.decide_many(USE_CASE, [Ask(f"e{rng.randrange(2_000)}") for _ in range(count)])
    outcomes = [
        Outcome(f"o-{answer.decision_id}", answer.decision_id, rng.randrange(1, 4) * 1_000_000)
        for answer in answers
        if rng.random() < (0.5 if answer.action == BEST else 0.05)
    ]
    receipt = client.send_outcomes(USE_CASE, outcomes)
    assert not receipt.quarantined


def test_a_training_is_started_by_webhook_and_its_release_answers(installation: Running) -> None:
    installation.wait_until_ready()
    clock = open_installation(installation.layout, installation.settings.clock).clock
    with installation.client() as client:
        play(client, random.Random(7), 4_000)
        matured = clock.now_us() + 15 * DAY_US
        wait_until(lambda: clock.now_us() > matured, 300.0)
        said = json.loads(installation.offerloop("train", USE_CASE, "--json"))
        assert said["state"] == "COMPLETED" and said["message"].endswith("champion")
        release_id = said["message"].partition(":")[0]
        wait_until(lambda: client.decide(USE_CASE, "someone").release_id == release_id, 30.0)
    ledger = Ledger(installation.layout.ledger)
    stages = [row.action for row in ledger.rows(USE_CASE) if row.release_id == release_id]
    ledger.close()
    assert stages == ["champion", "shadow", "register"]
    headers = {"authorization": f"Bearer {owner_key(installation.layout)}"}
    with httpx.Client(base_url=installation.addresses.mlflow, trust_env=False, headers=headers) as mlflow:
        alias = mlflow.get("/api/2.0/mlflow/registered-models/alias", params={"name": USE_CASE, "alias": "champion"}).json()
    assert {"key": "release_id", "value": release_id} in alias["model_version"]["tags"]
    artifacts = prefect(installation, "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [said["run_id"]]}}})
    assert {artifact["type"] for artifact in artifacts} == {"markdown", "table"}


def test_the_other_flows_run(installation: Running) -> None:
    installation.wait_until_ready()
    for name in ("monitor", "compact"):
        run = ended(installation, asked(installation, name, {}))
        assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    assert (installation.layout.monitor / "latest.json").exists()


def test_what_cannot_become_a_run_says_why(installation: Running) -> None:
    installation.wait_until_ready()
    nobody = asked(installation, "train", {"use_case": "nobody"})
    assert nobody.status == "failed" and "must name a `use_case`" in nobody.reason
    unfit = asked(installation, "train", {"use_case": USE_CASE, "promote": "at once"})
    assert unfit.status == "failed" and "Prefect refuses" in unfit.reason


@pytest.mark.faults
def test_a_run_whose_process_is_killed_is_started_again(installation: Running) -> None:
    installation.wait_until_ready()
    row = asked(installation, "monitor", {})
    found: list[psutil.Process] = []

    def running() -> bool:
        found[:] = [process for process in installation.processes if process.environ().get("PREFECT__FLOW_RUN_ID") == row.run_id]
        return bool(found)

    wait_until(running, 120.0)
    worker = installation.service("worker")
    os.kill(worker.pid, signal.SIGKILL)
    for process in found:
        process.kill()
    assert ended(installation, row)["state"]["type"] == "COMPLETED"
    installation.wait_until_ready()


def test_a_canary_that_fails_is_stopped_by_itself_while_decisions_go_on(installation: Running) -> None:
    installation.wait_until_ready()
    layout, use_case = installation.layout, load(USE_CASE)
    clock = open_installation(layout, installation.settings.clock).clock
    recency, *others = use_case.feature_set.features
    assert isinstance(recency, Attribute)
    # a planted failure: whoever is known at all is known for too long, and then nothing is to be decided
    refusing = msgspec.structs.replace(recency, max_age_us=1, fallback="refuse")
    features = msgspec.structs.replace(use_case.feature_set, features=(refusing, *others))
    parts = start_parts(replace(use_case, feature_set=features), {"revision": "planted"})
    release_id = write_bundle(layout.bundles, parts, layout.secrets)
    row = {"recency_months": 1, "history_cents": 100, "bought_mens": True, "bought_womens": False, "newbie": False}
    customer: dict[str, FieldValue] = {**row, "zip_code": "Rural", "channel": "Web"}
    entities = [f"known-{number}" for number in range(300)]
    ledger, act = Ledger(layout.ledger), Act("test", clock.now_us(), "planted")
    try:
        with installation.client(patience_s=0.0) as client:
            sent = [Event(f"event-{entity}", entity, "customer", clock.now_us(), customer) for entity in entities]
            assert client.send_events(USE_CASE, sent).accepted == len(entities)
            register(ledger, USE_CASE, release_id, read_bundle(layout.bundles, release_id).digest, act)
            to_shadow(ledger, USE_CASE, release_id, act)
            to_challenger(ledger, USE_CASE, release_id, 0.5, act, CANARY)
            failed: list[RequestFailed] = []
            arms = set()

            def stopped() -> bool:
                for entity in random.sample(entities, 20):
                    try:
                        arms.add(client.decide(USE_CASE, entity).arm)
                    except RequestFailed as error:
                        failed.append(error)
                return ledger.stage_of(release_id) == "refused"

            wait_until(stopped, 60.0)
            assert len(failed) >= 10 and "champion" in arms
            assert {(error.status, "recency older than" in str(error)) for error in failed} == {(503, True)}
            # within a second those who were in it are the champion's
            with installation.client() as patient:
                wait_until(lambda: {patient.decide(USE_CASE, entity).arm for entity in entities} <= {"champion", "control"}, 30.0)
        said = ledger.rows(USE_CASE, release_id=release_id, limit=1)[0]
        assert (said.actor, said.action) == ("flow guard", "refused") and "stopped as canary at 50%: failed" in said.reason
        assert said.details["canary"]["failed"] >= 10 and said.details["limits"]["failed"]["broken"]
    finally:
        ledger.close()
