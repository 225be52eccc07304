"""Copies of use cases that a test may change."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import use_cases
from use_cases.definition import UseCase, load

Copy = Callable[[str], Path]

COPY = "shop_copy"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Iterator[Copy]:
    """Copies a use case to one called `shop_copy`, and gives its features.py."""

    def make(name: str) -> Path:
        folder = tmp_path / COPY
        shutil.copytree(repository / "use_cases" / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for file in folder.glob("*.py"):
            file.write_text(file.read_text().replace(name, COPY))
        return folder / "features.py"

    monkeypatch.setattr(use_cases, "__path__", [*use_cases.__path__, str(tmp_path)])
    # why: a file that changes twice within a second may look unchanged to Python's cache
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield make
    _forget()


def load_copy() -> UseCase:
    """The copy as its files are now."""
    _forget()
    return load(COPY)


def _forget() -> None:
    for name in [name for name in sys.modules if name.startswith(f"use_cases.{COPY}")]:
        del sys.modules[name]
