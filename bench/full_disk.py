"""A disk that is full while an installation runs: a small one of its own, or a limit to files where nothing may be mounted."""

import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.acknowledged import History, compare
from bench.outage import made_event
from client.messages import Answer
from contracts.errors import StoreUnavailable
from contracts.settings import Settings, Store
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act
from releases.stages import start
from serving.messages import EventMessage
from serving.service import DecisionService
from storage.drain import drain
from storage.watch import LOOK_S
from training.train import start_parts
from use_cases.definition import UseCase

DISK_MB = 48
MAP_SIZE = 2**30
"""More than the disk has, so that it is the disk that is full."""

BATCH = 50
PATIENCE_S = 30.0


@dataclass
class Full:
    """What came of it: how often the disk was full, what was wrong, and how it was made so."""

    times: int = 0
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fill_up(use_case: UseCase, seed: int) -> Full:
    """Fill the disk twice: to what is kept in reserve, and to the last byte; then make room, and go on with the same service."""
    full = Full()
    with tempfile.TemporaryDirectory(prefix="offerloop-full-") as folder, _small_disk(Path(folder), full) as limited:
        settings = Settings(state=str(Path(folder) / "state"), use_cases=(use_case.name,), store=Store(map_size_bytes=MAP_SIZE))
        history = History()
        with DecisionService(settings, {use_case.name: use_case}) as service:
            _begin(service, use_case)
            for number, fill in enumerate((partial(_to_the_reserve, Path(folder)), partial(_to_the_last_byte, Path(folder), limited))):
                _accepted(service, use_case, history, f"{seed}-{number}-before")
                make_room = fill()
                refused = _refused(service, use_case, history, f"{seed}-{number}", full)
                full.times += refused
                if not refused:
                    full.wrong.append(f"fill {number}: the disk was never full")
                _drained(service, use_case, full, must=False)
                make_room()
                if not _goes_on(service, use_case, history, f"{seed}-{number}-after"):
                    full.wrong.append(f"fill {number}: nothing is taken in {PATIENCE_S:.0f} s after there was room again")
                _drained(service, use_case, full, must=True)
            findings = compare(service.tables, use_case.schema, history)
        full.wrong += [*findings.lost, *findings.doubled, *findings.differing]
        full.notes.append(f"the disk full twice: {history.acknowledged} acknowledged writes, all looked for; nothing was started anew")
    return full


@contextmanager
def _small_disk(folder: Path, full: Full) -> Iterator[bool]:
    """A disk of its own for a folder; whether it is no disk but a limit."""
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    mounted = mount is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    if not mounted:
        full.notes.append("NO SMALL DISK COULD BE MOUNTED HERE: a limit to the size of files stands in for it")
    try:
        yield not mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def _to_the_reserve(folder: Path) -> Callable[[], object]:
    """Leave so little that the journal refuses by itself: half of what it wants to be free."""
    disk = shutil.disk_usage(folder)
    make_room = _ballast(folder, max(0, disk.free - disk.total // 100))
    # why: who watches looks four times a second, and this is to be refused by what it sees
    time.sleep(3 * LOOK_S)
    return make_room


def _to_the_last_byte(folder: Path, limited: bool) -> Callable[[], object]:
    if not limited:
        return _ballast(folder, shutil.disk_usage(folder).free)
    largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _ballast(folder: Path, size: int) -> Callable[[], object]:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        for _ in range(size // 4_096 + 1):
            file.write(bytes(4_096))
    return lambda: ballast.unlink(missing_ok=True)


def _begin(service: DecisionService, use_case: UseCase) -> None:
    layout = service.layout
    release_id = write_bundle(layout.bundles, start_parts(use_case, {"revision": "first"}), layout.secrets)
    digest = read_bundle(layout.bundles, release_id).digest
    start(service.ledger, use_case.name, release_id, digest, use_case.control_share, Act("bench", service.clock.now_us(), "first"))
    service.look()


def _accepted(service: DecisionService, use_case: UseCase, history: History, name: str) -> None:
    chance = random.Random(name)
    events = [
        made_event(use_case.schema, f"v-{name}-{number}", f"e{number % 7}", service.clock.now_us(), chance) for number in range(BATCH)
    ]
    messages = [EventMessage(one.event_id, one.entity_id, one.type, one.event_time, one.fields) for one in events]
    receipt = service.accept_events(use_case.name, messages)
    if receipt.quarantined:
        raise StoreUnavailable("the bench", receipt.quarantined[0].reason)
    history.events.update(one.event_id for one in events)
    decision = service.decide(use_case.name, "e1", {}, f"d-{name}")
    answer = service.answer(decision)
    history.answered(Answer(**{field: getattr(answer, field) for field in Answer.__struct_fields__}))


def _refused(service: DecisionService, use_case: UseCase, history: History, name: str, full: Full) -> bool:
    """Send until it is refused as it should be; anything else is wrong."""
    until = time.monotonic() + PATIENCE_S
    number = 0
    while time.monotonic() < until:
        number += 1
        try:
            _accepted(service, use_case, history, f"{name}-{number}")
        except StoreUnavailable as error:
            full.notes.append(f"refused: {str(error)[:150]}")
            return True
        except Exception as error:  # noqa: BLE001  why: whatever else is raised is what is looked for here
            full.wrong.append(f"{name}: {error!r}")
            return False
    return False


def _goes_on(service: DecisionService, use_case: UseCase, history: History, name: str) -> bool:
    until = time.monotonic() + PATIENCE_S
    number = 0
    while time.monotonic() < until:
        number += 1
        try:
            _accepted(service, use_case, history, f"{name}-{number}")
            return True
        except StoreUnavailable:
            time.sleep(0.05)
    return False


def _drained(service: DecisionService, use_case: UseCase, full: Full, *, must: bool) -> None:
    """Move everything into tables; with the disk full that may fail, and must leave tables that can be read."""
    try:
        drain(service.journal, service.tables, {use_case.name: use_case.schema})
    except Exception as error:  # noqa: BLE001  why: Polars raises what it likes where the disk is full
        if must:
            full.wrong.append(f"drain with room again: {error!r}")
    for table in ("events", "decisions", "outcomes"):
        service.tables.frame(use_case.schema, table)
