"""The command line in this process, over an installation that does not run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.main import main
from contracts.settings import Settings
from services.bootstrap import start_releases
from services.credentials import make_credentials
from serving.service import DecisionService
from storage.layout import Layout

USE_CASE = "email_promotion"


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on the state folder of this test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFFERLOOP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("OFFERLOOP_USE_CASES", USE_CASE)

    def run_command(*words: str) -> Ran:
        capsys.readouterr()
        code = main(words)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run_command


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An installation with its first release and one decision, `d-1`; nothing of it runs."""
    settings = Settings(state=str(tmp_path / "state"), use_cases=(USE_CASE,))
    make_credentials(settings)
    start_releases(settings)
    with DecisionService(settings) as service:
        service.decide(USE_CASE, "e-1", decision_id="d-1")
    return Layout(settings.folder)
