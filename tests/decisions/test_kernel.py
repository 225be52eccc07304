import os
from pathlib import Path

import pytest

from contracts.errors import NotCompiled
from decisions.kernel import find_compiler, load_kernel

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler here")


def library(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_it_is_built_once_and_only_its_owner_can_write_it(tmp_path: Path) -> None:
    folder = tmp_path / "compiled"
    load_kernel(folder)
    first = library(folder).stat()

    load_kernel(folder)

    assert library(folder).stat().st_mtime_ns == first.st_mtime_ns
    assert (folder.stat().st_mode & 0o777, first.st_mode & 0o777) == (0o700, 0o700)


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotCompiled, match="no C compiler here"):
        load_kernel(tmp_path / "compiled")


def test_a_compiler_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no room on the device >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(NotCompiled, match="no room on the device"):
        load_kernel(tmp_path / "compiled")
    assert list((tmp_path / "compiled").iterdir()) == []


def test_a_folder_that_others_may_write_to_is_not_loaded_from(tmp_path: Path) -> None:
    load_kernel(tmp_path / "compiled")
    (tmp_path / "compiled").chmod(0o777)
    with pytest.raises(NotCompiled, match="not ours alone to write to"):
        load_kernel(tmp_path / "compiled")


def test_a_library_that_others_may_write_to_is_not_loaded(tmp_path: Path) -> None:
    load_kernel(tmp_path)
    library(tmp_path).chmod(0o766)
    with pytest.raises(NotCompiled, match="not ours alone to write to"):
        load_kernel(tmp_path)


def test_what_another_user_owns_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_kernel(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(NotCompiled, match="not ours alone to write to"):
        load_kernel(tmp_path)


def test_a_link_to_elsewhere_is_not_followed(tmp_path: Path) -> None:
    load_kernel(tmp_path / "compiled")
    name = library(tmp_path / "compiled")
    name.symlink_to(name.rename(tmp_path / "elsewhere.so"))
    with pytest.raises(NotCompiled, match="not ours alone to write to"):
        load_kernel(tmp_path / "compiled")


def test_a_link_instead_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(0o700)
    (tmp_path / "compiled").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotCompiled, match="not ours alone to write to"):
        load_kernel(tmp_path / "compiled")


@pytest.mark.parametrize("kept", [0, 1_000])
def test_what_a_crash_left_half_written_is_built_anew(tmp_path: Path, kept: int) -> None:
    load_kernel(tmp_path / "first")
    whole = library(tmp_path / "first")
    half = tmp_path / "second" / whole.name
    half.parent.mkdir(0o700)
    half.write_bytes(whole.read_bytes()[:kept])
    half.chmod(0o700)
    load_kernel(half.parent)
    assert library(half.parent).stat().st_size == whole.stat().st_size


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotCompiled, match="cannot be kept or loaded"):
        load_kernel(tmp_path / "file" / "compiled")
