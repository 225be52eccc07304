"""The page on the API: what it says of problems is so, and its commands and its Python do what it says, against a running API."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.hostile import schemathesis
from bench.one_process import one_process
from serving.keys import owner_key
from serving.problems import KINDS
from storage.layout import Layout

pytestmark = pytest.mark.installation


@dataclass(frozen=True)
class Api:
    """A running API: its port, its owner's key, and a folder in which it is the installation."""

    port: int
    key: str
    folder: Path


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with one_process("game_promotion") as (settings, _):
        folder = tmp_path_factory.mktemp("page")
        (folder / ".offerloop").symlink_to(settings.folder)
        yield Api(settings.ports.api, owner_key(Layout(settings.folder)), folder)


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "api.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    """The page's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def test_its_table_of_problems_is_the_one_in_the_code(page: str) -> None:
    table = page.partition("<!-- problems -->\n")[2].partition("<!-- /problems -->")[0]
    assert table.splitlines()[2:] == [f"| {kind.status} | `{kind.name}` | {kind.mend} |" for kind in KINDS]


def test_its_commands_are_answered(page: str, api: Api) -> None:
    commands = "\n".join(blocks(page, "sh")).replace("http://127.0.0.1:8000", f"http://127.0.0.1:{api.port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=api.folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert commands.count("curl ") == 5
    assert done.stdout.count('"decision_id":"d-1"') == 2
    assert done.stdout.count('{"accepted":1,"duplicates":0,"quarantined":[]}') == 2


def test_its_python_runs(page: str, api: Api, repository: Path) -> None:
    (program,) = blocks(page, "python")
    environment = os.environ | {"OFFERLOOP_URL": f"http://127.0.0.1:{api.port}", "OFFERLOOP_KEY": api.key, "PYTHONPATH": str(repository)}
    command = [sys.executable, "-W", "error::DeprecationWarning", "-c", program]
    done = subprocess.run(command, env=environment, cwd=api.folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.faults
def test_schemathesis_finds_nothing(api: Api) -> None:
    found, said = schemathesis(api.port, api.key, examples=1, seed=1)
    assert found == 0, said
    assert int(said.split()[0]) > 100


@pytest.mark.faults
def test_schemathesis_finds_nothing_without_a_key_either_nor_when_it_looks_for_longer(api: Api) -> None:
    for key in (api.key, ""):
        found, said = schemathesis(api.port, key, examples=10, seed=2)
        assert found == 0, said
