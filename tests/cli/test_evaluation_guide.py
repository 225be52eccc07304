"""What docs/evaluation.md tells people to type does what it says."""

import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from cli.main import offerloop
from tests.cli.conftest import Run
from tests.training.test_log_value import log_of


def commands(repository: Path) -> list[list[str]]:
    text = (repository / "docs" / "evaluation.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines() if line.startswith("offerloop ")]


def test_the_commands_on_a_log_run(run: Run, repository: Path, tmp_path: Path) -> None:
    log = log_of(tmp_path, 1_200)
    pl.DataFrame({"decision_id": log.rows["decision_id"], "action": "red", "probability": 1.0}).write_parquet(tmp_path / "policy.parquet")
    shown = [words for words in commands(repository) if words[:2] == ["evaluate", "log.parquet"]]
    assert len(shown) >= 5
    for words in shown:
        ran = run(*words)
        assert ran.code == 0, (words, ran.err)
    assert (tmp_path / "value.html").exists()


def test_the_other_commands_exist(repository: Path) -> None:
    for words in commands(repository):
        names = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)]
        depth = 2 if names[0] == "import" else 1
        assert CliRunner().invoke(offerloop, [*names[:depth], "--help"]).exit_code == 0, words


@pytest.mark.parametrize("word", ["uniform", "logged", "always:ACTION", "learned", "columns", "file:PATH", "release:ID"])
def test_every_kind_of_policy_is_told(repository: Path, word: str) -> None:
    assert f"`{word}`" in (repository / "docs" / "evaluation.md").read_text()
    assert word in CliRunner().invoke(offerloop, ["evaluate", "--help"]).output.replace("\n  ", " ").replace("  ", " ")
