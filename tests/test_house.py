"""The house rules that no single folder can hold: the lock, the layers, quiet imports, short modules, commands that exist."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def packages(project: dict[str, Any]) -> list[str]:
    named: list[str] = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return named


def modules(repository: Path, packages: list[str]) -> list[Path]:
    return sorted(path for package in packages for path in (repository / package).rglob("*.py"))


@pytest.mark.parametrize(
    ("lock", "named"),
    [
        ("requirements.lock", {"ray", "mlflow", "prefect", "duckdb", "uv"}),
        ("bench/peers/requirements.lock", {"feast", "duckdb", "vowpalwabbit"}),
        ("bench/peers/obp.lock", {"obp"}),
    ],
)
def test_locks_have_exact_versions_and_hashes_and_no_address(repository: Path, lock: str, named: set[str]) -> None:
    text = (repository / lock).read_text()
    assert "://" not in text
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[\w.\[\],-]+==\S+", block) and "--hash=sha256:" in block for block in blocks)
    assert named <= {re.split(r"==|\[", block)[0] for block in blocks}


def test_lists_of_packages_agree(project: dict[str, Any], packages: list[str], repository: Path) -> None:
    tools = project["tool"]
    assert packages == tools["importlinter"]["root_packages"] == tools["coverage"]["run"]["source"]
    assert [*packages, "bench", "tests"] == tools["mypy"]["files"]
    assert all((repository / package / "__init__.py").is_file() for package in packages)


def test_imports_go_down_the_layers(repository: Path) -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_modules_are_short_and_named_for_a_noun_or_an_act(repository: Path, packages: list[str]) -> None:
    found = modules(repository, packages)
    lengths = {str(path.relative_to(repository)): len(path.read_text().splitlines()) for path in found}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
    assert [name for name in lengths if re.search(r"\b(utils?|helpers?|common|manager)\b", name)] == []
    assert all(len(path.relative_to(repository).parts) <= 3 for path in found)


def test_every_module_says_what_it_is(repository: Path, packages: list[str]) -> None:
    silent = [
        str(path) for path in modules(repository, packages) if not path.read_text().lstrip().startswith('"""') and path.stat().st_size
    ]
    assert silent == []


def test_no_station_names_a_use_case(repository: Path, packages: list[str]) -> None:
    allowed = {"use_cases", "simulator", "cli"}
    naming = {
        str(path.relative_to(repository))
        for path in modules(repository, packages)
        if path.relative_to(repository).parts[0] not in allowed and re.search(r"game_promotion|email_promotion", path.read_text())
    }
    assert naming <= {"contracts/settings.py"}


def test_commands_of_the_guides_exist(repository: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), flags=re.MULTILINE))
    for guide in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        named = set(re.findall(r"\bmake ([a-z-]+)", (repository / guide).read_text()))
        assert named, guide
        assert named <= targets, guide


def test_scripts_are_well_formed_and_can_be_run(repository: Path) -> None:
    for script in ("tools/setup", "tools/test", ".ci/run"):
        path = repository / script
        assert path.stat().st_mode & 0o111, script
        shell = "bash" if "bash" in path.read_text().splitlines()[0] else "sh"
        done = subprocess.run([shell, "-n", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_nothing_of_this_machine_is_in_the_tree(repository: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        path = repository / name
        if name in ("Makefile", "tests/test_house.py") or not path.is_file() or b"\0" in (content := path.read_bytes()):
            continue
        assert not re.search(rb"index-url|find-links|(?<![\w.])/(work|root|farm)/", content), name


def test_nothing_happens_at_import(repository: Path, packages: list[str], tmp_path: Path, environment: dict[str, str]) -> None:
    found = modules(repository, packages)
    names = [".".join(path.relative_to(repository).with_suffix("").parts).removesuffix(".__init__") for path in found]
    probe: list[str | Path] = [sys.executable, repository / "tests/import_probe.py", str(repository), *names]
    # why: measuring coverage there would double the time, and find nothing that the other tests do not
    own = {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")} | {"PYTHONPATH": str(repository)}
    done = subprocess.run(probe, cwd=tmp_path, capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert list(tmp_path.iterdir()) == []


def test_the_probe_sees_what_a_module_does(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import threading\nopen(__file__[:-3] + '.txt', 'w').close()\nthreading.Thread(target=print).start()\n"
    )
    probe: list[str | Path] = [sys.executable, repository / "tests/import_probe.py", str(tmp_path), "noisy"]
    done = subprocess.run(probe, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)})
    seen = json.loads(done.stdout.splitlines()[-1])
    assert [line.split()[1] for line in seen] == ["open", "thread"]


def test_the_command_line_starts_without_the_heavy_libraries(repository: Path) -> None:
    text = "import sys, cli.main; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", text], cwd=repository, capture_output=True, text=True, check=True)
    heavy = {
        "duckdb",
        "fastapi",
        "grafana_client",
        "lightgbm",
        "mlflow",
        "numpy",
        "pandas",
        "polars",
        "prefect",
        "pyarrow",
        "pyspark",
        "ray",
    }
    assert heavy & set(done.stdout.split()) == set()
