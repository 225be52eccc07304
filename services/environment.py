"""The environment of an installation's processes: all settings as variables, so that whoever is started reads the same."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from contracts.settings import PREFIX, Settings
from services.credentials import prefect_profile
from services.ports import Addresses
from services.processes import INSTANCE, instance_of
from storage.layout import Layout

_ROOT = Path(__file__).resolve().parents[1]


def base(settings: Settings, addresses: Addresses) -> dict[str, str]:
    """This process's own environment with the settings, resolved, and the installation's mark.

    What `Settings.build("", …)` makes of it equals `resolved(settings, addresses)`.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    own.update(_variables("", msgspec.to_builtins(resolved(settings, addresses))))
    own[INSTANCE] = instance_of(settings.folder)
    # why: what lies in the folder where somebody types `offerloop up` must not be taken for a package of ours
    own["PYTHONSAFEPATH"] = "1"
    own["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    own["PYTHONUNBUFFERED"] = "1"
    return own


def resolved(settings: Settings, addresses: Addresses) -> Settings:
    """The settings with the ports in use, and with paths that do not depend on the current folder."""
    sources = {name: _absolute(where) for name, where in settings.attribute_sources.items()}
    named = {name: os.path.abspath(file) for name in ("tls_certificate", "tls_key") if (file := getattr(settings.serving, name))}
    serving = msgspec.structs.replace(settings.serving, **named)
    return msgspec.structs.replace(settings, state=str(settings.folder), ports=addresses.ports, attribute_sources=sources, serving=serving)


def prefect(layout: Layout, addresses: Addresses) -> dict[str, str]:
    """What Prefect's server, worker and flow runs need to know. Nothing is sent to its makers, and the worker looks every second."""
    return {
        "PREFECT_HOME": str(layout.prefect),
        "PREFECT_PROFILES_PATH": str(prefect_profile(layout)),
        "PREFECT_API_URL": f"{addresses.prefect}/api",
        "PREFECT_UI_STATIC_DIRECTORY": str(layout.prefect / "ui"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "DO_NOT_TRACK": "1",
    }


def mlflow(layout: Layout) -> dict[str, str]:
    """What MLflow's server reads when it is run by uvicorn directly: its own command line takes three times as long to start.

    The names with an underscore are those that `mlflow server` passes to its workers (mlflow.server.constants, 3.17).
    """
    return {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{layout.mlflow / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(layout.mlflow / "artifacts"),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
    }


def _variables(path: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{path}__{key}" if path else key
        if isinstance(value, Mapping):
            yield from _variables(name, value)
        else:
            yield PREFIX + name.upper(), ",".join(value) if isinstance(value, list | tuple) else _spelled(value)


def _spelled(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _absolute(where: str) -> str:
    return where if "://" in where else os.path.abspath(where)
