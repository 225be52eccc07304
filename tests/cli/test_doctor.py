import json
import socket
import sqlite3
from pathlib import Path

import pytest

from storage.layout import Layout
from tests.cli.conftest import USE_CASE, Run
from tests.flows.customers import customer, in_sqlite


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


def test_an_attribute_table_is_looked_at_and_is_no_need(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = f"attributes customer of {USE_CASE}"
    assert (findings(run)[name]["ok"], findings(run)[name]["needed"]) == (False, False)
    in_sqlite(tmp_path / "customers.sqlite", customer("a", 1))
    monkeypatch.setenv("OFFERLOOP_ATTRIBUTE_SOURCES__CUSTOMER", str(tmp_path / "customers.sqlite"))
    assert findings(run)[name]["ok"] is True
    with sqlite3.connect(tmp_path / "customers.sqlite") as connection:
        connection.execute("ALTER TABLE customers DROP COLUMN newbie")
    connection.close()
    assert "no such column: newbie" in str(findings(run)[name]["found"])


def test_a_use_case_that_is_wrong_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings(run)[f"use case {USE_CASE}"]["found"] == "7 features"
    monkeypatch.setenv("OFFERLOOP_USE_CASES", "nothing_like_it")
    assert run("doctor").code == 1
    assert "is not known" in str(findings(run)["use case nothing_like_it"]["found"])


def test_a_compiler_is_no_need(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = findings(run)["C compiler"]
    assert found["ok"] is False and found["needed"] is False and found["found"] == "none"
