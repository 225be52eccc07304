"""Processes of an installation: started with a mark in their environment, found by it, ended by their ids."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from contracts.digests import digest_of_bytes

INSTANCE = "OFFERLOOP__INSTANCE"
"""The variable that every process of an installation inherits, whoever started it: Ray's workers, HAProxy and flow runs too."""

SERVICE = "OFFERLOOP__SERVICE"
"""The variable that says which service a process belongs to."""

TERM_S = 5.0
KILL_S = 10.0


def instance_of(state: Path) -> str:
    """The mark of the installation whose state is in a folder.

    Example:
        >>> len(instance_of(Path("/var/lib/offerloop")))
        16
    """
    return digest_of_bytes(str(state.resolve()).encode())[:16]


def start(command: Sequence[str], environment: Mapping[str, str], log: Path, niceness: int = 0) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, what it prints appended to a log.

    Raises:
        OSError: the command cannot be run.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    if niceness:
        os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
    return process


def members(instance: str, service: str | None = None) -> list[psutil.Process]:
    """The living processes of an installation, or of one of its services; this process and those above it are left out.

    A process that gives itself a title, as Ray's do, may wipe the mark out; then its session tells, which it shares with a marked one.
    """
    own = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    sessions: dict[int, str | None] = {}
    marked: list[tuple[psutil.Process, str | None]] = []
    unmarked: list[tuple[psutil.Process, int]] = []
    for process in psutil.process_iter():
        try:
            if process.pid in own or process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment, session = _environment(process), os.getsid(process.pid)
        except (psutil.Error, OSError):
            # why: it has just ended, or is another user's and so none of ours
            continue
        if environment.get(INSTANCE) == instance:
            sessions[session] = environment.get(SERVICE)
            marked.append((process, environment.get(SERVICE)))
        elif INSTANCE not in environment and session != os.getsid(0):
            unmarked.append((process, session))
    found = marked + [(process, sessions[session]) for process, session in unmarked if session in sessions]
    return [process for process, belongs in found if service in (None, belongs)]


def _environment(process: psutil.Process) -> dict[str, str]:
    block = Path(f"/proc/{process.pid}/environ")
    if not block.exists():
        return process.environ()
    # why: a title leaves empty entries in front, and psutil stops at the first
    entries = block.read_bytes().decode(errors="surrogateescape").split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def end(processes: Iterable[psutil.Process], term_s: float = TERM_S, kill_s: float = KILL_S) -> list[psutil.Process]:
    """End processes: asked to first, after `term_s` seconds made to. Returns those that are still there `kill_s` seconds later."""
    left = list(processes)
    for ask, patience_s in ((psutil.Process.terminate, term_s), (psutil.Process.kill, kill_s)):
        for process in left:
            try:
                ask(process)
            except psutil.NoSuchProcess:
                continue
        _, left = psutil.wait_procs(left, timeout=patience_s)
    return left


def end_all(instance: str, service: str | None = None, term_s: float = TERM_S) -> int:
    """End every process of an installation, or of one of its services, those included that are started meanwhile; how many there were."""
    ended: set[int] = set()
    for _ in range(5):
        found = members(instance, service)
        if not found:
            break
        ended |= {process.pid for process in found}
        end(found, term_s)
        term_s = min(term_s, 1.0)
    return len(ended)
