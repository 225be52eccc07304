from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.monitoring import monitoring
from tests.monitoring.contract_server import TOKEN, ContractServer, serve


@pytest.fixture
def grafana(shared: Callable[[str], Path]) -> Iterator[ContractServer]:
    with serve(shared("grafana/openapi3-patched-subset.json")) as server:
        yield server


def test_apply_says_what_it_did(grafana: ContractServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    done = CliRunner().invoke(monitoring, ["apply", "--grafana", grafana.url, "--token-file", str(tmp_path / "token")])
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "  created  data source Offerloop (Prometheus)",
        "  created  folder Offerloop",
        "  created  dashboard Offerloop",
    ]
    again = CliRunner().invoke(monitoring, ["apply"], env={"GRAFANA_URL": grafana.url, "GRAFANA_TOKEN": TOKEN})
    assert [line.split()[0] for line in again.output.splitlines()] == ["unchanged"] * 3


def test_a_name_needs_a_password(tmp_path: Path) -> None:
    done = CliRunner().invoke(monitoring, ["apply", "--user", "admin"], env={"GRAFANA_TOKEN": ""})
    assert done.exit_code == 2
    assert "Say who you are" in done.output
