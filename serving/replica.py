"""A replica: what Ray Serve runs. One deployment, one process, no hop between parts."""

import gc
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import Any

import msgspec

from contracts.settings import Settings
from serving.app import App
from serving.compiling import prepare
from serving.direct import Counted, DirectProtocol
from serving.hooks import Hooks
from serving.metrics import Metrics, flush_every, ray_exporter
from serving.scaling import Busyness
from serving.service import DecisionService

SWITCH_S = 0.001
"""How long a thread keeps the interpreter while another waits: the journal's writer must not wait five milliseconds for the event loop."""

FLUSH_S = 1.0

COLLECT_AFTER = (20_000, 20, 50)
"""Thresholds of the collector of cycles. A decision makes none, yet with Python's own thresholds it looks every few decisions."""

_LOG = logging.getLogger(__name__)


def build(settings: bytes) -> App:
    """The application of this replica, its service started.

    Args:
        settings: of the installation, as JSON, since a deployment's arguments travel through Ray.

    Raises:
        StateRefused: the state is another installation's.
        StoreUnavailable: a store cannot be opened.
    """
    logging.getLogger("serving").setLevel(logging.INFO)
    keep_to_loopback()
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*COLLECT_AFTER)
    stop = threading.Event()
    metrics = Metrics(ray_exporter())
    service = DecisionService(msgspec.json.decode(settings, type=Settings), metrics=metrics)
    prepare(service.layout.compiled)
    service.start()
    # why: the first release with a model would else wait a second or two for its library, while a plan already names it
    threading.Thread(target=import_module, args=("lightgbm",), name="warm-up", daemon=True).start()
    hooks = Hooks(service.layout, service.clock)
    flushing = flush_every(metrics, FLUSH_S, stop)

    def end() -> None:
        service.close()
        hooks.close()
        stop.set()
        flushing.join()

    app = App(service, hooks, echo_request_id=False, on_shutdown=end)
    answer_directly(app)
    return app


def keep_to_loopback() -> None:
    """Let Ray bind on loopback the port by which other deployments would call this one; there are none.

    Ray binds it on all interfaces and asks no key, and who reaches it can have pickles loaded (ray 2.60, `serve/_private/replica.py`,
    `_on_initialized`). It has no setting. This runs before, since Ray makes the application first.
    """
    from ray.serve._private import replica

    bind = getattr(replica, "add_port_to_grpc_server", None)
    if bind is None:
        _LOG.error("Ray has changed: its replica's port for other deployments may listen on all interfaces")
        return

    def bind_on_loopback(server: Any, address: str) -> Any:
        return bind(server, address.replace("[::]", "127.0.0.1"))

    vars(replica)["add_port_to_grpc_server"] = bind_on_loopback


def answer_directly(app: App) -> None:
    """Let the HTTP server that Ray starts in this process hand requests for one decision to the application by `DirectProtocol`.

    Where Ray has changed so that this cannot be done, they go the usual way, several times slower (ray 2.60,
    `serve/_private/replica.py`, `_maybe_start_direct_ingress_servers`). This runs before, since Ray makes the application first.
    """
    from ray.serve._private import replica
    from ray.serve._private.common import RequestMetadata, RequestProtocol

    start: Callable[..., Awaitable[tuple[Any, Any]]] | None = getattr(replica, "start_asgi_http_server", None)

    async def start_direct(asgi: Any, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        assert start is not None
        task, server = await start(asgi, *arguments, **options)
        try:
            ray_replica = asgi.__self__
            if ray_replica._user_callable_wrapper._run_user_code_in_separate_thread:
                raise AttributeError("the application has an event loop of its own")
            request = RequestMetadata("", "", is_direct_ingress=True, _request_protocol=RequestProtocol.HTTP)
            server.config.http = partial(DirectProtocol, app, Counted(ray_replica._metrics_manager, request))
        except AttributeError as error:
            _LOG.error("decisions go through Ray's own handling of requests, which is several times slower: %s", error)
        return task, server

    if start is None:
        _LOG.error("Ray has changed: decisions go through its own handling of requests, which is several times slower")
    else:
        vars(replica)["start_asgi_http_server"] = start_direct


class Replica:
    """The deployment's class: Ray gives it the settings, then asks it for the application."""

    def __init__(self, settings: bytes) -> None:
        self._settings = settings
        self._busyness = Busyness()
        self._app: App | None = None

    def __serve_build_asgi_app__(self) -> App:
        self._app = build(self._settings)
        return self._app

    async def check_health(self) -> None:
        """Say whether this process may go on: Ray asks every few seconds, and puts another in its place where this raises.

        Raises:
            NotReady: it will not log again. A log that takes nothing in for all processes is no reason: another would not fare better.
        """
        if self._app is not None:
            self._app.check_health()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """How busy this replica is: Ray asks every second, where replicas are scaled."""
        return self._busyness.look()
