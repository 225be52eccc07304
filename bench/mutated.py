"""R4: bundles that were tampered with, each put in force by the traffic plan of a service that goes on answering.

Every one begins as a genuine release, signed and registered. It is then damaged where it lies; or forged: rewritten with digests that hold,
and registered as what it is now, by someone who can write everywhere but has no key; or wrong although it is signed.
"""

import argparse
import os
import pickle
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import msgspec
import numpy as np
import psutil

from bench.mutations import MANIFEST, MUTATIONS, Target, Trap, other_bundle, vanish
from bench.rows import Figure, Measurement
from contracts.digests import digest_of_bytes
from contracts.settings import Settings, Store
from decisions.policies import PolicySpec
from releases.bundle import BundleParts, read_bundle, write_bundle
from releases.ledger import Act
from releases.stages import register, start, to_champion, to_shadow
from serving.service import DecisionService
from simulator.campaign import START, begin
from storage.layout import Layout
from training.dataset import TrainingSet
from training.fit import fit, predict
from training.golden import golden_decisions
from training.train import start_parts, train_on
from use_cases.definition import load

COMPILING_S = 60.0
USE_CASE, OTHER = "game_promotion", "email_promotion"
ACTOR = "bench"
_WATCHED = frozenset(
    {
        "pickle.find_class",
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.spawn",
        "ctypes.dlopen",
        "marshal.loads",
    }
)


@dataclass
class Attacked:
    """What became of the mutated bundles.

    Attributes:
        ways: how many there were of each. `taken`: that were let in. `silent`: that no row of the ledger tells of. `broken`: looks at the
            plan that ended in an error that nobody foresaw. `executed`: what was run or loaded meanwhile.
        answers: of the service in between. `wrong`: of those that failed, or were of another release than the old one.
        genuine: whether a release that nobody tampered with is let in afterwards.
        reasons: of refusals, some of them.
    """

    ways: Counter[str] = field(default_factory=Counter)
    taken: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    genuine: bool = False
    reasons: dict[str, str] = field(default_factory=dict)


def measure(options: Sequence[str]) -> Measurement:
    """Put mutated bundles of a trained release in force, one after the other."""
    parser = argparse.ArgumentParser(prog="make target ROW=R4 ARGS=…")
    parser.add_argument("--bundles", type=int, default=1_000, help="how many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--decisions", type=int, default=8_000, help="of the game that the releases are trained on")
    chosen = parser.parse_args(options)
    use_case = load(USE_CASE)
    game = begin(use_case, chosen.seed)
    game.play(chosen.decisions)
    whole = game.training_set()
    first, second = _with_trees(whole), _with_trees(whole.only(whole.entity % 2 == 0))
    with tempfile.TemporaryDirectory(prefix="offerloop-r4-") as folder:
        found = attack(first, second, Path(folder), chosen.bundles, chosen.seed)
    return Measurement(
        "R4",
        (
            Figure("mutated bundles that were let in", float(len(found.taken)), 0.0, ""),
            Figure("decisions that failed or were another release's", float(len(found.wrong)), 0.0, ""),
            Figure("things executed", float(len(found.executed)), 0.0, ""),
            Figure("refusals that the ledger does not tell", float(len(found.silent)), 0.0, ""),
            Figure("looks that ended in an unforeseen error", float(len(found.broken)), 0.0, ""),
            Figure("mutated bundles", float(found.ways.total()), float(chosen.bundles), "", at_most=False),
            Figure("genuine releases let in afterwards", float(found.genuine), 1.0, "", at_most=False),
            Figure("decisions answered meanwhile", float(found.answers), float(chosen.bundles), "", at_most=False),
        ),
        (
            ", ".join(f"{count} {way}" for way, count in found.ways.items()),
            *(f"{way}: {reason}" for way, reason in found.reasons.items()),
            *(f"wrong: {said}" for said in (*found.taken, *found.wrong[:3], *found.executed[:3], *found.silent[:3], *found.broken[:3])),
        ),
    )


def _with_trees(training_set: TrainingSet) -> BundleParts:
    """A trained release, with the use case's own learner: a few decisions often do not let it be chosen."""
    parts = train_on(training_set, champion=START).parts
    use_case = training_set.use_case
    everybody = np.ones(len(training_set), dtype=np.bool_)
    model = fit(training_set, everybody, use_case.learner, seed=1)
    features, eligible = training_set.features[:64], training_set.eligible[:64]
    policy = msgspec.convert(parts.policy, PolicySpec)
    golden = golden_decisions(use_case.catalogue, policy, features, eligible, predict(model, features, eligible))
    return replace(parts, scorer_kind=model.kind, scorer_files=model.files, golden=golden)


def attack(parts: BundleParts, other: BundleParts, folder: Path, count: int, seed: int) -> Attacked:
    """Put mutated bundles in force in a service that answers all the time.

    Args:
        parts: of a release of the game with trees. `other`: of another one.
        folder: for the installation.
        count: how many.
        seed: of what is done to them.
    """
    chance = random.Random(seed)
    settings = Settings(state=str(folder / "state"), use_cases=(USE_CASE,), store=Store(map_size_bytes=2**30))
    layout = Layout(settings.folder)
    outside = folder / "outside"
    outside.mkdir()
    found = Attacked()
    beside = layout.bundles / write_bundle(layout.bundles, other, layout.secrets)
    with DecisionService(settings) as service:
        old = write_bundle(layout.bundles, replace(parts, code={"revision": "the old one"}), layout.secrets)
        plan = Act(ACTOR, service.clock.now_us(), "the first release")
        start(service.ledger, USE_CASE, old, read_bundle(layout.bundles, old).digest, 0.1, plan)
        service.look()
        _wait_until_compiled(service)
        before = {process.pid for process in psutil.Process().children(recursive=True)}
        files = {layout.run.name, *os.listdir(layout.root)}
        with _Asking(service, old, found), _Listening(found):
            for number in range(count):
                mutation = MUTATIONS[number % len(MUTATIONS)]
                source = replace(parts, code={"revision": f"made {number}"})
                if mutation is other_bundle and chance.random() < 0.5:
                    source = start_parts(load(OTHER), {"revision": f"made {number}"})
                release_id = write_bundle(layout.bundles, source, layout.secrets)
                digest = read_bundle(layout.bundles, release_id).digest
                folder_now = layout.bundles / release_id
                trap = pickle.dumps(Trap(outside / "sprung"), chance.randrange(pickle.HIGHEST_PROTOCOL + 1))
                way = mutation.__name__.replace("_", " ")
                if mutation is other_bundle and source.use_case == OTHER:
                    way = "other use case"
                elif mutation is vanish and chance.random() < 0.5:
                    way, digest = "other digest in the ledger", digest_of_bytes(digest.encode())
                else:
                    renamed = mutation(Target(folder_now, beside, layout.secrets, outside, trap, chance))
                    if renamed is not None:
                        release_id = renamed
                        digest = digest_of_bytes((layout.bundles / release_id / MANIFEST).read_bytes())
                found.ways[way] += 1
                _put_in_force(service, release_id, digest, old, way, found)
                with suppress(OSError):
                    shutil.rmtree(layout.bundles / release_id)
        found.genuine = _lets_in(service, write_bundle(layout.bundles, replace(parts, code={"revision": "another"}), layout.secrets))
        found.executed += [f"process {child.pid}" for child in psutil.Process().children(recursive=True) if child.pid not in before]
        found.executed += [f"file {name}" for name in set(os.listdir(layout.root)) - files]
        # why: what lies there otherwise was put there by the mutations, and is named for its release
        found.executed += [f"file {path.name}" for path in outside.iterdir() if not path.name.startswith("r-")]
    return found


def _lets_in(service: DecisionService, release_id: str) -> bool:
    _plan(service, release_id, read_bundle(service.layout.bundles, release_id).digest, "genuine")
    service.look()
    return [arm.release_id for arm in service.status().use_cases[0].arms] == [release_id]


def _plan(service: DecisionService, release_id: str, digest: str, way: str) -> None:
    act = Act(ACTOR, service.clock.now_us(), way)
    register(service.ledger, USE_CASE, release_id, digest, act)
    to_shadow(service.ledger, USE_CASE, release_id, act)
    to_champion(service.ledger, USE_CASE, release_id, act)


def _put_in_force(service: DecisionService, release_id: str, digest: str, old: str, way: str, found: Attacked) -> None:
    _plan(service, release_id, digest, way)
    try:
        service.look()
    except Exception as error:  # noqa: BLE001 - why: that nothing else is raised is what is measured
        found.broken.append(f"{way}: {error!r}")
    status = service.status().use_cases[0]
    reason = status.refused.get(release_id, "")
    if not reason or [arm.release_id for arm in status.arms] != [old]:
        found.taken.append(f"{way}: {release_id} {reason}")
    rows = service.ledger.rows(USE_CASE, limit=20)
    if not any(row.action == "refuse" and row.release_id == release_id and row.reason for row in rows):
        found.silent.append(f"{way}: {release_id}")
    found.reasons[way] = reason[:160]


class _Asking:
    """Asks for decisions from a thread of its own, and looks at who answers."""

    def __init__(self, service: DecisionService, old: str, found: Attacked) -> None:
        self._service, self._old, self._found = service, old, found
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="asking")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                decision = self._service.decide(USE_CASE, f"player-{self._found.answers % 500}")
                if decision.release_id != self._old:
                    self._found.wrong.append(f"answered by {decision.release_id}")
            except Exception as error:  # noqa: BLE001 - why: that none is raised is what is measured
                self._found.wrong.append(repr(error))
            self._found.answers += 1


def _wait_until_compiled(service: DecisionService) -> None:
    """Wait until the release that serves has its scorer compiled, or will not: that runs a compiler and loads what it made."""
    until = time.monotonic() + COMPILING_S
    while service.status().use_cases[0].arms[0].scorer == "LightGBM" and time.monotonic() < until:
        time.sleep(0.05)


class _Listening:
    """Hears, through Python's audit events (PEP 578), what is run, loaded or unpickled while it listens."""

    def __init__(self, found: Attacked) -> None:
        self._found: Attacked | None = found
        # why: a hook stays for the life of the process, so it must be able to fall silent
        sys.addaudithook(self._hear)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._found = None

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._found is not None and event in _WATCHED and not (event == "marshal.loads" and _imports_our_own(sys._getframe(1))):
            self._found.executed.append(f"{event} {arguments!r:.120}")


def _imports_our_own(frame: FrameType) -> bool:
    """Whether Python loads a module of the libraries or of ours that nobody needed so far, and not one that was planted."""
    cached = frame.f_locals.get("bytecode_path")
    known = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]))
    return frame.f_code.co_filename == "<frozen importlib._bootstrap_external>" and str(cached).startswith(known)
