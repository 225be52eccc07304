import io
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalogue import Catalogue
from contracts.digests import digest_of_bytes
from contracts.errors import BundleRefused, InvalidInput, NeedsOtherCode
from releases.bundle import Bundle, BundleParts, read_bundle, sign_again, write_bundle
from releases.signing import check_signature

TREE = b"tree\nversion=v4\nnum_class=1\n\nend of trees\n"


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


def written_to(bundles: Path, parts: BundleParts) -> str:
    return write_bundle(bundles, parts, bundles.parent / "secrets")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, parts: BundleParts) -> Bundle:
    bundles = tmp_path_factory.mktemp("release") / "bundles"
    return read_bundle(bundles, written_to(bundles, replace(parts, scorer_kind="lightgbm", scorer_files={"model.txt": TREE})))


def copy_of(bundle: Bundle, folder: Path) -> Path:
    target = folder / bundle.release_id
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(bundle.path, target)
    for file in target.iterdir():
        file.chmod(0o644)
    return target


def secrets_of(bundle: Bundle) -> Path:
    return bundle.path.parent.parent / "secrets"


def forged(folder: Path, change: Callable[[dict[str, Any]], None], files: Mapping[str, bytes] | None = None) -> str:
    """Change a bundle and name it by its new digest, as someone would who can compute one."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
        manifest["files"][name] = {"sha256": digest_of_bytes(content), "size": len(content)}
    change(manifest)
    text = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(text)
    release_id = f"r-{digest_of_bytes(text)[:16]}"
    folder.rename(folder.parent / release_id)
    return release_id


def test_what_was_written_is_read_back(bundles: Path, parts: BundleParts) -> None:
    release_id = written_to(bundles, parts)
    bundle = read_bundle(bundles, release_id)
    assert release_id == f"r-{bundle.digest[:16]}"
    assert bundle.path == bundles / release_id
    assert replace(bundle.parts, golden=parts.golden) == parts
    assert bundle.parts.golden.equals(parts.golden)
    assert bundle.parts.catalogue.digest == parts.catalogue.digest
    assert bundle.parts.catalogue.columns == ("style", "price")


def test_the_same_parts_give_the_same_release_once(bundles: Path, parts: BundleParts) -> None:
    release_id = written_to(bundles, parts)
    before = (bundles / release_id / "manifest.json").stat().st_mtime_ns
    assert written_to(bundles, parts) == release_id
    assert (bundles / release_id / "manifest.json").stat().st_mtime_ns == before
    assert written_to(bundles.parent / "elsewhere", parts) == release_id
    assert os.listdir(bundles) == [release_id]


@pytest.mark.parametrize(
    "change",
    [
        {"use_case": "other"},
        {"policy": {"kind": "uniform", "epsilon": 0.0}},
        {"engine": {"polars": "2.2"}},
        {"scorer_files": {"table.json": b"{}"}},
        {"data": {"decisions": "cd" * 32}},
    ],
)
def test_any_difference_gives_another_release(bundles: Path, parts: BundleParts, change: dict[str, Any]) -> None:
    assert written_to(bundles, replace(parts, **change)) != written_to(bundles, parts)


def test_the_order_of_keys_is_kept(bundles: Path, parts: BundleParts) -> None:
    bundle = read_bundle(bundles, written_to(bundles, replace(parts, features={"z": 1, "a": 2})))
    assert list(bundle.parts.features) == ["z", "a"]


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"gain": float("nan")}},
        {"settings": {"when": object()}},
        {"data": {"name": "\ud800"}},
        {"scorer_kind": "pickle"},
        {"scorer_files": {"model.txt": TREE}},
        {"scorer_files": {"table.json": b"{}", "../x": b""}},
    ],
)
def test_parts_that_cannot_be_a_bundle_are_refused(bundles: Path, parts: BundleParts, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        written_to(bundles, replace(parts, **change))
    assert not bundles.exists()


@pytest.mark.parametrize(
    "release_id", ["", ".", "..", "r-", "r-0123456789ABCDEF", "r-0123456789abcdef\n", "../r-0123456789abcdef", "r-٠" * 16]
)
def test_only_names_of_releases_are_opened(bundles: Path, release_id: str) -> None:
    with pytest.raises(BundleRefused, match="is not the name of a release"):
        read_bundle(bundles, release_id)


@given(st.text() | st.sampled_from(["..", "/", "%2e%2e/", "\0", "r-"]).flatmap(lambda start: st.text().map(lambda end: start + end)))
def test_no_text_leads_out_of_the_folder(tmp_path_factory: pytest.TempPathFactory, release_id: str) -> None:
    with pytest.raises(BundleRefused):
        read_bundle(tmp_path_factory.getbasetemp(), release_id)


def test_a_bundle_that_is_not_there_is_refused(bundles: Path) -> None:
    with pytest.raises(BundleRefused, match="no such folder"):
        read_bundle(bundles, "r-0123456789abcdef")


def test_every_flipped_bit_is_found(written: Bundle, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    generator = random.Random(seed)
    folder = copy_of(written, tmp_path)
    names = sorted(os.listdir(folder))
    for _ in range(120):
        file = folder / generator.choice(names)
        content = file.read_bytes()
        changed = bytearray(content)
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
        file.write_bytes(changed)
        with pytest.raises(BundleRefused):
            read_bundle(tmp_path, written.release_id, secrets_of(written))
        file.write_bytes(content)
    assert read_bundle(tmp_path, written.release_id, secrets_of(written)).digest == written.digest


def test_every_truncation_is_found(written: Bundle, tmp_path: Path) -> None:
    folder = copy_of(written, tmp_path)
    for file in folder.iterdir():
        content = file.read_bytes()
        for length in {0, 1, len(content) // 2, len(content) - 1} - {len(content)}:
            file.write_bytes(content[:length])
            with pytest.raises(BundleRefused):
                read_bundle(tmp_path, written.release_id, secrets_of(written))
        file.write_bytes(content + b"\n")
        with pytest.raises(BundleRefused):
            read_bundle(tmp_path, written.release_id, secrets_of(written))
        file.write_bytes(content)


def test_swapped_missing_and_extra_files_are_found(written: Bundle, tmp_path: Path) -> None:
    names = sorted(os.listdir(written.path))
    for one in names:
        for other in names:
            if one < other and (written.path / one).read_bytes() != (written.path / other).read_bytes():
                folder = copy_of(written, tmp_path)
                content = (folder / one).read_bytes()
                (folder / one).write_bytes((folder / other).read_bytes())
                (folder / other).write_bytes(content)
                with pytest.raises(BundleRefused):
                    read_bundle(tmp_path, written.release_id, secrets_of(written))
        folder = copy_of(written, tmp_path)
        (folder / one).unlink()
        with pytest.raises(BundleRefused):
            read_bundle(tmp_path, written.release_id, secrets_of(written))
    for extra in ("model.pkl", ".hidden", "__init__.py", "notes.txt"):
        folder = copy_of(written, tmp_path)
        (folder / extra).write_bytes(b"")
        with pytest.raises(BundleRefused, match="are not those of the manifest"):
            read_bundle(tmp_path, written.release_id, secrets_of(written))


def test_links_pipes_and_folders_are_not_followed(written: Bundle, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for name in sorted(os.listdir(written.path)):
        folder = copy_of(written, tmp_path)
        outside.write_bytes((folder / name).read_bytes())
        (folder / name).unlink()
        for plant, remove in ((lambda path: path.symlink_to(outside), os.unlink), (os.mkfifo, os.unlink), (os.mkdir, os.rmdir)):
            plant(folder / name)
            with pytest.raises(BundleRefused):
                read_bundle(tmp_path, written.release_id, secrets_of(written))
            remove(folder / name)
    shutil.rmtree(folder)
    folder.symlink_to(written.path)
    with pytest.raises(BundleRefused, match="no such folder"):
        read_bundle(tmp_path, written.release_id, secrets_of(written))


def test_a_bundle_under_another_name_is_refused(written: Bundle, tmp_path: Path) -> None:
    copy_of(written, tmp_path).rename(tmp_path / "r-0123456789abcdef")
    with pytest.raises(BundleRefused, match="its manifest has the digest"):
        read_bundle(tmp_path, "r-0123456789abcdef")


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def test_planted_pickles_are_refused_and_never_run(written: Bundle, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    pickles = [pickle.dumps(Trap(sprung), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for content in pickles:
        for name in sorted(set(os.listdir(written.path)) - {"manifest.json", "signature.json", "model.txt"}):
            release_id = forged(copy_of(written, tmp_path), lambda manifest: None, {name: content})
            with pytest.raises(BundleRefused):
                read_bundle(tmp_path, release_id)
    # why: a pickle of protocol 0 is text, as a model is; building the scorer refuses it, and nothing unpickles it
    for content in pickles[1:]:
        release_id = forged(copy_of(written, tmp_path), lambda manifest: None, {"model.txt": content})
        with pytest.raises(BundleRefused):
            read_bundle(tmp_path, release_id)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"model.pkl": b"x"}, "names a file"),
        ({"extra.json": b"{}"}, "makes no sense"),
        ({"catalogue.json": b"[]"}, "makes no sense"),
        ({"catalogue.json": b'[{"candidate_id": "a", "attributes": {}, "code": "x"}]'}, "makes no sense"),
        ({"scorer.json": b'{"kind": "table"}'}, "makes no sense"),
        ({"scorer.json": b'{"kind": "lightgbm", "module": "os"}'}, "makes no sense"),
        ({"model.txt": b"tree\0"}, "makes no sense"),
        ({"model.txt": b"\xff"}, "makes no sense"),
        ({"policy.json": b'{"epsilon": NaN}'}, "makes no sense"),
        ({"golden.parquet": b"PAR1"}, "makes no sense"),
        ({"metrics.json": b"[" * 100_000}, "makes no sense"),
    ],
)
def test_a_true_digest_over_nonsense_does_not_help(written: Bundle, tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    release_id = forged(copy_of(written, tmp_path), lambda manifest: None, files)
    with pytest.raises(BundleRefused, match=reason):
        read_bundle(tmp_path, release_id)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "a/b.json", "", ".json", "x.so", "model.txt\0", "a" * 5_000 + ".json"])
def test_a_manifest_opens_nothing_elsewhere(written: Bundle, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.json").write_bytes(b"{}")

    def plant(manifest: dict[str, Any]) -> None:
        manifest["files"][name] = {"sha256": digest_of_bytes(b"{}"), "size": 2}

    with pytest.raises(BundleRefused):
        read_bundle(tmp_path, forged(copy_of(written, tmp_path), plant))


@pytest.mark.parametrize("change", [{"format": 3}, {"format": "1"}, {"created_at": 1}, {"files": []}, {"engine": {"a": 1}}])
def test_a_manifest_of_another_form_is_refused(written: Bundle, tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(BundleRefused):
        read_bundle(tmp_path, forged(copy_of(written, tmp_path), lambda manifest: manifest.update(change)))


def other_code(manifest: dict[str, Any]) -> None:
    manifest["format"] = 1
    manifest["more"] = True


@pytest.mark.parametrize(
    ("code", "revision", "image"),
    [
        (b'{"revision": "abc", "image": "shop:7", "lock": "x"}', "abc", "shop:7"),
        (b'{"revision": "abc"}', "abc", ""),
        (b'{"revision": 7, "image": "a\\nb"}', "", ""),
        (b'["abc"]', "", ""),
        (b"\xff", "", ""),
        (b"[" * 100_000, "", ""),
        (b'{"revision": "' + b"a" * 2**20 + b'"}', "", ""),
    ],
)
def test_a_bundle_of_another_format_names_the_code_that_made_it(
    written: Bundle, tmp_path: Path, code: bytes, revision: str, image: str
) -> None:
    release_id = forged(copy_of(written, tmp_path), other_code, {"code.json": code})
    with pytest.raises(NeedsOtherCode, match="format 1, and this code runs 2") as refused:
        read_bundle(tmp_path, release_id)
    assert (refused.value.revision, refused.value.image) == (revision, image)


def test_of_another_format_only_code_that_its_manifest_vouches_for_is_named(written: Bundle, tmp_path: Path) -> None:
    release_id = forged(copy_of(written, tmp_path), other_code, {"code.json": b'{"image": "shop:7"}'})
    (tmp_path / release_id / "code.json").write_bytes(b'{"image": "evil:7"}')
    with pytest.raises(NeedsOtherCode) as refused:
        read_bundle(tmp_path, release_id)
    assert refused.value.image == ""


def test_a_scorer_of_an_unknown_kind_needs_other_code(written: Bundle, tmp_path: Path) -> None:
    files = {"scorer.json": b'{"kind": "onnx"}', "code.json": b'{"revision": "abc", "image": "shop:8"}'}
    release_id = forged(copy_of(written, tmp_path), lambda manifest: None, files)
    with pytest.raises(NeedsOtherCode, match="of kind 'onnx'.*Redeploy the image `shop:8`"):
        read_bundle(tmp_path, release_id)


def test_a_bundle_is_signed_by_the_key_of_the_installation(bundles: Path, parts: BundleParts) -> None:
    release_id = written_to(bundles, parts)
    secrets = bundles.parent / "secrets"
    check_signature(secrets, read_bundle(bundles, release_id))
    assert read_bundle(bundles, release_id, secrets).release_id == release_id
    with pytest.raises(BundleRefused, match="it is signed by"):
        read_bundle(bundles, release_id, bundles.parent / "other")


def test_an_unsigned_bundle_is_refused_where_signatures_are_asked_for(bundles: Path, parts: BundleParts) -> None:
    release_id = written_to(bundles, parts)
    (bundles / release_id / "signature.json").unlink()
    assert read_bundle(bundles, release_id).signature == b""
    with pytest.raises(BundleRefused, match="it is not signed"):
        read_bundle(bundles, release_id, bundles.parent / "secrets")


def test_writing_again_signs_again_where_the_key_is_trusted_no_more(bundles: Path, parts: BundleParts) -> None:
    release_id = written_to(bundles, parts)
    shutil.rmtree(bundles.parent / "secrets")
    assert written_to(bundles, parts) == release_id
    check_signature(bundles.parent / "secrets", read_bundle(bundles, release_id))


def test_only_what_is_known_by_its_digest_is_signed_again(bundles: Path, parts: BundleParts) -> None:
    release_id = written_to(bundles, parts)
    digest, secrets = read_bundle(bundles, release_id).digest, bundles.parent / "new"
    with pytest.raises(BundleRefused, match="it is known by"):
        sign_again(bundles, release_id, "ab" * 32, secrets)
    assert sign_again(bundles, release_id, digest, secrets).digest == digest
    check_signature(secrets, read_bundle(bundles, release_id))
    assert os.listdir(bundles) == [release_id]
    before = (bundles / release_id / "signature.json").stat().st_ino
    sign_again(bundles, release_id, digest, secrets)
    assert (bundles / release_id / "signature.json").stat().st_ino == before


def test_golden_decisions_that_would_fill_the_memory_are_not_unpacked(written: Bundle, tmp_path: Path) -> None:
    content = io.BytesIO()
    many = [[0.0] * 1_000] * 10_000
    pl.DataFrame({"features": many}, schema={"features": pl.List(pl.Float64)}).write_parquet(content, use_pyarrow=False, compression="zstd")
    release_id = forged(copy_of(written, tmp_path), lambda manifest: None, {"golden.parquet": content.getvalue()})
    with pytest.raises(BundleRefused, match="at most 67108864 bytes"):
        read_bundle(tmp_path, release_id)


def test_a_file_that_is_too_large_is_not_read(written: Bundle, tmp_path: Path) -> None:
    folder = copy_of(written, tmp_path)
    for name in ("manifest.json", "signature.json", "policy.json"):
        content = (folder / name).read_bytes()
        os.truncate(folder / name, 2**33)
        with pytest.raises(BundleRefused, match="or larger than"):
            read_bundle(tmp_path, written.release_id)
        (folder / name).write_bytes(content)


def test_a_draft_left_by_a_crash_is_no_release(bundles: Path, parts: BundleParts) -> None:
    (bundles / ".draft-0011223344556677").mkdir(parents=True)
    release_id = written_to(bundles, parts)
    assert read_bundle(bundles, release_id).parts.use_case == "shop"


def test_golden_decisions_that_only_look_like_parquet_are_refused(written: Bundle, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    generator = random.Random(seed)
    content = (written.path / "golden.parquet").read_bytes()
    refused = 0
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
        folder = copy_of(written, tmp_path)
        release_id = forged(folder, lambda manifest: None, {"golden.parquet": bytes(changed)})
        try:
            read_bundle(tmp_path, release_id)
        except BundleRefused:
            refused += 1
        shutil.rmtree(tmp_path / release_id)
    assert refused > 50


def test_a_damaged_bundle_is_not_taken_for_written(bundles: Path, parts: BundleParts) -> None:
    path = bundles / written_to(bundles, parts) / "policy.json"
    path.chmod(0o644)
    path.write_bytes(b"{}")
    with pytest.raises(BundleRefused, match=r"policy\.json has 2 bytes"):
        written_to(bundles, parts)


def row(**change: Any) -> dict[str, list[Any]]:
    plain: dict[str, Any] = {"features": [1.0], "candidate_ids": ["none", "gold"], "scores": [0.0, 1.0], "p_in_arm": [0.5, 0.5]}
    return {name: [value] for name, value in (plain | change).items()}


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (row(candidate_ids=["none", "silver"]), "candidate_ids"),
        (row(candidate_ids=["gold", "none"]), "candidate_ids"),
        (row(candidate_ids=["none", "none"]), "candidate_ids"),
        (row(candidate_ids=[], scores=[], p_in_arm=[]), "candidate_ids"),
        (row(scores=[0.0]), "different length"),
        (row(scores=[0.0, None]), "different length"),
        (row(p_in_arm=[0.5, 0.6]), "sums to"),
        (row(p_in_arm=[-0.5, 1.5]), "sums to"),
        (row(p_in_arm=[0.5, float("nan")]), "sums to"),
        (row(features=None), "empty cell"),
        ({name: [] for name in row()}, "no rows"),
        ({name: values for name, values in row().items() if name != "scores"}, "columns"),
    ],
)
def test_golden_decisions_that_cannot_be_are_refused(bundles: Path, parts: BundleParts, rows: dict[str, list[Any]], what: str) -> None:
    golden = pl.DataFrame(rows, schema={name: kind for name, kind in parts.golden.schema.items() if name in rows})
    with pytest.raises(InvalidInput, match=what):
        written_to(bundles, replace(parts, golden=golden))


def test_golden_rows_of_different_width_are_refused(bundles: Path, parts: BundleParts) -> None:
    golden = pl.concat([parts.golden, pl.DataFrame(row(), schema=parts.golden.schema)])
    with pytest.raises(InvalidInput, match="different length"):
        written_to(bundles, replace(parts, golden=golden))


def test_a_catalogue_keeps_its_identity(bundles: Path, parts: BundleParts) -> None:
    bundle = read_bundle(bundles, written_to(bundles, parts))
    assert isinstance(bundle.parts.catalogue, Catalogue)
    assert bundle.parts.catalogue == parts.catalogue
