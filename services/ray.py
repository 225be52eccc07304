"""Ray's head on this machine: on loopback alone, with a token."""

import secrets
import sys
from pathlib import Path

from contracts.settings import Settings
from services.ports import LOOPBACK, Addresses
from serving.environment import short_folder, variables
from storage.files import write_bytes
from storage.layout import Layout

OBJECT_STORE_BYTES = 128 * 2**20
"""Ray's shared memory. Decisions do not use it, so the least that is comfortable."""


def head(settings: Settings, addresses: Addresses) -> tuple[str, ...]:
    """The command that runs Ray's head until it is ended."""
    ray = addresses.ray
    options = {
        "--temp-dir": short_folder(settings) / "ray",
        "--port": ray.gcs,
        "--include-dashboard": "true",
        "--dashboard-host": LOOPBACK,
        "--dashboard-port": addresses.ports.ray_dashboard,
        "--dashboard-agent-listen-port": ray.agent,
        "--ray-client-server-port": ray.client,
        "--metrics-export-port": ray.metrics,
        "--min-worker-port": 0,
        "--max-worker-port": 0,
        "--object-store-memory": OBJECT_STORE_BYTES,
        "--include-log-monitor": "false",
    }
    words = [str(word) for pair in options.items() for word in pair]
    # why no monitor: it would add machines, and there is one
    alone = ("--head", "--block", "--disable-usage-stats", "--no-monitor")
    return (sys.executable, "-m", "ray.scripts.scripts", "start", *alone, *words)


def environment(settings: Settings, addresses: Addresses, layout: Layout) -> dict[str, str]:
    """What Ray's head and whoever deploys on it need to know, beside what serving asks for.

    Ray has a mode for Windows and macOS in which it listens on loopback alone; its switch works on Linux too.
    """
    ray = addresses.ray
    return variables(settings, addresses.ports) | {
        "RAY_ADDRESS": f"{LOOPBACK}:{ray.gcs}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token(layout)),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # why: the dashboard's own metrics ask for no key and are of no use here; Ray has no switch, but goes on without a port that is none
        "DASHBOARD_METRIC_PORT": "-1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ray.proxy),
    }


def token(layout: Layout) -> Path:
    """The file of the token that Ray asks every client for; made when there is none."""
    path = layout.secrets / "ray_token"
    if not path.exists():
        layout.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes(path, secrets.token_hex(32).encode(), 0o600)
    return path
