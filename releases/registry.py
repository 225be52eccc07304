"""The registry: what MLflow shows people of the releases. The ledger is the truth; aliases follow its traffic plan."""

import json
import os
import secrets as random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.clock import to_datetime
from contracts.digests import digest_of
from contracts.errors import BundleRefused, InvalidInput, NotFound, StoreUnavailable
from contracts.traffic import CANARY, CHALLENGER, CHAMPION, TrafficPlan
from releases.bundle import Bundle, read_bundle
from releases.card import leaves, note, page
from releases.mlmodel import mlmodel
from storage.files import sync

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run

SHADOW = "shadow"
ALIASES = (CHAMPION, CHALLENGER, CANARY, SHADOW)

_ENVIRONMENT = {
    # why: seven retries with growing pauses hold a flow for minutes when the server is down; the flow retries better itself
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# why: without it MLflow's pages show what belongs to language models, and hide the charts that compare runs
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
_MODEL = "model"
_RELEASE, _PARENT, _ALREADY_THERE = "release_id", "mlflow.parentRunId", "RESOURCE_ALREADY_EXISTS"
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE")
_MAX_VALUE = 5_000
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Logged:
    """A release as MLflow has it. `version` is None when it was not registered; `url` is the run's page."""

    run_id: str
    version: str | None
    url: str


@dataclass(frozen=True, slots=True)
class AliasChanges:
    """What `Registry.sync_aliases` did: aliases set, to which release; removed; and releases of the plan that have no version."""

    set: Mapping[str, str]
    removed: tuple[str, ...]
    missing: tuple[str, ...]


class Registry:
    """MLflow's tracking server and model registry. Making one imports MLflow, which takes seconds: not for the request path.

    Every method raises `StoreUnavailable` when the server cannot be reached or fails: nothing is left half done that calling it again would
    not complete.

    Args:
        tracking_uri: of the server.
        key: that the server asks for; MLflow's clients of this process show it from then on.
    """

    def __init__(self, tracking_uri: str, key: str = "") -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if key:
            os.environ["MLFLOW_TRACKING_TOKEN"] = key
        from mlflow import MlflowClient  # why: an engine that only flows need, whose telemetry is switched on by its import

        self._uri = tracking_uri.rstrip("/")
        self._client = MlflowClient(tracking_uri, tracking_uri)

    def log_release(self, bundle: Bundle, at: int, tags: Mapping[str, str] | None = None, *, register: bool = True) -> Logged:
        """Log a release as a run of the experiment named for its use case, and register it as a version of the model of that name.

        The run holds settings, policy and digests as parameters, the figures with their intervals as metrics, the gate's reasons as its
        description, the tables and the training set as inputs with their digests. Its artifact `model` is the bundle, in a folder of its
        name, and `MLmodel`, by which MLflow's `pyfunc` loads it. Once a release: calling it again completes what is missing and returns the
        same.

        Args:
            bundle: as read and verified.
            at: logical time, in microseconds.
            tags: more to be found by, such as the flow run.
            register: False for a release that the gate refused: a run that people can look at, but no version.

        Raises:
            StoreUnavailable: MLflow cannot be reached or fails; try again later.
            InvalidInput: MLflow refuses a name or a value.
        """
        with self._errors():
            experiment_id = self._experiment(bundle.parts.use_case)
            run = self._run_of(experiment_id, bundle.release_id)
            if run is None or run.info.status != "FINISHED":
                run = self._log(experiment_id, run, bundle, at, tags or {})
            version = self._version(bundle, run.info.run_id) if register else None
        return Logged(run.info.run_id, version, f"{self._uri}/#/experiments/{experiment_id}/runs/{run.info.run_id}")

    def versions(self, use_case: str) -> dict[str, str]:
        """The model version of each release of a use case.

        Raises:
            StoreUnavailable: MLflow cannot be reached or fails.
        """
        found: dict[str, str] = {}
        token: str | None = None
        with self._errors():
            while True:
                page = self._client.search_model_versions(f"name = '{use_case}'", max_results=_PAGE, page_token=token)
                found |= {version.tags[_RELEASE]: str(version.version) for version in page if _RELEASE in version.tags}
                token = page.token
                if not token:
                    return found

    def sync_aliases(self, plan: TrafficPlan) -> AliasChanges:
        """Let the aliases champion, challenger, canary and shadow name what the plan says. Others are left alone.

        A release that was never registered, such as the first one, is passed over and named in `missing`.

        Raises:
            StoreUnavailable: MLflow cannot be reached or fails; try again later, with the plan that is in force then.
        """
        versions = self.versions(plan.use_case)
        wanted = {arm.name: arm.release_id for arm in plan.arms} | ({SHADOW: plan.shadow} if plan.shadow else {})
        missing = tuple(sorted({release_id for release_id in wanted.values() if release_id not in versions}))
        target = {alias: versions[release_id] for alias, release_id in wanted.items() if release_id in versions}
        if not versions:
            return AliasChanges({}, (), missing)
        with self._errors():
            present = {alias: str(version) for alias, version in self._client.get_registered_model(plan.use_case).aliases.items()}
            removed = tuple(alias for alias in present if _is_ours(alias) and alias not in target)
            changed = [alias for alias, version in target.items() if present.get(alias) != version]
            for alias in removed:
                self._client.delete_registered_model_alias(plan.use_case, alias)
            for alias in changed:
                self._client.set_registered_model_alias(plan.use_case, alias, target[alias])
        return AliasChanges({alias: wanted[alias] for alias in changed}, removed, missing)

    def fetch(self, use_case: str, release_id: str, bundles: Path, secrets: Path) -> Bundle:
        """Bring a bundle back from MLflow whose local copy was lost or damaged. A damaged one is kept beside it, under another name.

        Args:
            use_case: of the release.
            release_id: its name.
            bundles: folder of all bundles.
            secrets: of the installation: the bundle must be signed by a key that is trusted there.

        Raises:
            StoreUnavailable: MLflow cannot be reached or fails.
            NotFound: MLflow has no such release.
            BundleRefused: what MLflow has is not what its name says, or is not signed.
        """
        with suppress(BundleRefused):
            return read_bundle(bundles, release_id, secrets)
        bundles.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=bundles) as draft:
            with self._errors():
                experiment = self._client.get_experiment_by_name(use_case)
                run = self._run_of(experiment.experiment_id, release_id) if experiment else None
                if run is None:
                    raise NotFound(f"release of {use_case} in MLflow", release_id)
                found = Path(self._client.download_artifacts(run.info.run_id, f"{_MODEL}/{release_id}", draft))
            read_bundle(found.parent, release_id, secrets)
            for file in (*found.iterdir(), found):
                sync(file)
            target = bundles / release_id
            with suppress(FileNotFoundError):
                target.rename(bundles / f".damaged-{release_id}-{random.token_hex(4)}")
            found.rename(target)
        sync(bundles)
        return read_bundle(bundles, release_id, secrets)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            self._unless_there(lambda: self._client.create_experiment(name, tags=_EXPERIMENT_TAGS))
            found = self._client.get_experiment_by_name(name)
        assert found is not None
        return str(found.experiment_id)

    def _run_of(self, experiment_id: str, release_id: str) -> "Run | None":
        runs = self._client.search_runs([experiment_id], f"tags.{_RELEASE} = '{release_id}'", max_results=1, order_by=["start_time ASC"])
        return runs[0] if runs else None

    def _log(self, experiment_id: str, run: "Run | None", bundle: Bundle, at: int, tags: Mapping[str, str]) -> "Run":
        from mlflow.entities import Metric, Param, RunTag

        parts = bundle.parts
        documents = {
            "settings": parts.settings,
            "policy": parts.policy,
            "data": {name: value for name, value in parts.data.items() if name != "partitions"},
            "code": parts.code,
            "engine": dict(parts.engine),
        }
        params = {"scorer": parts.scorer_kind, "catalogue": parts.catalogue.digest} | dict(leaves(documents))
        measured = dict(parts.metrics)
        trials = measured.pop("trials", [])
        figures = dict(leaves(measured))
        metrics = {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}
        words = {name: value for name, value in figures.items() if name not in metrics}
        if run is None:
            run = self._client.create_run(experiment_id, run_name=bundle.release_id, tags={_RELEASE: bundle.release_id})
        run_id = run.info.run_id
        self._client.log_artifacts(run_id, str(bundle.path), f"{_MODEL}/{bundle.release_id}")
        self._client.log_text(run_id, mlmodel(bundle), f"{_MODEL}/MLmodel")
        self._client.log_text(run_id, page(bundle), "card.md")
        self._client.log_inputs(run_id, _inputs(bundle))
        self._client.log_batch(
            run_id,
            metrics=[] if run.data.metrics else [Metric(name, value, at // 1_000, 0) for name, value in metrics.items()],
            params=[Param(name, _short(value)) for name, value in params.items()],
            tags=[RunTag(name, _short(value)) for name, value in (words | _tags(bundle, at) | dict(tags)).items()],
        )
        if not run.data.metrics:
            self._log_trials(experiment_id, run_id, trials, at)
        self._client.set_terminated(run_id, "FINISHED")
        return self._client.get_run(run_id)

    def _log_trials(self, experiment_id: str, parent: str, trials: Sequence[Mapping[str, Any]], at: int) -> None:
        """Each learner that was tried, as a run below the release's; those of an interrupted try are kept."""
        from mlflow.entities import Metric, Param

        known = {run.info.run_name for run in self._client.search_runs([experiment_id], f"tags.`{_PARENT}` = '{parent}'")}
        for number, trial in enumerate(trials):
            name = f"trial {number}"
            if name in known:
                continue
            tags = {_PARENT: parent, "taken": str(trial["taken"]).lower()}
            run_id = self._client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
            figures = leaves({"loss": trial["loss"], "better": trial["better"]})
            metrics = [Metric(key, float(value), at // 1_000, 0) for key, value in figures if isinstance(value, int | float)]
            self._client.log_batch(run_id, metrics, [Param(key, _short(value)) for key, value in leaves(trial["learner"])])
            self._client.set_terminated(run_id, "FINISHED")

    def _version(self, bundle: Bundle, run_id: str) -> str:
        use_case = bundle.parts.use_case
        found = self._client.search_model_versions(f"run_id = '{run_id}'")
        if found:
            return str(found[0].version)
        self._unless_there(
            lambda: self._client.create_registered_model(use_case, description=f"The releases of {use_case}, one version each.")
        )
        version = self._client.create_model_version(
            use_case,
            f"runs:/{run_id}/{_MODEL}",
            run_id,
            tags=_named(bundle),
            description=_short(note(bundle)),
            await_creation_for=0,
        )
        return str(version.version)

    def _unless_there(self, create: Callable[[], object]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            create()
        except MlflowException as error:
            if error.error_code != _ALREADY_THERE:
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException

        try:
            yield
        except MlflowException as error:
            if error.error_code in _REFUSALS:
                raise InvalidInput("release", f"is refused by MLflow: {error.message}", "what MLflow takes") from error
            raise StoreUnavailable(f"MLflow at {self._uri}", error.message) from error
        except RequestException as error:
            raise StoreUnavailable(f"MLflow at {self._uri}", str(error)) from error


def _is_ours(alias: str) -> bool:
    return alias in ALIASES or alias.startswith(f"{CHALLENGER}_")


def _tags(bundle: Bundle, at: int) -> dict[str, str]:
    tags = _named(bundle) | {
        "logical_time": to_datetime(at).isoformat(),
        "mlflow.source.name": "offerloop",
        "mlflow.note.content": note(bundle),
    }
    if "git_revision" in tags:
        tags["mlflow.source.git.commit"] = tags["git_revision"]
    return tags


def _named(bundle: Bundle) -> dict[str, str]:
    """What a release is found by."""
    parts = bundle.parts
    said = {"git_revision": parts.code.get("revision"), "image": parts.code.get("image"), "feature_set": parts.settings.get("feature_set")}
    tags = {_RELEASE: bundle.release_id, "digest": bundle.digest, "use_case": parts.use_case, "catalogue": parts.catalogue.digest}
    tags |= {name: str(value) for name, value in said.items() if value}
    if "accepted" in parts.gate:
        tags["gate"] = str(parts.gate.get("step", "accepted")) if parts.gate["accepted"] else "refused"
    return tags


def _inputs(bundle: Bundle) -> "list[DatasetInput]":
    """The tables of the snapshot and the training set made of them, each by a digest (MLflow keeps 36 digits of one)."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data, use_case = bundle.parts.data, bundle.parts.use_case
    tables: dict[str, list[Any]] = {}
    for partition in data.get("partitions", ()):
        tables.setdefault(partition["table"], []).append(partition)
    found = [
        (table, digest_of(parts), {"from": parts[0]["day"], "until": parts[-1]["day"]}, sum(part["rows"] for part in parts))
        for table, parts in tables.items()
    ]
    if "training_set" in data:
        found.append(("training_set", data["training_set"], {}, data.get("rows", 0)))
    return [
        DatasetInput(
            Dataset(
                f"{use_case}.{name}",
                digest[:36],
                "offerloop",
                json.dumps({"use_case": use_case, "table": name, **days}),
                None,
                f'{{"num_rows": {rows}}}',
            ),
            [InputTag("mlflow.data.context", "training")],
        )
        for name, digest, days, rows in found
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 1]}…"
