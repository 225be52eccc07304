"""What looks at an installation after a kill finds what is wrong with it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.written import look, tell
from contracts.settings import Settings, Store
from storage.layout import Layout
from tests.serving.conftest import SHOP


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, Any]]]:
    """The state of a story that was told to its end, and what was acknowledged."""
    state = tmp_path_factory.mktemp("story") / "state"
    said: list[tuple[str, Any]] = []
    tell(settings_of(state), SHOP, lambda kind, content: said.append((kind, content)))
    return state, said


def settings_of(state: Path) -> Settings:
    return Settings(state=str(state), use_cases=("shop",), store=Store(map_size_bytes=2**24))


def test_nothing_is_wrong_after_a_whole_story_nor_after_it_was_told_again(
    whole: tuple[Path, list[tuple[str, Any]]], tmp_path: Path
) -> None:
    state, said = tmp_path / "state", list(whole[1])
    shutil.copytree(whole[0], state)
    assert look(settings_of(state), SHOP, said) == []
    tell(settings_of(state), SHOP, lambda kind, content: said.append((kind, content)))
    assert look(settings_of(state), SHOP, said) == []
    assert {kind for kind, _ in said} == {"plan", "event", "decision", "outcome", "tables", "key", "inbox", "end"}


def lose_the_journal(layout: Layout) -> None:
    shutil.rmtree(layout.journal)
    shutil.rmtree(layout.tables)


def lose_the_ledger(layout: Layout) -> None:
    for path in layout.root.glob("ledger.sqlite*"):
        path.unlink()


def lose_the_keys(layout: Layout) -> None:
    shutil.rmtree(layout.secrets)


def cut_the_manifest(layout: Layout) -> None:
    path = layout.tables / "manifest.json"
    path.write_bytes(path.read_bytes()[:-9])


def cut_a_table(layout: Layout) -> None:
    path = next(layout.tables.rglob("merged*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("harm", [lose_the_journal, lose_the_ledger, lose_the_keys, cut_the_manifest, cut_a_table])
def test_harm_is_found(whole: tuple[Path, list[tuple[str, Any]]], tmp_path: Path, harm: Callable[[Layout], None]) -> None:
    state = tmp_path / "state"
    shutil.copytree(whole[0], state)
    harm(Layout(state))
    try:
        found = look(settings_of(state), SHOP, whole[1])
    except Exception as error:  # noqa: BLE001  why: what cannot be read at all is found too, whatever says so
        found = [repr(error)]
    assert found
