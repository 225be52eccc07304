"""What the README tells people to type does what it says."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, offerloop
from client import Client
from contracts.clock import to_datetime
from tests.installation import Running


def blocks(repository: Path, language: str) -> list[str]:
    """The README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (repository / "README.md").read_text(), re.DOTALL)


def test_every_offerloop_command_is_one(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    named = set(re.findall(r"(?:\.venv/bin/|`|\n)offerloop ([a-z]+)", text))
    assert {"up", "import", "train", "rollback", "explain"} <= named <= set(COMMANDS)
    for name in named:
        assert CliRunner().invoke(offerloop, [name, "--help"]).exit_code == 0
    for group, name in re.findall(r"(?:`|\n)offerloop (features|quarantine|import) ([a-z-]+)", text):
        assert CliRunner().invoke(offerloop, [group, name, "--help"]).exit_code == 0, name


def test_the_shown_options_of_the_demo_exist(repository: Path) -> None:
    shown = " ".join(
        shlex.split(line)[2] for block in blocks(repository, "sh") for line in block.splitlines() if line.startswith("make demo ARGS")
    )
    said = CliRunner().invoke(offerloop, ["demo", "--help"]).output
    assert set(re.findall(r"--[a-z]+", shown)) == {"--seed", "--data", "--path"}
    assert all(option in said for option in re.findall(r"--[a-z]+", shown))


@pytest.mark.installation
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_the_requests_are_answered(repository: Path, installation: Running) -> None:
    (script,) = [block for block in blocks(repository, "sh") if "curl" in block]
    here = script.replace("localhost:8000", installation.addresses.api.removeprefix("http://")).replace(
        ".offerloop/", f"{installation.folder}/"
    )
    # why: the clock of this installation is not the one of `date`, and an event that is months old is not taken
    with Client(installation.addresses.api, (installation.layout.secrets / "api_key").read_text().strip()) as asked:
        now = to_datetime(int(asked.status()["now"]))
    assert "$(date -u +%FT%TZ)" in here
    here = here.replace("$(date -u +%FT%TZ)", f"{now:%FT%TZ}")

    run = subprocess.run(["bash", "-e", "-c", here], capture_output=True, text=True, timeout=120, check=True)

    decision, events, outcomes = (json.loads(answer) for answer in re.split(r"(?<=\})(?=\{)", run.stdout))
    assert decision["decision_id"] == "d-1" and 0.0 < decision["propensity"] <= 1.0
    assert events["accepted"] + events["duplicates"] == 1 and not events["quarantined"]
    assert outcomes["accepted"] + outcomes["duplicates"] == 1 and not outcomes["quarantined"]


@pytest.mark.installation
def test_the_python_lines_get_an_answer(repository: Path, installation: Running) -> None:
    (lines,) = [block for block in blocks(repository, "python") if "Client" in block]
    found: dict[str, object] = {"key": (installation.layout.secrets / "api_key").read_text().strip()}
    exec(lines.replace("http://127.0.0.1:8000", installation.addresses.api), found)
    assert found["Client"] is Client
    assert found["answer"].arm in ("control", "champion")  # type: ignore[attr-defined]
