"""Servers that a measurement starts beside ours: started on a free port, waited for, ended with everything they started."""

import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from contracts.errors import ServiceFailed
from services.processes import end

PATIENCE_S = 120.0


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], log: Path, ready: str = "") -> Iterator[psutil.Process]:
    """A process and what it starts, ended with the block.

    Args:
        command: to run.
        environment: of it.
        log: where what it prints goes.
        ready: an address; the block begins when it answers, whatever it says. None is waited for where it is empty.

    Raises:
        ServiceFailed: it ends, or does not answer in time.
    """
    with log.open("wb") as output:
        started = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    process = psutil.Process(started.pid)
    try:
        if ready:
            _wait(started, ready, log)
        yield process
    finally:
        end(family([process]))
        started.wait()


def family(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Processes that live, and their children's children."""
    found: dict[int, psutil.Process] = {}
    for process in processes:
        try:
            found |= {one.pid: one for one in [process, *process.children(recursive=True)]}
        except psutil.NoSuchProcess:
            continue
    return list(found.values())


def peak_mb(processes: Iterable[psutil.Process]) -> float:
    """The most memory that each had resident at any time, added up, in megabytes; what they share counts for each."""
    total = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return total / 1000.0


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """Processor time that they took so far, in seconds."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _wait(started: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while time.monotonic() < until and started.poll() is None:
            try:
                client.get(address)
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return
    raise ServiceFailed(str(started.args), f"does not answer at {address}: {log.read_text(errors='replace')[-400:]}", str(log))
