import re
import tomllib
from pathlib import Path

import msgspec

from contracts.settings import Settings


def test_the_file_as_shipped_changes_nothing(repository: Path) -> None:
    assert Settings.build((repository / "offerloop.toml").read_text()) == Settings()


def test_its_commented_lines_are_all_settings_with_their_defaults(repository: Path) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", (repository / "offerloop.toml").read_text(), flags=re.MULTILINE)
    written = tomllib.loads(text)
    assert written.pop("attribute_sources") == {"profiles": "profiles.sqlite"}
    defaults = msgspec.to_builtins(Settings())
    defaults.pop("attribute_sources")
    assert written == defaults | {"use_cases": list(Settings().use_cases)}
