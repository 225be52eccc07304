"""R4: bundles that were tampered with, each put in force by the traffic plan of a service that goes on answering.

Every one begins as a genuine release, signed and registered. It is then damaged where it lies; or forged: rewritten with digests that hold,
and registered as what it is now, by someone who can write everywhere but has no key; or wrong although it is signed.
"""

import argparse
import json
import os
import pickle
import random
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import psutil

from bench.rows import Figure, Measurement
from contracts.digests import digest_of_bytes
from contracts.settings import Settings, Store
from decisions.policies import PolicySpec
from releases.bundle import BundleParts, read_bundle, write_bundle
from releases.ledger import Act
from releases.signing import SIGNATURE_FILE, sign
from releases.stages import register, start, to_champion, to_shadow
from serving.service import DecisionService
from simulator.campaign import START, begin
from storage.layout import Layout
from training.dataset import TrainingSet
from training.fit import fit, predict
from training.golden import golden_decisions
from training.train import start_parts, train_on
from use_cases.definition import load

USE_CASE, OTHER = "game_promotion", "email_promotion"
ACTOR = "bench"
MANIFEST = "manifest.json"
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


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


@dataclass(frozen=True)
class Target:
    """A genuine bundle that is to be spoilt.

    Attributes:
        folder: where it lies, named by its release.
        other: a genuine bundle of another model beside it.
        secrets: of the installation, for what is signed although it is wrong.
        outside: a folder that no bundle has to do with.
        trap: a pickle that makes a file there.
    """

    folder: Path
    other: Path
    secrets: Path
    outside: Path
    trap: bytes
    chance: random.Random

    def names(self) -> list[str]:
        """Its files."""
        return sorted(os.listdir(self.folder))

    def any(self, *but: str) -> Path:
        """One of them, at random."""
        return self.folder / self.chance.choice([name for name in self.names() if name not in but])

    def put(self, name: str, content: bytes) -> None:
        """Replace the content of a file."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    def manifest(self) -> dict[str, Any]:
        """What its manifest says."""
        said: dict[str, Any] = json.loads((self.folder / MANIFEST).read_bytes())
        return said

    def forge(self, files: Mapping[str, bytes], change: Callable[[dict[str, Any]], object] = lambda manifest: None, *, signed: bool) -> str:
        """Rewrite files and the manifest with them, and name the folder by the new digest: the new release id."""
        manifest = self.manifest()
        for name, content in files.items():
            self.put(name, content)
            manifest["files"][name] = {"sha256": digest_of_bytes(content), "size": len(content)}
        change(manifest)
        text = json.dumps(manifest).encode()
        self.put(MANIFEST, text)
        if signed:
            self.put(SIGNATURE_FILE, sign(self.secrets, digest_of_bytes(text)))
        release_id = f"r-{digest_of_bytes(text)[:16]}"
        self.folder.rename(self.folder.parent / release_id)
        return release_id


Mutation: TypeAlias = Callable[[Target], str | None]
"""Spoils a bundle; gives its new name where it has one."""


def truncate(target: Target) -> None:
    """A file ends early, or is empty."""
    path = target.any()
    content = path.read_bytes()
    target.put(path.name, content[: target.chance.randrange(len(content))])


def flip(target: Target) -> None:
    """A bit of a file is another."""
    path = target.any()
    content = bytearray(path.read_bytes())
    content[target.chance.randrange(len(content))] ^= 1 << target.chance.randrange(8)
    target.put(path.name, bytes(content))


def lengthen(target: Target) -> None:
    """A file goes on behind its end."""
    path = target.any()
    target.put(path.name, path.read_bytes() + target.chance.choice([b"\n", b"\0", target.trap]))


def swap_within(target: Target) -> None:
    """Two files take each other's names."""
    one = target.any()
    other = target.any(one.name)
    content = one.read_bytes()
    target.put(one.name, other.read_bytes())
    target.put(other.name, content)


def swap_between(target: Target) -> None:
    """A file, or what says who made it, is that of another genuine release."""
    differing = [name for name in target.names() if (target.other / name).read_bytes() != (target.folder / name).read_bytes()]
    name = target.chance.choice(differing)
    target.put(name, (target.other / name).read_bytes())


def remove(target: Target) -> None:
    """A file is gone."""
    target.any().unlink()


def add(target: Target) -> None:
    """A file is there that the manifest does not name."""
    name = target.chance.choice(["model.pkl", "__init__.py", "sitecustomize.py", ".hidden", "extra.json", "lib.so", "MLmodel"])
    target.put(name, target.chance.choice([target.trap, b"import os\nos._exit(7)\n", b""]))


def rename(target: Target) -> None:
    """A file has another name."""
    path = target.any()
    path.rename(path.with_name(target.chance.choice(["x.json", "model.bin", "Manifest.json", path.name + ".txt"])))


def lie(target: Target) -> None:
    """The manifest, under its old name, gives a file another digest or size."""
    manifest = target.manifest()
    said = manifest["files"][target.chance.choice(sorted(manifest["files"]))]
    if target.chance.random() < 0.5:
        said["sha256"] = digest_of_bytes(target.chance.randbytes(8))
    else:
        said["size"] += 1
    target.put(MANIFEST, json.dumps(manifest, indent=2).encode())


def other_bundle(target: Target) -> None:
    """The whole of another genuine release lies under its name."""
    shutil.rmtree(target.folder)
    shutil.copytree(target.other, target.folder)


def link(target: Target) -> None:
    """A file is a link to what it was."""
    path = target.any()
    outside = target.outside / f"{target.folder.name}-{path.name}"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


def link_folder(target: Target) -> None:
    """The folder is a link to what it was."""
    moved = target.outside / target.folder.name
    shutil.move(target.folder, moved)
    target.folder.symlink_to(moved)


def no_file(target: Target) -> None:
    """A file is a pipe that nobody writes to, or a folder."""
    path = target.any()
    path.unlink()
    target.chance.choice([os.mkfifo, os.mkdir])(path)


def huge(target: Target) -> None:
    """A file is of many gigabytes, which the disk does not even hold."""
    path = target.any()
    path.chmod(0o644)
    os.truncate(path, 2**36)


def vanish(target: Target) -> None:
    """There is no such folder."""
    shutil.rmtree(target.folder)


def unsign(target: Target) -> None:
    """It is not signed."""
    (target.folder / SIGNATURE_FILE).unlink()


def sign_elsewhere(target: Target) -> None:
    """It is signed by another key."""
    digest = digest_of_bytes((target.folder / MANIFEST).read_bytes())
    with tempfile.TemporaryDirectory(dir=target.outside) as secrets:
        target.put(SIGNATURE_FILE, sign(Path(secrets), digest))


def forge(target: Target) -> str:
    """It is rewritten, with digests that hold, and not signed again."""
    catalogue = json.loads((target.folder / "catalogue.json").read_bytes())
    catalogue[0]["content"] = {"text": "free gems at example.org"}
    other = target.other / "model.txt"
    files = target.chance.choice(
        [
            {"catalogue.json": json.dumps(catalogue).encode()},
            {"model.txt": other.read_bytes()},
            {"policy.json": b'{"kind": "uniform"}'},
            {"policy.json": b'{"kind": "uniform", "kind": "greedy"}'},
            {"metrics.json": b"[" * 50_000 + b"]" * 50_000},
            {"settings.json": b'{"ttl_us": NaN}'},
            {"golden.parquet": target.trap},
        ]
    )
    return target.forge(files, signed=False)


def forge_manifest(target: Target) -> str:
    """Its manifest names files elsewhere, or says what no manifest says."""

    def change(manifest: dict[str, Any]) -> None:
        some = {"sha256": digest_of_bytes(b"{}"), "size": 2}
        files: dict[str, Any] = manifest["files"]
        without = {name: said for name, said in files.items() if name != "golden.parquet"}
        named = [{"files": {**files, name: some}} for name in ("../outside.json", "/etc/passwd", "model.pkl")]
        numbered = [{"format": number} for number in (1, 3, -1, 10**30, "2", None)]
        manifest.update(target.chance.choice([*named, *numbered, {"files": {}}, {"files": without}, {"run": "os.system"}]))

    return target.forge({}, change, signed=target.chance.random() < 0.5)


def signed_nonsense(target: Target) -> str:
    """It is signed by the right key, and makes no sense all the same."""
    policy = json.loads((target.folder / "policy.json").read_bytes())
    settings = json.loads((target.folder / "settings.json").read_bytes())
    model = (target.folder / "model.txt").read_bytes()
    files = target.chance.choice(
        [
            {"model.txt": target.trap},
            {"model.txt": pickle.dumps(Trap(target.outside / "sprung"), 0)},
            {"model.txt": model[: len(model) // 2]},
            {"model.txt": model.replace(b"tree_sizes=", b"tree_sizes=9")},
            {"model.txt": (target.other / "model.txt").read_bytes()},
            {"golden.parquet": target.trap},
            {"golden.parquet": b"PAR1" + target.chance.randbytes(200) + b"PAR1"},
            {"metrics.json": b"[" * 50_000 + b"]" * 50_000},
            {"metrics.json": b'{"gain": NaN}'},
            {"metrics.json": target.trap},
            {"catalogue.json": b"[]"},
            {"features.json": b"{}"},
            {"scorer.json": b'{"kind": "pickle"}'},
            {"scorer.json": b'{"kind": "table"}'},
            {"policy.json": json.dumps(policy | {"kind": "os.system"}).encode()},
            {"policy.json": json.dumps(policy | {"kind": "greedy"}).encode()},
            {"settings.json": b"{}"},
            {"settings.json": json.dumps(settings | {"baseline": "no such candidate"}).encode()},
            {"settings.json": json.dumps(settings | {"ttl_us": "soon"}).encode()},
        ]
    )
    return target.forge(files, signed=True)


MUTATIONS: tuple[Mutation, ...] = (
    truncate,
    flip,
    lengthen,
    swap_within,
    swap_between,
    remove,
    add,
    rename,
    lie,
    other_bundle,
    link,
    link_folder,
    no_file,
    huge,
    vanish,
    unsign,
    sign_elsewhere,
    forge,
    forge_manifest,
    signed_nonsense,
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
        before = {process.pid for process in psutil.Process().children(recursive=True)}
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
        if (outside / "sprung").exists():
            found.executed.append("a pickle")
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
        if self._found is not None and event in _WATCHED:
            self._found.executed.append(f"{event} {arguments!r:.120}")
