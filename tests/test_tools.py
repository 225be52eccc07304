"""What `make check` does beside form, types and layers: it looks for secrets, and for advisories."""

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def advisories(repository: Path) -> Any:
    loader = SourceFileLoader("advisories", str(repository / "tools/advisories"))
    spec = importlib.util.spec_from_loader("advisories", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("version", "advisory", "code", "said"),
    [
        ("", {"id": "X-1", "fix_versions": ["99"]}, 1, "mended in 99"),
        ("", {"id": "X-1", "fix_versions": []}, 0, "not mended yet"),
        ("", {"id": "X-1", "aliases": ["CVE-2023-48022"], "fix_versions": ["99"]}, 0, "looked at"),
        ("0.0.1", {"id": "X-1", "fix_versions": ["99"]}, 0, "0 known"),
    ],
)
def test_what_could_be_mended_fails(
    advisories: Any, repository: Path, capsys: pytest.CaptureFixture[str], version: str, advisory: dict[str, Any], code: int, said: str
) -> None:
    lock = (repository / "requirements.lock").read_text()
    named = version or lock.partition("\nclick==")[2].split()[0]
    assert advisories._judge([{"name": "click", "version": named, "vulns": [advisory]}]) == code
    assert said in capsys.readouterr().out


def test_a_secret_that_is_about_to_be_committed_fails(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    for name in ("secrets", "secrets.json"):
        (tmp_path / "tools" / name).write_bytes((repository / "tools" / name).read_bytes())
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    look = [sys.executable, str(tmp_path / "tools/secrets")]
    (tmp_path / "fine.py").write_text("answer = 42\n")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    assert subprocess.run(look, capture_output=True, check=False).returncode == 0
    (tmp_path / "fine.py").write_text("key = 'AKIA" + "IOSFODNN7EXAMPLA'\n")
    found = subprocess.run(look, capture_output=True, text=True, check=False)
    assert found.returncode == 1 and "AWS Access Key" in found.stdout and "fine.py:1" in found.stdout
