"""P14: how long the command's help takes, and how long it is from nothing to the first decision."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from bench.rows import Figure, Measurement
from client.client import Client
from contracts.errors import ServiceFailed
from contracts.settings import Settings
from services import ports
from serving.keys import owner_key
from storage.layout import Layout

COMMAND = str(Path(sys.executable).with_name("offerloop"))
HELP_TARGET_S = 0.5
FIRST_TARGET_S = 60.0
PATIENCE_S = 300.0


def measure(options: Sequence[str]) -> Measurement:
    """Time both, in a state folder of its own on free ports; everything that was started is ended."""
    parser = argparse.ArgumentParser(prog="make target ROW=P14 ARGS=…")
    parser.add_argument("--runs", type=int, default=9, help="of the help, the first one thrown away")
    parser.add_argument("--use-case", default=Settings().use_cases[0])
    chosen = parser.parse_args(options)
    with tempfile.TemporaryDirectory(prefix="offerloop-p14-") as folder:
        environment = _environment(Path(folder) / "state", chosen.use_case)
        helps = [_help(environment) for _ in range(chosen.runs + 1)][1:]
        first_s, ready_s = _first_decision(Path(folder), environment, chosen.use_case)
    figures = (Figure("help", median(helps), HELP_TARGET_S, "s"), Figure("first decision", first_s, FIRST_TARGET_S, "s"))
    spread = f"help: median of {len(helps)} runs, {min(helps):.3f} to {max(helps):.3f} s"
    return Measurement("P14", figures, (spread, f"everything that `offerloop up` starts was ready after {ready_s:.1f} s"))


def _environment(state: Path, use_case: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("OFFERLOOP_")}
    free = {f"OFFERLOOP_PORTS__{name.upper()}": "0" for name in Settings().ports.__struct_fields__}
    return own | free | {"OFFERLOOP_STATE": str(state), "OFFERLOOP_USE_CASES": use_case}


def _help(environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([COMMAND, "--help"], env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def _first_decision(folder: Path, environment: Mapping[str, str], use_case: str) -> tuple[float, float]:
    """Seconds until the first decision was answered, and until everything was ready."""
    layout = Layout(Path(environment["OFFERLOOP_STATE"]))
    began = time.perf_counter()
    with (folder / "up.log").open("w+") as log:
        up = subprocess.Popen([COMMAND, "up", "--detach"], env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            while (addresses := ports.read(layout)) is None and up.poll() is None:
                time.sleep(0.05)
            if addresses is None:
                raise ServiceFailed(
                    "offerloop up", f"ended with {up.returncode}: {(folder / 'up.log').read_text()[-400:]}", str(layout.logs)
                )
            with Client(addresses.api, owner_key(layout), patience_s=PATIENCE_S) as client:
                client.decide(use_case, "the-first")
            first_s = time.perf_counter() - began
            up.wait(PATIENCE_S)
            return first_s, time.perf_counter() - began
        finally:
            if up.poll() is None:
                up.terminate()
                up.wait(30)
            subprocess.run([COMMAND, "down"], env=environment, cwd=folder, capture_output=True)
