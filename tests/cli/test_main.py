import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS
from tests.cli.conftest import Run

HEAVY = ("httpx", "rich", "polars", "duckdb", "mlflow", "prefect", "ray", "lightgbm", "numpy", "pandas", "psutil")


def test_help_names_every_command_and_loads_none(repository: Path) -> None:
    code = f"import sys; from cli.main import main; main(['--help']); print([name for name in {HEAVY} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True).stdout
    assert said.endswith("[]\n")
    assert all(f"  {name} " in said for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(run: Run, name: str) -> None:
    ran = run(name, "--help")
    assert ran.code == 0 and ran.out.startswith(f"Usage: offerloop {name}")


def test_an_error_is_one_line_and_two(run: Run) -> None:
    ran = run("status")
    assert ran.code == 2 and ran.out == "" and ran.err.count("\n") == 1
    assert ran.err.startswith("Error: state in ") and "Start one with `offerloop up`" in ran.err


def test_a_wrong_setting_names_its_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFERLOOP_PORTS__API", "many")
    ran = run("doctor")
    assert ran.code == 2 and "ports.api" in ran.err


def test_an_unknown_command_is_refused(run: Run) -> None:
    ran = run("fly")
    assert ran.code == 2 and "No such command 'fly'" in ran.err


def test_settings_come_from_a_named_file_and_a_named_state(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("host = 7\n")
    assert "`host`" in run("--config", "mine.toml", "status").err
    assert "a settings file that is there" in run("--config", "yours.toml", "status").err
    assert f"state in {tmp_path / 'elsewhere'}: holds no installation" in run("--state", "elsewhere", "status").err
