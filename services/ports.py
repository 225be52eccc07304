"""Ports: those that the settings name, free ones for the rest, all written down for whoever needs to find them."""

import random
import socket
from ipaddress import ip_address
from pathlib import Path

import msgspec

from contracts.errors import SettingsError
from contracts.settings import Ports, Settings
from storage.files import write_bytes
from storage.layout import Layout

FOUND = range(11_000, 29_000)
"""Where ports are found: below the range that systems take the near ends of connections from, or one may be gone before it is used."""


class RayPorts(msgspec.Struct, frozen=True):
    """Ports that Ray and its parts use among themselves: always free ones, kept while the installation runs."""

    gcs: int
    agent: int
    client: int
    metrics: int
    proxy: int


class Addresses(msgspec.Struct, frozen=True):
    """Where an installation listens: the decision API at `host`, all else on loopback. `ports` have every 0 replaced."""

    host: str
    ports: Ports
    ray: RayPorts
    tls: bool = False

    @property
    def api(self) -> str:
        """Base address of the decision API for the installation's own processes: without TLS."""
        return f"http://{LOOPBACK}:{self.ports.inner}" if self.tls else self.public

    @property
    def public(self) -> str:
        """Base address of the decision API for everybody else, as seen from this machine."""
        return f"{'https' if self.tls else 'http'}://{LOOPBACK if self.host == '0.0.0.0' else self.host}:{self.ports.api}"

    @property
    def mlflow(self) -> str:
        """Address of MLflow."""
        return f"http://{LOOPBACK}:{self.ports.mlflow}"

    @property
    def prefect(self) -> str:
        """Address of Prefect's server and pages; its API is below `/api`."""
        return f"http://{LOOPBACK}:{self.ports.prefect}"

    @property
    def ray_dashboard(self) -> str:
        """Address of Ray's dashboard."""
        return f"http://{LOOPBACK}:{self.ports.ray_dashboard}"

    @property
    def metrics(self) -> str:
        """Address of the exporter, for Prometheus."""
        return f"http://{LOOPBACK}:{self.ports.metrics}/metrics"


LOOPBACK = "127.0.0.1"
"""Where everything but the decision API listens, whatever `host` says: the rest has no keys of its own."""


def choose(settings: Settings, last: Addresses | None = None) -> Addresses:
    """Ports for a start: the named ones must be free, the others are found; those of the `last` start again where they are free.

    Raises:
        SettingsError: a named port is taken, or named twice.
    """
    named = [(name, port) for name, port in msgspec.structs.asdict(settings.ports).items() if port]
    taken: set[int] = set()
    for name, port in named:
        if port in taken or not _free(settings.host if name == "api" else LOOPBACK, port):
            raise SettingsError(f"ports.{name}", port, "a port that nothing else listens on, or 0 to have one found")
        taken.add(port)
    ports = {
        name: port or _find(taken, getattr(last and last.ports, name, 0)) for name, port in msgspec.structs.asdict(settings.ports).items()
    }
    ray = {name: _find(taken, getattr(last and last.ray, name, 0)) for name in RayPorts.__struct_fields__}
    return Addresses(settings.host, Ports(**ports), RayPorts(**ray), bool(settings.serving.tls_certificate))


def on_loopback(host: str) -> bool:
    """Whether only processes of this machine reach an address.

    Example:
        >>> on_loopback("127.0.0.1"), on_loopback("localhost"), on_loopback("0.0.0.0"), on_loopback("10.0.0.7")
        (True, True, False, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def write(layout: Layout, addresses: Addresses) -> None:
    """Note where the installation listens now."""
    write_bytes(_path(layout), msgspec.json.format(msgspec.json.encode(addresses)))


def read(layout: Layout) -> Addresses | None:
    """Where the installation listens, as last noted; None before its first start."""
    path = _path(layout)
    return msgspec.json.decode(path.read_bytes(), type=Addresses) if path.exists() else None


def _path(layout: Layout) -> Path:
    return layout.run / "ports.json"


def _free(host: str, port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def _find(taken: set[int], wish: int) -> int:
    for port in (wish, *random.sample(FOUND, len(FOUND))):
        if port and port not in taken and _free(LOOPBACK, port):
            taken.add(port)
            return port
    raise SettingsError("ports", 0, f"a free port between {FOUND.start} and {FOUND.stop}")
