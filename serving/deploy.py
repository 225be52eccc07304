"""Deploys the decision service on the running Ray cluster, and beside it the console: `python -m serving.deploy`.

Which release is live, the ledger says.
"""

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec

from contracts.errors import OfferloopError, ServiceFailed
from contracts.settings import Settings
from serving.console import ROOT
from serving.environment import ingress, own_address
from storage.layout import Layout

APPLICATION = "offerloop"
DEPLOYMENT = "decisions"
CONSOLE = "console"
READY_S = 120.0
LOOK_BACK_S = 3.0
"""Over which what replicas say is averaged, before more or fewer of them are wanted."""

_LOG = logging.getLogger(__name__)


def deploy(settings: Settings, ready_s: float = READY_S) -> None:
    """Deploy on the cluster that `ray` finds here, wait until decisions are answered, then deploy the console; that may fail.

    Ray must have been started with `serving.environment.variables`; the same must be set in this process.

    Args:
        settings: with the real port of the API.
        ready_s: how long to wait.

    Raises:
        ServiceFailed: no decisions are answered by then; the log is named.
    """
    import ray  # why: five seconds of import that only this act needs
    from ray import serve

    until = time.monotonic() + ready_s
    while not ray.is_initialized():
        try:
            ray.init(address="auto", namespace=APPLICATION, log_to_driver=False, logging_level=logging.WARNING)
        except ConnectionError as error:
            if time.monotonic() > until:
                raise ServiceFailed("serving", f"finds no Ray after {ready_s:.0f} s: {error}", str(Layout(settings.folder).logs)) from error
            time.sleep(0.5)
    try:
        host, port = ingress(settings)
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": host, "port": port, "keep_alive_timeout_s": 60},
            logging_config={"enable_access_log": False},
        )
        serve.run(application(settings), name=APPLICATION, route_prefix="/", blocking=False)
        wait_until_ready(settings, until)
        try:
            serve.run(console_application(settings), name=CONSOLE, route_prefix=ROOT, blocking=False)
        except Exception:  # noqa: BLE001  why: whatever Ray raises here, decisions are answered, and are worth more than pages
            _LOG.exception("the console could not be deployed; decisions are answered without it")
    finally:
        ray.shutdown()


def application(settings: Settings) -> Any:
    """The Ray Serve application of an installation."""
    from ray import serve

    from serving.replica import Replica

    serving = settings.serving
    scaled: dict[str, Any] = {"num_replicas": serving.min_replicas}
    if serving.max_replicas > serving.min_replicas:
        scaled = {
            "autoscaling_config": {
                "min_replicas": serving.min_replicas,
                "max_replicas": serving.max_replicas,
                "target_ongoing_requests": max(2.0, serving.max_ongoing_requests / 4),
                "upscale_delay_s": serving.scale_up_s,
                "downscale_delay_s": serving.scale_down_s,
                "look_back_period_s": LOOK_BACK_S,
                "metrics_interval_s": LOOK_BACK_S / 5,
                "policy": {"policy_function": "serving.scaling:policy"},
            }
        }
    deployment: Any = serve.deployment(
        name=DEPLOYMENT,
        ray_actor_options={"num_cpus": serving.cpus_per_replica},
        # why: the edge sends no more than `max_ongoing_requests`, and what comes all the same (two edges are at work while it is configured
        # anew) the application refuses as it refuses everything; Ray would refuse it in plain text
        max_ongoing_requests=4 * serving.max_ongoing_requests,
        max_queued_requests=-1,
        graceful_shutdown_timeout_s=10.0,
        health_check_period_s=2.0,
        health_check_timeout_s=10.0,
        logging_config={"enable_access_log": False},
        **scaled,
    )
    return deployment(serve.ingress()(Replica)).bind(msgspec.json.encode(settings))


def console_application(settings: Settings) -> Any:
    """The Ray Serve application of the console: a replica of its own, so that those that decide do not feel it."""
    from ray import serve

    from serving.console.replica import ConsoleReplica

    deployment: Any = serve.deployment(
        name=CONSOLE,
        num_replicas=1,
        # why: it is to start also where decisions have taken all there is; its niceness keeps it behind them
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=16,
        max_queued_requests=64,
        graceful_shutdown_timeout_s=5.0,
        health_check_period_s=10.0,
        health_check_timeout_s=30.0,
        logging_config={"enable_access_log": False},
    )
    return deployment(serve.ingress()(ConsoleReplica)).bind(msgspec.json.encode(settings))


def wait_until_ready(settings: Settings, until: float) -> None:
    """Wait until `/readyz` says so, at most until a moment of the monotonic clock.

    Raises:
        ServiceFailed: it has not by then.
    """
    address = f"{own_address(settings)}/readyz"
    said = "no answer"
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < until:
            try:
                response = client.get(address)
            except httpx.TransportError as error:
                said = repr(error)
            else:
                if response.status_code == 200:
                    return
                said = response.text
            time.sleep(0.1)
    raise ServiceFailed("serving", f"does not answer decisions in time: {said}", str(Layout(settings.folder).logs))


def main() -> int:
    """Deploy what `offerloop.toml` here and the environment say; 0 when decisions are answered."""
    file = Path("offerloop.toml")
    try:
        deploy(Settings.build(file.read_text() if file.exists() else "", os.environ))
    except OfferloopError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
