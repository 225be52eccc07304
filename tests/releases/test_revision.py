import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.digests import digest_of_bytes
from releases import revision
from releases.revision import code_revision


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(revision, "_ROOT", tmp_path)
    revision._here.cache_clear()
    return tmp_path


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    revision._here.cache_clear()


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    return subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkout_says_its_revision_and_its_lock(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text("polars==2.1")
    git(checkout, "init", "--quiet")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "Begin")
    known = code_revision()
    assert known == {"revision": git(checkout, "rev-parse", "HEAD"), "lock": digest_of_bytes(b"polars==2.1")}
    (checkout / "requirements.lock").write_text("polars==2.2")
    assert code_revision() == known
    revision._here.cache_clear()
    assert code_revision()["revision"] == f"{known['revision']}-dirty"


def test_an_image_is_noted_where_there_is_one(checkout: Path) -> None:
    assert code_revision("shop:7") == code_revision() | {"image": "shop:7"}
    assert "image" not in code_revision()


def test_without_git_the_version_stands_in(checkout: Path) -> None:
    assert code_revision()["revision"].startswith(("offerloop ", "unknown"))
    (checkout / ".git").mkdir()
    revision._here.cache_clear()
    assert code_revision()["revision"].startswith(("offerloop ", "unknown"))
