"""An installation that really runs, for tests of several folders: started and ended by the command line, as anyone would."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from client.client import Client
from contracts.settings import Settings
from services import ports, state
from services.ports import Addresses
from services.processes import end_all, instance_of, members
from serving.keys import owner_key
from storage.layout import Layout

CLOCK = {"OFFERLOOP_CLOCK__SCALE": "50000", "OFFERLOOP_CLOCK__ORIGIN": "2026-01-01T00:00:00Z"}
"""A day in under two seconds, so that outcomes mature."""

PORTS = {f"OFFERLOOP_PORTS__{name.upper()}": "0" for name in ("api", "mlflow", "prefect", "ray_dashboard", "metrics", "proxy_statistics")}
START_S = 600.0


@dataclass(frozen=True)
class Running:
    """A running installation.

    Attributes:
        environment: in which the command line means this installation.
    """

    folder: Path
    environment: Mapping[str, str]

    @property
    def layout(self) -> Layout:
        """Where its state lies."""
        return Layout(self.folder)

    @property
    def settings(self) -> Settings:
        """Its settings, with ports as they are."""
        named = Settings.build("", self.environment)
        return msgspec.structs.replace(named, ports=self.addresses.ports)

    @property
    def addresses(self) -> Addresses:
        """Where it listens."""
        found = ports.read(self.layout)
        assert found is not None, "it was never started"
        return found

    @property
    def processes(self) -> list[psutil.Process]:
        """Every living process that it, or anything of it, has started."""
        return members(instance_of(self.folder))

    def offerloop(self, *words: str, fails: bool = False) -> str:
        """Run the command line; what it prints. `fails`: it must not end with 0."""
        command = [sys.executable, "-m", "cli.main", *words]
        done = subprocess.run(command, env=dict(self.environment), capture_output=True, text=True, timeout=START_S, check=False)
        assert (done.returncode != 0) == fails, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        """What `offerloop status --json` says, ready or not."""
        command = [sys.executable, "-m", "cli.main", "status", "--json"]
        done = subprocess.run(command, env=dict(self.environment), capture_output=True, text=True, timeout=60, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def service(self, name: str) -> state.ServiceState:
        """How a service is."""
        found = state.read(self.layout)
        assert found is not None
        return next(service for service in found.services if service.name == name)

    def client(self, patience_s: float = 60.0) -> Client:
        """A client with the owner's key."""
        return Client(self.addresses.api, owner_key(self.layout), patience_s=patience_s)

    def wait_until_ready(self, timeout_s: float = START_S) -> None:
        """Wait until every service answers; started again where somebody has ended it."""
        if state.supervisor(self.layout) is None:
            self.up()
        wait_until(self._ready, timeout_s)

    def up(self) -> None:
        """Start it."""
        self.offerloop("up", "--detach")

    def end(self) -> None:
        """End it, whatever became of it."""
        try:
            self.offerloop("down")
        finally:
            end_all(instance_of(self.folder))

    def _ready(self) -> bool:
        found = state.read(self.layout)
        return found is not None and found.ready and state.supervisor(self.layout) == found.pid


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something holds, and fail when it does not within `seconds`."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"it did not come to be within {seconds:.0f} s"
        time.sleep(0.1)
