"""Where a decision's processor time goes on a running installation: by process, by phase of the replica, and as a flame graph.

`python -m bench.hot_path [--svg FILE]` prints it. The replica is looked at from outside by py-spy while it is under load, two hundred times
a second; a phase's share of the samples in which a thread ran is its share of the replica's processor time.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.load import Loaded, Plan, loading
from bench.processes import cpu_s
from bench.promotion_world import asks, release, serving
from contracts.errors import ServiceFailed

PHASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the record: encoded, and its entity's state moved on", ("(decisions/record.py", "(features/rebuild.py")),
    ("key and admission", ("(serving/keys.py", "(serving/admission.py")),
    ("scoring", ("(decisions/scorer.py", "(decisions/compiled.py", "(decisions/kernel.py", "(decisions/trees.py", "(decisions/matrix.py")),
    ("policy and draw", ("(decisions/policies.py", "(decisions/exploration.py")),
    ("eligibility, and what was shown before", ("(decisions/eligibility.py", "times_of ")),
    ("features", ("(features/", "get_state (storage/", "get_head (storage/")),
    ("arm, answer's id, the decision as a value", ("(decisions/", "(secrets.py")),
    ("counting", ("(serving/metrics.py", "(storage/health.py", "(ray/util/metrics.py", "_after (serving/")),
    ("commit: LMDB, its sync, handing over", ("(storage/",)),
    ("request and answer as JSON", ("(serving/messages.py", "_submit (serving/app.py", "_decided (serving/app.py")),
    ("the service around these", ("(serving/service.py", "(serving/live.py", "(serving/arrivals.py", "(concurrent/futures/")),
    ("HTTP: our protocol and uvicorn's", ("(serving/", "(uvicorn/")),
    ("Ray, and its event loop", ("(ray/", "(asyncio/", "(grpc/")),
)
"""By name, what a frame of theirs contains. A stack belongs to the first of these that any of its frames belongs to."""

SOCKETS, REST = "sockets: uvloop, outside Python", "the rest"
SAMPLES_S = 200


@dataclass(frozen=True)
class Profile:
    """What a look from outside has found.

    Attributes:
        processes: microseconds of processor time a decision, by process.
        phases: the same of a replica, by phase, largest first.
        loaded: what the clients got meanwhile.
    """

    processes: Mapping[str, float]
    phases: Mapping[str, float]
    loaded: Loaded
    replicas: int

    @property
    def largest(self) -> list[tuple[str, float]]:
        """The three phases that cost most."""
        return list(self.phases.items())[:3]


def profile(options: Sequence[str] = ()) -> Profile:
    """Put load on an installation and look at it.

    Raises:
        ServiceFailed: it does not start, or py-spy cannot look.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.hot_path")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--entities", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=40, help="of each entity, before")
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0, help="of looking, twice where a picture is made")
    parser.add_argument("--svg", type=Path, default=None, help="where to put the flame graph")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(options)
    parts = release(2 * chosen.seed, trees=chosen.trees)
    with (
        tempfile.TemporaryDirectory(prefix="offerloop-profile-") as folder,
        serving(chosen.replicas, chosen.entities, chosen.events, chosen.seed, parts) as running,
    ):
        processes = running.serving_processes()
        replica = next(process for process in processes if process.name() != "haproxy")
        looks = 1 + (chosen.svg is not None)
        requests = asks(chosen.entities, running.key)
        time.sleep(2.0)
        before = {process: cpu_s([process]) for process in processes}
        plan = Plan(running.settings.ports.api, requests, chosen.connections, chosen.seconds * looks + 3.0 * looks, 0.0)
        with loading(plan) as load:
            time.sleep(1.0)
            stacks = _look(replica, chosen.seconds, "raw", Path(folder) / "stacks.txt").read_text()
            if chosen.svg is not None:
                chosen.svg.parent.mkdir(parents=True, exist_ok=True)
                picture = _look(replica, chosen.seconds, "flamegraph", Path(folder) / "flame.svg").read_text()
                chosen.svg.write_text(titled(picture, f"A replica under load, {chosen.connections} connections: share of samples"))
            loaded = load.result()
        haproxy = [process for process in processes if process != replica and process.name() == "haproxy"]
        taken = {
            name: sum(cpu_s([process]) - before[process] for process in members) * 1e6 / max(1, loaded.good)
            for name, members in (("replicas", [one for one in processes if one not in haproxy]), ("HAProxy", haproxy))
        }
    return Profile(taken, phases(stacks.splitlines(), taken["replicas"]), loaded, chosen.replicas)


def phases(stacks: Iterable[str], whole_us: float) -> dict[str, float]:
    """Microseconds of each phase, largest first, so that they add up to a whole.

    Args:
        stacks: folded, as py-spy's format `raw`: frames from the outermost, apart by semicolons, then a space and how many samples.
        whole_us: to be shared out.

    Example:
        >>> phases(["run (a.py:1);scores (decisions/scorer.py:9) 3", "run (a.py:1) 1"], 100.0)
        {'scoring': 75.0, 'the rest': 25.0}
    """
    counted: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        counted[_phase(stack)] += int(count)
    samples = counted.total()
    return {name: whole_us * count / samples for name, count in counted.most_common()}


def titled(picture: str, title: str) -> str:
    """A flame graph with a title of its own: py-spy writes the command there, with this machine's paths.

    Example:
        >>> titled('<text id="title" x="1">py-spy record</text>', "A replica")
        '<text id="title" x="1">A replica</text>'
    """
    return re.sub(r'(<text id="title"[^>]*>)[^<]*', lambda found: found[1] + title, picture, count=1)


def _phase(stack: str) -> str:
    for name, marks in PHASES:
        if any(mark in stack for mark in marks):
            return name
    # why: the event loop's thread has no frame of its own above this while uvloop reads and writes
    return SOCKETS if stack.rpartition(";")[2].startswith("Thread.run ") else REST


def _look(process: psutil.Process, seconds: float, form: str, target: Path) -> Path:
    program = str(Path(sys.executable).with_name("py-spy"))
    command = [program, "record", "--pid", str(process.pid), "--duration", str(int(seconds)), "--rate", str(SAMPLES_S), "--nonblocking"]
    done = subprocess.run([*command, "--format", form, "--output", str(target)], capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode or not target.exists():
        raise ServiceFailed("py-spy", f"cannot look into process {process.pid}: {done.stderr[-300:]}", "its own output")
    return target


def main(arguments: Sequence[str]) -> int:
    """Print where the time goes."""
    found = profile(arguments)
    loaded = found.loaded
    print(f"{loaded.rate:,.0f} decisions/s by {found.replicas} replicas; p50 {loaded.latency_ms(0.5):.2f} ms, failed {loaded.failed}")
    for name, taken in (*found.processes.items(), *found.phases.items()):
        print(f"{name:50}{taken:8.0f} µs a decision")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
