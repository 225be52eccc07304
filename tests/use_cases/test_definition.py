"""Use cases are found by name, and a wrong one is told what is wrong."""

import sys
from pathlib import Path

import pytest

from contracts.errors import DefinitionError, NotFound
from contracts.events import FieldType
from use_cases.definition import UseCase, load, load_all
from use_cases.game_promotion import USE_CASE


def test_use_cases_are_loaded_by_the_name_of_their_folder() -> None:
    assert load("game_promotion") is USE_CASE
    assert list(load_all(("game_promotion", "email_promotion"))) == ["game_promotion", "email_promotion"]


@pytest.mark.parametrize("name", ["nothing_like_it", "../game_promotion", "", "os.path"])
def test_an_unknown_name_is_not_found(name: str) -> None:
    with pytest.raises(NotFound):
        load(name)


def test_a_folder_without_a_use_case_of_its_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match="USE_CASE"):
        load("definition")


def test_a_fault_inside_a_use_case_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import use_cases

    (tmp_path / "broken_case.py").write_text("import there_is_no_such_module\n")
    monkeypatch.setattr(use_cases, "__path__", [*use_cases.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        load("broken_case")
    sys.modules.pop("use_cases.broken_case", None)


def test_the_baseline_must_be_a_candidate() -> None:
    with pytest.raises(DefinitionError, match="gold"):
        UseCase(
            name="shop",
            title="",
            event_types=(),
            feature_set=USE_CASE.feature_set,
            catalogue=USE_CASE.catalogue,
            start_policy=USE_CASE.start_policy,
            learned_policy=USE_CASE.learned_policy,
            outcome_window_us=1,
            ttl_us=1,
            baseline="gold",
        )


def test_the_schema_has_all_fields_and_those_of_decisions() -> None:
    columns = USE_CASE.schema.columns
    assert columns["amount_micros"] is FieldType.INT
    assert columns["candidate_id"] is FieldType.STR
    assert list(columns) == sorted(columns)
