"""An installation with decisions in it, of which nothing runs, as flows see it from inside."""

from pathlib import Path

import pytest

from contracts.settings import ClockSettings, Settings, Store
from flows.place import Place, open_place
from services.bootstrap import start_releases
from services.credentials import make_credentials

USE_CASE = "email_promotion"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An installation with its first release."""
    settings = Settings(
        state=str(tmp_path / "state"),
        use_cases=(USE_CASE,),
        clock=ClockSettings(scale=1_000_000),
        store=Store(map_size_bytes=2**26),
        attribute_sources={"customer": str(tmp_path / "customers.sqlite")},
    )
    make_credentials(settings)
    start_releases(settings)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "offerloop.toml").write_text(
        f"""\
state = "{settings.state}"
use_cases = ["{USE_CASE}"]
[clock]
scale = 1000000
[store]
map_size_bytes = {2**26}
[attribute_sources]
customer = "{tmp_path / "customers.sqlite"}"
"""
    )
    found = open_place()
    assert found.settings == settings
    return found
