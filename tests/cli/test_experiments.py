"""`offerloop experiments` and `offerloop plan`, over an installation that does not run."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from contracts.clock import DAY_US
from contracts.settings import Settings
from releases.ledger import Ledger
from services.credentials import make_credentials
from storage.installation import open_installation
from storage.layout import Layout
from storage.tables import Tables
from tests.cli.conftest import USE_CASE, Run
from tests.experiment_log import fill, releases
from training.experiment import Sources
from use_cases.definition import load


@pytest.fixture
def compared(tmp_path: Path) -> list[str]:
    """A comparison of ten days that is matured by now; the releases: champion, challenger, shadow."""
    settings = Settings(state=str(tmp_path / "state"), use_cases=(USE_CASE,))
    make_credentials(settings)
    layout, use_case = Layout(settings.folder), load(USE_CASE)
    now_us = open_installation(layout, settings.clock).clock.now_us()
    ledger, began_us = Ledger(layout.ledger), now_us - 25 * DAY_US
    ids = releases(use_case, ledger, layout.bundles, began_us)
    fill(Sources(use_case, Tables(layout.tables), layout.bundles, ledger, now_us), ids[2], began_us)
    ledger.close()
    return ids


def test_what_every_arm_earns_and_what_is_concluded(run: Run, compared: list[str], tmp_path: Path) -> None:
    champion, challenger, shadow = compared
    ran = run("experiments", "--plot", str(tmp_path / "gain.svg"))
    assert ran.code == 0
    assert f"challenger {challenger}: ship." in ran.out and "guard rail" in ran.out and "arms are filled as planned" in ran.out
    assert f"shadow {shadow}" in ran.out and "100.0% of its choices" in ran.out
    assert (tmp_path / "gain.svg").read_text().startswith("<svg")
    (state,) = json.loads(run("experiments", USE_CASE, "--json").out)
    assert [arm["arm"] for arm in state["arms"]] == ["control", "champion", "challenger"]
    conclusion = state["arms"][2]["conclusion"]
    assert (conclusion["release_id"], conclusion["step"], conclusion["verdict"]["step"]) == (challenger, "promote", "ship")
    assert state["shadow"]["value"]["gain"]["low"] > 0.0 and state["arms"][1]["release_id"] == champion


@pytest.mark.usefixtures("layout")
def test_where_nothing_is_compared_it_says_so(run: Run) -> None:
    assert "Nothing is compared with the champion." in run("experiments").out


def test_a_plan_from_the_log_and_how_far_along_what_runs_is(run: Run, compared: list[str]) -> None:
    ran = run("plan", USE_CASE, "--gain", "5%")
    assert ran.code == 0 and "days, at most" in ran.out and f"running: {compared[1]}" in ran.out
    small, large = (json.loads(run("plan", USE_CASE, "--gain", size, "--json").out)["plan"] for size in ("2%", "0.5"))
    assert small["days"] > large["days"] and large["gain"] == 0.5
    within = json.loads(run("plan", USE_CASE, "--days", str(large["days"]), "--json").out)["plan"]
    assert within["gain"] == pytest.approx(0.5, rel=0.02)


def test_a_plan_before_there_is_a_log(run: Run) -> None:
    given = ("--mean", "1", "--sd", "3", "--players-per-day", "2000")
    ran = run("plan", USE_CASE, *given, "--gain", "10%", "--confidence", "0.95")
    assert ran.code == 0 and "players by then" in ran.out
    plan = json.loads(run("plan", USE_CASE, *given, "--gain", "10%", "--confidence", "0.95", "--random-cost", "0.5", "--json").out)
    assert 20 < plan["plan"]["days"] < 26 and plan["random"]["costs_each"] == 0.5
    assert "all three" in run("plan", USE_CASE, "--mean", "1").err
    assert "5% of what the champion earns" in run("plan", USE_CASE, *given, "--gain", "much").err
    assert "a gain above 0" in run("plan", USE_CASE, "--mean", "0", "--sd", "3", "--players-per-day", "10").err


@pytest.mark.usefixtures("layout")
def test_a_log_too_short_to_plan_by_is_said(run: Run) -> None:
    assert "give --mean, --sd and --players-per-day instead" in run("plan", USE_CASE).err


@pytest.fixture
def guide(repository: Path) -> str:
    return (repository / "docs/experiments.md").read_text()


def test_every_line_of_the_guide_runs(run: Run, compared: list[str], guide: str, tmp_path: Path) -> None:
    lines = [line for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) for line in block.splitlines()]
    assert len(lines) >= 7
    for line in lines:
        program, *words = shlex.split(line)
        ran = run(*words)
        assert program == "offerloop" and ran.code == 0 and ran.out, f"{line}: {ran.err}"
    assert (tmp_path / "gain.svg").exists()


def test_the_guard_rails_and_modules_of_the_guide_are_there(guide: str, repository: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["GUARD_RAILS"][-1].tolerance == 0.002
    assert all((repository / name).is_file() for name in re.findall(r"`(decisions/\w+\.py)`", guide))
