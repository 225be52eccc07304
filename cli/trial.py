"""A trial: an installation in a folder of its own, of one use case with one replica, that stands for another one while it is measured."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

from cli.here import actor
from contracts.errors import ServiceFailed
from contracts.settings import Ports, Settings
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.stages import start
from services import ports
from services.processes import instance_of, members
from serving.keys import owner_key
from storage.installation import open_installation
from storage.layout import Layout
from use_cases.definition import load

STARTING_S = 300
COMPILING_S = 20.0
REPLICA = "ray::ServeReplica:offerloop:decisions"


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that runs.

    Attributes:
        port: of its decision API, on loopback.
    """

    layout: Layout
    use_case: str
    release_id: str
    port: int
    key: str

    def requests(self, entities: Sequence[str]) -> list[bytes]:
        """A request for a decision for each entity, as bytes of HTTP."""
        bodies = [msgspec.json.encode({"entity_id": entity}) for entity in entities]
        head = (
            f"POST /v1/{self.use_case}/decisions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {self.key}\r\n"
            "content-type: application/json\r\ncontent-length: "
        ).encode()
        return [head + b"%d\r\n\r\n" % len(body) + body for body in bodies]

    def scorer(self) -> str:
        """What scores, as the replica says."""
        address = f"http://127.0.0.1:{self.port}/v1/status"
        answer = httpx.get(address, headers={"authorization": f"Bearer {self.key}"}, timeout=10.0, trust_env=False)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()["use_cases"][0]["arms"][0]
        return str(found["scorer"])

    def wait_until_compiled(self) -> None:
        """Wait until the scorer is compiled, or will not be: a second or two after a model serves."""
        until = time.monotonic() + COMPILING_S
        while self.scorer() == "LightGBM" and time.monotonic() < until:
            time.sleep(0.1)

    def cpu_s(self) -> float:
        """Processor time that its replica and its proxy took so far, in seconds."""
        total = 0.0
        for process in self._serving("haproxy", REPLICA):
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def memory_mb(self) -> float:
        """Memory of its replica alone, in megabytes; without what it shares with others, where the system says so."""
        total = 0
        for process in self._serving(REPLICA):
            found = process.memory_full_info()
            total += getattr(found, "uss", found.rss)
        return total / 1e6

    def _serving(self, *titles: str) -> list[psutil.Process]:
        found = []
        for process in members(instance_of(self.layout.root)):
            try:
                if process.name() in titles or " ".join(process.cmdline()).startswith(titles):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@contextmanager
def trial(settings: Settings, use_case: str, folder: Path) -> Iterator[Trial]:
    """A trial of a use case: its champion here, or else its first release; ended with the block.

    Args:
        settings: of the installation that it stands for.
        use_case: which.
        folder: an empty one, for its state.

    Raises:
        ServiceFailed: it does not start.
    """
    layout = Layout(folder / "state")
    begin_with_champion(settings, use_case, layout)
    command = [sys.executable, "-m", "cli.main", "--state", str(layout.root)]
    environment = _environment(use_case)
    try:
        done = subprocess.run(
            [*command, "up", "--detach"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=STARTING_S
        )
        if done.returncode:
            raise ServiceFailed("the trial", f"did not start: {done.stderr.strip()[-400:]}", str(layout.logs))
        found = ports.read(layout)
        assert found is not None
        ledger = Ledger(layout.ledger)
        try:
            plan = ledger.plan(use_case)
        finally:
            ledger.close()
        assert plan is not None
        yield Trial(layout, use_case, plan.arms[0].release_id, found.ports.api, owner_key(layout))
    finally:
        subprocess.run([*command, "down"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=STARTING_S)


def begin_with_champion(settings: Settings, use_case: str, layout: Layout) -> None:
    """Make the champion of an installation the first release of a trial, signed by the trial; where there is none, the trial makes one."""
    real = Layout(settings.folder)
    if not real.ledger.exists():
        return
    ledger = Ledger(real.ledger)
    try:
        plan = ledger.plan(use_case)
    finally:
        ledger.close()
    if plan is None:
        return
    parts = read_bundle(real.bundles, plan.arms[0].release_id, real.secrets).parts
    layout.root.mkdir(parents=True)
    clock = open_installation(layout, settings.clock).clock
    release_id = write_bundle(layout.bundles, parts, layout.secrets)
    own = Ledger(layout.ledger)
    try:
        act = Act(actor(), clock.now_us(), "to be measured")
        share = load(use_case).control_share
        start(own, use_case, release_id, read_bundle(layout.bundles, release_id).digest, share, act)
    finally:
        own.close()


def _environment(use_case: str) -> dict[str, str]:
    free = {f"OFFERLOOP_PORTS__{name.upper()}": "0" for name in Ports.__struct_fields__}
    serving = {"MIN_REPLICAS": "1", "MAX_REPLICAS": "1", "TLS_CERTIFICATE": "", "TLS_KEY": "", "REQUESTS_PER_KEY_S": "0"}
    own = {f"OFFERLOOP_SERVING__{name}": value for name, value in serving.items()}
    return dict(os.environ) | free | own | {"OFFERLOOP_USE_CASES": use_case, "OFFERLOOP_HOST": "127.0.0.1"}
