"""What docs/sign-off.md tells people to write and to type does what it says."""

import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.settings import Settings
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.stages import register, to_shadow
from services.bootstrap import start_releases
from services.credentials import make_credentials
from serving.live import load_release
from serving.scenarios import play
from storage.layout import Layout
from tests.cli.conftest import Run
from training.train import start_parts
from use_cases.definition import CanaryStep, Rollout, UseCase, load, load_all

GAME = "game_promotion"
LONG_AGO = "2026-03-01T12:00Z"


@pytest.fixture
def guide(repository: Path) -> str:
    return (repository / "docs/sign-off.md").read_text()


@pytest.fixture
def written(guide: str) -> dict[str, Any]:
    """What the guide's lines of Python define."""
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    return found


@pytest.fixture
def careful(written: dict[str, Any]) -> UseCase:
    """The game as the guide writes it."""
    rollout = Rollout((CanaryStep(0.05), CanaryStep(0.25)))
    return replace(load(GAME), approvers=written["APPROVERS"], scenarios=written["SCENARIOS"], rollout=rollout)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, careful: UseCase, run: Run) -> Layout:
    """An installation of that game where ann sits."""
    monkeypatch.setattr("cli.here.pwd.getpwuid", lambda number: SimpleNamespace(pw_name="ann"))
    monkeypatch.setenv("OFFERLOOP_USE_CASES", GAME)
    monkeypatch.setattr(f"use_cases.{GAME}.USE_CASE", careful)
    settings = Settings(state=str(tmp_path / "state"), use_cases=(GAME,))
    make_credentials(settings)
    start_releases(settings)
    return Layout(settings.folder)


def in_shadow(layout: Layout, use_case: UseCase) -> str:
    """A release that waits to be looked at."""
    release_id = write_bundle(layout.bundles, start_parts(use_case, {"revision": "another"}), layout.secrets)
    ledger, act = Ledger(layout.ledger), Act("flow train", 0, "passed its gate")
    register(ledger, GAME, release_id, read_bundle(layout.bundles, release_id).digest, act)
    to_shadow(ledger, GAME, release_id, act)
    ledger.close()
    return release_id


def test_every_line_that_is_shown_runs(run: Run, layout: Layout, careful: UseCase, guide: str) -> None:
    release_id = in_shadow(layout, careful)
    lines = [line for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) for line in block.splitlines()]
    assert len(lines) == 12
    for line in lines:
        program, *words = (word.replace("RELEASE", release_id) for word in shlex.split(line))
        ran = run(*words)
        if LONG_AGO in words:
            # nothing served this young installation then
            assert ran.code == 2 and "release that served game_promotion at `2026-03-01 12:00:00 UTC` is not known" in ran.err
            continue
        assert program == "offerloop" and ran.code == 0 and ran.out, f"{line}: {ran.err}"
    assert "refused" in run("releases").out


def test_a_persona_that_is_shown_is_one(layout: Layout, careful: UseCase, guide: str) -> None:
    (release_id,) = [path.name for path in layout.bundles.iterdir()]
    lapsed, stranger = (play(load_release(layout, careful, release_id), careful, each, 1_800_000_000_000_000) for each in careful.scenarios)
    reasons = {one.candidate_id: one.reasons for one in lapsed.excluded}
    assert reasons["wardrobe:loyal"] == ("limit 1 of itself in 20 h is used up",)
    assert {known.name: known.text for known in lapsed.features}["spend_28d"] == "8,990,000"
    assert all(known.missing or known.name.startswith(("share_", "favourite")) for known in stranger.features)


def test_the_setting_that_is_shown_names_approvers(guide: str) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    settings = Settings.build(text, {})
    assert load_all((GAME,), settings.approvers)[GAME].approvers == ("ann", "carol")


def test_pages_that_the_guide_names_are_there(guide: str, repository: Path) -> None:
    for name in re.findall(r"\]\(([^)]+\.md)\)", guide):
        assert (repository / "docs" / name).is_file(), name
