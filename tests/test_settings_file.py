import re
import tomllib
from pathlib import Path

import msgspec

from contracts.settings import Settings
from use_cases.definition import load_all


def test_the_file_as_shipped_changes_nothing(repository: Path) -> None:
    assert Settings.build((repository / "offerloop.toml").read_text()) == Settings()


def test_its_commented_lines_are_all_settings_with_their_defaults(repository: Path) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", (repository / "offerloop.toml").read_text(), flags=re.MULTILINE)
    written = tomllib.loads(text)
    for name, named in written.pop("attribute_sources").items():
        assert named.startswith("postgresql://") or named.endswith(".sqlite")
        assert any(source.name == name for use_case in load_all(Settings().use_cases).values() for source in use_case.attribute_sources)
    assert set(written.pop("approvers")) <= set(Settings().use_cases)
    defaults = msgspec.to_builtins(Settings())
    for shown in ("attribute_sources", "approvers"):
        defaults.pop(shown)
    assert written == defaults | {"use_cases": list(Settings().use_cases)}
