import json
import socket
from pathlib import Path

import pytest

from storage.layout import Layout
from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def any_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API", "MLFLOW", "PREFECT", "RAY_DASHBOARD", "METRICS", "PROXY_STATISTICS"):
        monkeypatch.setenv(f"OFFERLOOP_PORTS__{name}", "0")


def findings(run: Run) -> dict[str, dict[str, object]]:
    return {finding["name"]: finding for finding in json.loads(run("doctor", "--json").out)}


def test_every_line_says_what_was_found(run: Run) -> None:
    said = run("doctor").out
    assert all(line.split()[0] in ("ok", "MISSING", "absent") for line in said.splitlines())
    assert {"Python", "Python packages", "HAProxy", "Java", "memory", "disk", "ports", "installation"} <= set(findings(run))


def test_a_port_that_is_taken_is_missing_with_its_mend(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setenv("OFFERLOOP_PORTS__API", str(listener.getsockname()[1]))
        ran = run("doctor")
    assert ran.code == 1
    assert any(line.startswith("MISSING") and "ports.api" in line and "set another one" in line for line in ran.out.splitlines())


def test_java_is_no_need(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    found = findings(run)["Java"]
    assert found["ok"] is False and found["needed"] is False


def test_an_installation_of_another_kind_is_named(run: Run, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(run)["installation"]["ok"] is True
    monkeypatch.setenv("OFFERLOOP_CLOCK__SCALE", "60")
    assert "never becomes a real one" in str(findings(run)["installation"]["found"])
