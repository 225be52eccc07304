"""What docs/rollout.md tells people to write and to type does what it says."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from contracts.metrics import METRICS
from contracts.settings import Settings
from decisions.canary import CONFIDENCE
from decisions.sequential import share_bounds
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.stages import register, to_shadow
from services.bootstrap import start_releases
from services.credentials import make_credentials
from storage.layout import Layout
from tests.cli.conftest import Run
from training.train import start_parts
from use_cases.definition import Rollout, load

GAME = "game_promotion"


@pytest.fixture
def guide(repository: Path) -> str:
    return (repository / "docs/rollout.md").read_text()


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> list[str]:
    """An installation of the game with a release in the shadow, and one that is a candidate."""
    monkeypatch.setenv("OFFERLOOP_USE_CASES", GAME)
    settings = Settings(state=str(tmp_path / "state"), use_cases=(GAME,))
    make_credentials(settings)
    start_releases(settings)
    layout, act = Layout(settings.folder), Act("test", 10**15, "passed its gate")
    parts = [start_parts(load(GAME), {"revision": name}) for name in ("one", "two")]
    ids = [write_bundle(layout.bundles, one, layout.secrets) for one in parts]
    ledger = Ledger(layout.ledger)
    for release_id in ids:
        register(ledger, GAME, release_id, read_bundle(layout.bundles, release_id).digest, act)
    to_shadow(ledger, GAME, ids[0], act)
    ledger.close()
    return ids


def test_every_line_that_is_shown_runs(run: Run, releases: list[str], guide: str) -> None:
    lines = [line for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) for line in block.splitlines()]
    assert len(lines) >= 10
    shown, bad = releases
    for line in lines:
        program, *words = shlex.split(line.replace("RELEASE", bad if " reject " in line else shown))
        ran = run(*words)
        assert program == "offerloop" and ran.code == 0, f"{line}: {ran.err}"
        assert ran.out, line
    did = run("ledger", GAME, "--json").out
    assert [f'"{step}"' in did for step in ("canary", "champion", "refused", "rollback")] == [True] * 4


def test_the_roll_out_that_is_written_is_one(guide: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    rollout = found["ROLLOUT"]
    assert isinstance(rollout, Rollout)
    assert [rollout.after(share) for share in (0.0, 0.01, 0.05, 0.25)] == [0.01, 0.05, 0.25, None]
    for name in re.findall(r"\| `(\w+)`\s*\|", guide):
        assert hasattr(rollout, name), name


def test_the_numbers_are_those_of_the_limits(guide: str) -> None:
    assert "by 4 failures among\n50 decisions, or 10 among 490" in guide and "some 700 decisions" in guide
    lows = [share_bounds(count, total, CONFIDENCE).low for count, total in ((4, 50), (3, 50), (10, 490), (10, 520))]
    assert [low > 0.005 for low in lows] == [True, False, True, False]
    assert [share_bounds(0, total, CONFIDENCE).high < 0.01 for total in (600, 700)] == [False, True]


def test_pages_and_metrics_that_it_names_are_there(guide: str, repository: Path) -> None:
    for name in re.findall(r"\]\(([^)]+\.md)\)", guide):
        assert (repository / "docs" / name).is_file(), name
    assert {"offerloop_canary_step", "offerloop_sign_off_waiting"} <= {metric.name for metric in METRICS}
    ends = re.findall(r"`(_\w+)`", guide)
    assert len(ends) == 3 and {f"offerloop_canary{end}" for end in ends} <= {metric.name for metric in METRICS}
