import json
import os
import pickle
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest

from bench.made_releases import made
from contracts.errors import BundleRefused, InvalidInput, NotFound, StoreUnavailable
from contracts.traffic import Arm, TrafficPlan
from releases.bundle import Bundle, BundleParts, read_bundle, write_bundle
from releases.registry import Registry
from training.served_model import runtime_of_bundle
from use_cases.definition import load

AT = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[str]:
    """A real MLflow server on SQLite."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, *stores], env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        uri = f"http://127.0.0.1:{port}"
        for _ in range(720):
            with suppress(URLError, OSError), urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:
                if answer.status == 200:
                    break
            assert server.poll() is None, log.read_text()
            time.sleep(0.25)
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def registry(tracking_uri: str) -> Registry:
    return Registry(tracking_uri)


@pytest.fixture(scope="module")
def written(parts: BundleParts, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bundle]:
    """Writes a bundle of a use case; another seed gives another release."""
    bundles = tmp_path_factory.mktemp("bundles")

    def write(use_case: str, seed: int = 0, **change: Any) -> Bundle:
        return read_bundle(
            bundles, write_bundle(bundles, replace(parts, use_case=use_case, settings={"seed": seed}, **change), bundles / "secrets")
        )

    return write


def plan(use_case: str, *arms: Arm, shadow: str | None = None) -> TrafficPlan:
    return TrafficPlan(use_case, 1, 0.1, arms, "s", "c", shadow)


def test_a_run_tells_a_person_what_the_release_is(
    registry: Registry, tracking_uri: str, written: Callable[..., Bundle], tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    bundle = written("told")
    logged = registry.log_release(bundle, AT, {"flow_run": "brave-newt"})
    client = MlflowClient(tracking_uri)
    run = client.get_run(logged.run_id)
    assert (run.info.run_name, run.info.status) == (bundle.release_id, "FINISHED")
    assert run.data.metrics == {"gain/value": 0.25, "gain/low": 0.1, "gain/high": 0.4}
    assert run.data.params["settings/seed"] == "0"
    assert run.data.params["policy/kind"] == "epsilon_greedy"
    assert run.data.params["data/decisions"] == "ab" * 32
    assert run.data.params["catalogue"] == bundle.parts.catalogue.digest
    tags = run.data.tags
    assert (tags["release_id"], tags["use_case"], tags["digest"]) == (bundle.release_id, "told", bundle.digest)
    assert (tags["git_revision"], tags["gate"], tags["flow_run"]) == ("0" * 40, "challenger", "brave-newt")
    assert tags["logical_time"] == "2023-11-14T22:13:20+00:00"
    assert "gain 0.25 [0.10, 0.40] over control" in tags["mlflow.note.content"]
    version = client.get_model_version("told", str(logged.version))
    assert (version.run_id, version.tags["release_id"], version.tags["digest"]) == (logged.run_id, bundle.release_id, bundle.digest)
    assert urllib.request.urlopen(logged.url, timeout=30).status == 200

    # why: the files in MLflow are the bundle, byte for byte: it can be served from there
    client.download_artifacts(logged.run_id, f"model/{bundle.release_id}", str(tmp_path))
    assert read_bundle(tmp_path, bundle.release_id).digest == bundle.digest


def test_what_it_was_trained_on_is_its_input(registry: Registry, tracking_uri: str, written: Callable[..., Bundle]) -> None:
    from mlflow import MlflowClient

    days = [{"table": "decisions", "day": f"2026-01-0{day}", "rows": 10 * day, "digest": "ab" * 32} for day in (1, 2)]
    bundle = written("read", data={"training_set": "cd" * 32, "rows": 20, "partitions": days})
    run = MlflowClient(tracking_uri).get_run(registry.log_release(bundle, AT).run_id)
    assert "data/partitions" not in run.data.params
    assert run.inputs is not None
    found = {each.dataset.name: each.dataset for each in run.inputs.dataset_inputs}
    assert sorted(found) == ["read.decisions", "read.training_set"]
    assert found["read.training_set"].digest == "cd" * 18
    assert json.loads(found["read.decisions"].source) == {
        "use_case": "read",
        "table": "decisions",
        "from": "2026-01-01",
        "until": "2026-01-02",
    }
    assert json.loads(found["read.decisions"].profile or "") == {"num_rows": 30}
    assert [tag.value for each in run.inputs.dataset_inputs for tag in each.tags] == ["training"] * 2


def test_a_bundle_that_was_lost_or_damaged_comes_back(registry: Registry, written: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = written("lost")
    registry.log_release(bundle, AT)
    secrets = bundle.path.parent / "secrets"
    bundles = tmp_path / "bundles"
    assert registry.fetch("lost", bundle.release_id, bundles, secrets).digest == bundle.digest
    damaged = bundles / bundle.release_id / "policy.json"
    damaged.chmod(0o644)
    damaged.write_bytes(b"{}")
    assert registry.fetch("lost", bundle.release_id, bundles, secrets).digest == bundle.digest
    assert registry.fetch("lost", bundle.release_id, bundles, secrets).path == bundles / bundle.release_id
    left = sorted(path.name for path in bundles.iterdir())
    assert left[0].startswith(f".damaged-{bundle.release_id}-")
    assert left[1:] == [bundle.release_id]
    with pytest.raises(BundleRefused, match="it is signed by"):
        registry.fetch("lost", bundle.release_id, tmp_path / "elsewhere", tmp_path / "secrets")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    with pytest.raises(NotFound, match="in MLflow"):
        registry.fetch("lost", "r-0123456789abcdef", bundles, secrets)
    with pytest.raises(NotFound, match="in MLflow"):
        registry.fetch("never", bundle.release_id, tmp_path / "elsewhere", secrets)


def test_others_score_with_mlflow_what_serving_scores_to_the_bit(
    registry: Registry, tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    use_case = load("game_promotion")
    made_parts = made(use_case, 2, trees=20, leaves=7)
    bundle = read_bundle(tmp_path, write_bundle(tmp_path, made_parts, tmp_path / "secrets"))
    registry.log_release(bundle, AT)
    registry.sync_aliases(plan("game_promotion", Arm("champion", bundle.release_id, 1.0)))
    monkeypatch.setattr(pickle, "Unpickler", None)
    mlflow.set_tracking_uri(tracking_uri)
    model = mlflow.pyfunc.load_model("models:/game_promotion@champion")
    assert model.metadata.get_input_schema().input_names() == list(use_case.feature_set.names)
    features = np.array(bundle.parts.golden["features"].to_list())
    found = model.predict(pd.DataFrame(features, columns=list(use_case.feature_set.names)))
    _, runtime = runtime_of_bundle(bundle)
    for row, values in enumerate(features):
        eligible = runtime.eligibility.eligible(values.tolist(), {}, AT)
        scores = runtime.scorer.scores(values, eligible.positions)
        shares = runtime.policy.probabilities(scores, eligible.positions)
        assert found.loc[row, [f"score:{name}" for name in eligible.ids]].to_numpy().tobytes() == scores.tobytes()
        assert found.loc[row, [f"probability:{name}" for name in eligible.ids]].to_numpy().tobytes() == shares.tobytes()
        forbidden = [name for name in runtime.catalogue.index if name not in eligible.ids]
        assert found.loc[row, [f"score:{name}" for name in forbidden]].isna().all()
        assert (found.loc[row, [f"probability:{name}" for name in forbidden]] == 0.0).all()


def test_a_release_is_logged_once(registry: Registry, written: Callable[..., Bundle]) -> None:
    bundle = written("once")
    first = registry.log_release(bundle, AT)
    assert registry.log_release(bundle, AT + 5_000_000) == first
    assert registry.versions("once") == {bundle.release_id: first.version}


def test_every_learner_that_was_tried_is_a_run_below_the_releases(
    registry: Registry, tracking_uri: str, written: Callable[..., Bundle]
) -> None:
    from mlflow import MlflowClient

    trials = [
        {"learner": {"kind": kind, "rounds": 20}, "loss": loss, "better": {"value": 1.0 - loss, "low": None}, "taken": kind == "linear"}
        for kind, loss in (("boosted", 0.98), ("linear", 0.95))
    ]
    bundle = written("tried", metrics={"gain": {"value": 0.25}, "trials": trials})
    logged = registry.log_release(bundle, AT)
    registry.log_release(bundle, AT)
    client = MlflowClient(tracking_uri)
    parent = client.get_run(logged.run_id)
    assert parent.data.metrics == {"gain/value": 0.25}
    found = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{logged.run_id}'")
    told = {run.data.params["kind"]: (run.data.metrics["loss"], run.data.tags["taken"], run.info.status) for run in found}
    assert (len(found), told) == (2, {"boosted": (0.98, "false", "FINISHED"), "linear": (0.95, "true", "FINISHED")})


def test_a_run_that_was_cut_off_is_completed(registry: Registry, tracking_uri: str, written: Callable[..., Bundle]) -> None:
    from mlflow import MlflowClient

    bundle = written("cut")
    client = MlflowClient(tracking_uri)
    experiment_id = client.create_experiment("cut")
    begun = client.create_run(experiment_id, tags={"release_id": bundle.release_id})
    logged = registry.log_release(bundle, AT)
    assert logged.run_id == begun.info.run_id
    assert client.get_run(logged.run_id).info.status == "FINISHED"
    assert logged.version == "1"
    client.delete_model_version("cut", "1")
    assert registry.log_release(bundle, AT).version == "2"


def test_a_refused_release_is_a_run_without_a_version(registry: Registry, written: Callable[..., Bundle]) -> None:
    bundle = written("refused", gate={"accepted": False, "checks": []})
    logged = registry.log_release(bundle, AT, register=False)
    assert logged.version is None
    assert registry.versions("refused") == {}


def test_aliases_follow_the_plan(registry: Registry, tracking_uri: str, written: Callable[..., Bundle]) -> None:
    from mlflow import MlflowClient

    one, two, three = (written("aliased", seed) for seed in range(3))
    versions = {bundle.release_id: registry.log_release(bundle, AT).version for bundle in (one, two, three)}
    assert registry.versions("aliased") == versions
    client = MlflowClient(tracking_uri)
    client.set_registered_model_alias("aliased", "best-of-spring", "1")

    def aliases() -> dict[str, str]:
        return {alias: str(version) for alias, version in client.get_registered_model("aliased").aliases.items()}

    start = plan("aliased", Arm("champion", one.release_id, 1.0), shadow=two.release_id)
    changes = registry.sync_aliases(start)
    assert (changes.set, changes.removed, changes.missing) == ({"champion": one.release_id, "shadow": two.release_id}, (), ())
    assert aliases() == {"best-of-spring": "1", "champion": "1", "shadow": "2"}
    assert registry.sync_aliases(start).set == {}

    arms = Arm("champion", one.release_id, 0.5), Arm("challenger", two.release_id, 0.5)
    changes = registry.sync_aliases(plan("aliased", *arms, shadow=three.release_id))
    assert changes.set == {"challenger": two.release_id, "shadow": three.release_id}
    assert aliases() == {"best-of-spring": "1", "champion": "1", "challenger": "2", "shadow": "3"}

    changes = registry.sync_aliases(plan("aliased", Arm("champion", two.release_id, 1.0)))
    assert (changes.set, changes.removed) == ({"champion": two.release_id}, ("challenger", "shadow"))
    assert aliases() == {"best-of-spring": "1", "champion": "2"}


def test_a_release_that_mlflow_does_not_know_is_named(registry: Registry, written: Callable[..., Bundle]) -> None:
    assert registry.sync_aliases(plan("unheard-of", Arm("champion", "r-start", 1.0))).missing == ("r-start",)
    bundle = written("half-known")
    registry.log_release(bundle, AT)
    changes = registry.sync_aliases(plan("half-known", Arm("champion", "r-start", 1.0), shadow=bundle.release_id))
    assert (changes.set, changes.missing) == ({"shadow": bundle.release_id}, ("r-start",))
    changes = registry.sync_aliases(plan("half-known", Arm("champion", "r-start", 1.0)))
    assert (changes.removed, changes.missing) == (("shadow",), ("r-start",))


def test_a_name_that_mlflow_refuses_is_said(registry: Registry, written: Callable[..., Bundle]) -> None:
    with pytest.raises(InvalidInput, match="is refused by MLflow"):
        registry.log_release(written("a:b/c"), AT)


def test_a_server_that_is_down_is_said_at_once(free_port: Callable[[], int], written: Callable[..., Bundle]) -> None:
    away = Registry(f"http://127.0.0.1:{free_port()}")
    bundle = written("away")
    for call in (
        lambda: away.log_release(bundle, AT),
        lambda: away.sync_aliases(plan("away", Arm("champion", bundle.release_id, 1.0))),
        lambda: away.versions("away"),
    ):
        with pytest.raises(StoreUnavailable, match=r"MLflow at http.*try again"):
            call()
