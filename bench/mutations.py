"""Ways to tamper with a bundle: each spoils a genuine one where it lies.

Some damage it; some forge it, with digests that hold, as someone would who can write everywhere but has no key; some are even signed.
"""

import json
import os
import pickle
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from contracts.digests import digest_of_bytes
from releases.signing import SIGNATURE_FILE, sign

MANIFEST = "manifest.json"


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
        one = {"files": {"code.json": files["code.json"]}}
        manifest.update(target.chance.choice([*named, *numbered, one, {"files": without}, {"run": "os.system"}]))

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
