import re
import subprocess
from pathlib import Path

import pytest
import yaml

from monitoring.prometheus import configuration


@pytest.fixture
def compose(repository: Path) -> dict[str, dict[str, dict[str, object]]]:
    loaded: dict[str, dict[str, dict[str, object]]] = yaml.safe_load((repository / "deploy/compose.yaml").read_text())
    return loaded


def test_only_loopback_is_published(compose: dict[str, dict[str, dict[str, object]]]) -> None:
    published = [port for service in compose["services"].values() for port in _list(service.get("ports", []))]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_images_are_pinned_and_secrets_are_files(compose: dict[str, dict[str, dict[str, object]]]) -> None:
    for name, service in compose["services"].items():
        assert re.search(r":v?\d+\.\d+\.\d+}?$", str(service["image"])), name
    assert "password" not in str(compose["services"]["offerloop"].get("environment")).lower()
    assert compose["secrets"]["grafana"]["file"] == "./grafana-password.txt"


def test_prometheus_reads_the_targets_that_up_writes(repository: Path, tmp_path: Path) -> None:
    text = (repository / "deploy/prometheus.yml").read_text()
    assert text.partition("\n")[2] == configuration(Path("/state/run/prometheus/targets.json"), Path("/state/secrets/metrics_key"))


@pytest.mark.engines
def test_promtool_takes_the_configuration(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/metrics_key").write_text("olk_")
    here = tmp_path / "prometheus.yml"
    here.write_text((repository / "deploy/prometheus.yml").read_text().replace("/state/", f"{tmp_path}/"))
    done = subprocess.run(["promtool", "check", "config", here], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_nobody_special(repository: Path) -> None:
    lines = (repository / "Dockerfile").read_text().splitlines()
    assert lines.index("USER offerloop") < next(number for number, line in enumerate(lines) if line.startswith("ENTRYPOINT"))


def _list(value: object) -> list[str]:
    assert isinstance(value, list)
    return value
