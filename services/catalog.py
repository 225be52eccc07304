"""The services of an installation, as data."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from contracts.settings import Settings
from releases.ledger import Ledger
from services import environment, ray
from services.ports import LOOPBACK, Addresses
from services.processes import SERVICE
from services.readiness import Beat, Check, Http, Port
from storage.layout import Layout


@dataclass(frozen=True)
class Service:
    """One thing to keep running.

    Attributes:
        title: what it is, for people.
        ready: says whether it answers; asked until it does, and from then on to see whether it still does. None: an act that is done once.
        upon: services that an act is done upon, for which it waits itself. It is done anew when one of them was started anew.
        act: its process ends with 0 when it has done its work; from then on only `ready` tells.
        essential: decisions need it, so an installation that cannot get it to run ends.
        niceness: how far it steps back for those that answer decisions.
        patience_s: how long it may take to become ready. `silence_s`: how long it may not answer later, before it is started anew.
    """

    name: str
    title: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    ready: Check | None
    upon: tuple[str, ...] = ()
    act: bool = False
    essential: bool = False
    niceness: int = 0
    patience_s: float = 180.0
    silence_s: float = 60.0
    address: str = ""


def services(settings: Settings, layout: Layout, addresses: Addresses) -> tuple[Service, ...]:
    """All services, in the order in which people want to read them."""
    python = sys.executable
    ray_variables = ray.environment(settings, addresses, layout)
    prefect = environment.prefect(layout, addresses)
    guard = (python, "-m", "services.guard")
    made: tuple[Service, ...] = (
        Service(
            "serve",
            "decision API",
            (python, "-m", "serving.deploy"),
            ray_variables,
            Http(f"{addresses.api}/readyz"),
            upon=("ray",),
            niceness=3,
            act=True,
            essential=True,
            silence_s=20.0,
            address=addresses.api,
        ),
        Service(
            "ray",
            "Ray",
            ray.head(settings, addresses),
            ray_variables,
            Port(LOOPBACK, addresses.ray.agent),
            essential=True,
            address=addresses.ray_dashboard,
        ),
        Service(
            "mlflow",
            "MLflow",
            (*guard, "mlflow"),
            environment.mlflow(layout),
            Http(f"{addresses.mlflow}/health"),
            niceness=10,
            address=addresses.mlflow,
        ),
        Service(
            "prefect",
            "Prefect",
            (*guard, "prefect"),
            prefect,
            Http(f"{addresses.prefect}/api/health"),
            niceness=10,
            address=addresses.prefect,
        ),
        Service(
            "worker",
            "flow worker",
            (python, "-m", "flows.worker"),
            prefect | {"MLFLOW_TRACKING_URI": addresses.mlflow},
            Beat(layout.run / "worker.beat", within_s=90.0),
            niceness=10,
        ),
        Service(
            "dispatcher",
            "inbox dispatcher",
            (python, "-m", "flows.dispatch"),
            prefect,
            Beat(layout.run / "dispatcher.beat"),
            niceness=10,
        ),
        Service(
            "exporter",
            "metrics",
            (*guard, "metrics"),
            {},
            Http(f"{addresses.metrics.removesuffix('/metrics')}/healthz"),
            niceness=10,
            address=addresses.metrics,
        ),
    )
    if not _has_plans(settings, layout):
        made = (
            Service("start", "first releases", (python, "-m", "services.bootstrap"), {}, None, act=True, essential=True, niceness=3),
            *made,
        )
    shared = environment.base(settings, addresses)
    return tuple(_with(service, shared) for service in made)


def _has_plans(settings: Settings, layout: Layout) -> bool:
    ledger = Ledger(layout.ledger)
    try:
        return all(ledger.plan(name) is not None for name in settings.use_cases)
    finally:
        ledger.close()


def _with(service: Service, shared: Mapping[str, str]) -> Service:
    variables = {**shared, **service.variables, SERVICE: service.name}
    return replace(service, variables=variables)
