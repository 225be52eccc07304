"""`offerloop capacity`."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import psutil

from cli.asking import Asked, ask
from cli.here import settings_of
from cli.output import console, json_option, print_json, print_table
from cli.trial import Trial, trial
from contracts.errors import NotFound
from contracts.settings import Settings

CONNECTIONS = (1, 4, 16, 64)
ENTITIES = 500
KEPT_FREE = 0.9
"""Share of cores and memory that replicas may take; the flows, the stores and the system live on the rest."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a replica did under a load: decisions a second, latencies, its processor time a decision, and the cores that it kept busy."""

    connections: int
    decisions_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_us: float
    cores: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one replica carries here, and how many of it the machine holds.

    Attributes:
        release: that was measured.
        scorer: what scored, as `/v1/status` says.
        best: the load with the most decisions a second whose p99 was as asked for; none where all were slower.
        memory_mb: of the replica.
        replicas: that the machine holds.
    """

    use_case: str
    release: str
    scorer: str
    loads: Sequence[Load]
    best: Load | None
    memory_mb: float
    cores: int
    replicas: int


@click.command()
@click.option("--use-case", help="Which; by default the first of the settings.")
@click.option("--p99-ms", default=50.0, show_default=True, type=click.FloatRange(min=0.1), help="The slowest that one in a hundred may be.")
@click.option("--seconds", default=4.0, show_default=True, type=click.FloatRange(1.0, 60.0), help="Of each of the four loads.")
@json_option
@click.pass_context
def capacity(context: click.Context, use_case: str | None, p99_ms: float, seconds: float, as_json: bool) -> int:
    """Say what one replica carries on this machine, and how many the machine holds.

    It starts an installation of its own in a temporary folder, with the champion of this one where there is one, asks it as fast as it
    answers, and ends it: a minute or two. Nothing is asked of this installation, and nothing is written to its log; but what runs here
    meanwhile takes its part of the machine.
    """
    settings = settings_of(context)
    name = use_case or settings.use_cases[0]
    if name not in settings.use_cases:
        raise NotFound("use case", name, settings.use_cases)
    with tempfile.TemporaryDirectory(prefix="offerloop-capacity-") as folder, trial(settings, name, Path(folder)) as running:
        found = measured(running, settings, p99_ms, seconds)
    if as_json:
        print_json(asdict(found))
    else:
        _say(found, p99_ms)
    return 0


def measured(running: Trial, settings: Settings, p99_ms: float, seconds: float) -> Capacity:
    """Load a trial's replica, more and more at once.

    Args:
        running: the trial.
        settings: of the installation that it stands for.
        p99_ms: what the best load keeps to.
        seconds: of each load.
    """
    entities = [f"trial-{number}" for number in range(ENTITIES)]
    running.wait_until_compiled()
    ask(running.port, running.requests(entities), CONNECTIONS[1], 1.0)
    loads = []
    for connections in (one for one in CONNECTIONS if one <= settings.serving.max_ongoing_requests):
        before_s = running.cpu_s()
        asked = ask(running.port, running.requests(entities), connections, seconds)
        loads.append(_load(connections, asked, running.cpu_s() - before_s))
    memory_mb = running.memory_mb()
    best = max((load for load in loads if load.p99_ms <= p99_ms and not load.failed), key=lambda load: load.decisions_s, default=None)
    cores = len(os.sched_getaffinity(0))
    busiest = max(load.cores for load in loads)
    free_mb = psutil.virtual_memory().available / 1e6 + memory_mb
    return Capacity(
        use_case=running.use_case,
        release=running.release_id,
        scorer=running.scorer(),
        loads=loads,
        best=best,
        memory_mb=round(memory_mb, 1),
        cores=cores,
        replicas=held(cores, busiest, free_mb, memory_mb),
    )


def held(cores: int, busy: float, free_mb: float, memory_mb: float) -> int:
    """How many replicas a machine holds, at least one: by the cores that one keeps busy at most, its proxy included, and by its memory.

    Example:
        >>> held(8, 1.2, 16_000.0, 300.0), held(8, 1.2, 900.0, 300.0), held(1, 1.2, 16_000.0, 300.0)
        (6, 2, 1)
    """
    return max(1, min(int(KEPT_FREE * cores / max(busy, 1e-9)), int(KEPT_FREE * free_mb / max(memory_mb, 1e-9))))


def _load(connections: int, asked: Asked, cpu_s: float) -> Load:
    return Load(
        connections=connections,
        decisions_s=round(asked.good / asked.seconds, 1),
        p50_ms=round(asked.latency_ms(0.5), 2),
        p99_ms=round(asked.latency_ms(0.99), 2),
        failed=asked.failed,
        cpu_us=round(1e6 * cpu_s / max(1, asked.good), 1),
        cores=round(cpu_s / asked.seconds, 2),
    )


def _say(found: Capacity, p99_ms: float) -> None:
    print_table(
        f"One replica of {found.use_case} on this machine: {found.release}, scored by {found.scorer}",
        ("at once#", "decisions/s#", "p50 ms#", "p99 ms#", "failed#", "CPU µs a decision#", "cores#"),
        [
            (one.connections, f"{one.decisions_s:,.0f}", one.p50_ms, one.p99_ms, one.failed, f"{one.cpu_us:,.0f}", one.cores)
            for one in found.loads
        ],
    )
    said = console().print
    if found.best is None:
        said(f"No load had a p99 of {p99_ms:g} ms.")
    else:
        said(f"One replica carries {found.best.decisions_s:,.0f} decisions/s at a p99 of {found.best.p99_ms:g} ms (asked: {p99_ms:g} ms).")
    said(f"It takes {found.memory_mb:,.0f} MB. {found.cores} cores and the memory that is free hold {found.replicas} of it.")
    said("CPU is of the replica and its proxy; whoever asked took more. Set serving.min_replicas and serving.max_replicas by this.")
