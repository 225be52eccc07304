from pathlib import Path

import pytest

from contracts.settings import ClockSettings, Ports, Serving, Settings
from services.catalog import services
from services.credentials import make_credentials
from services.environment import base, resolved
from services.ports import choose
from services.processes import INSTANCE, instance_of
from serving.keys import hook_secret, metrics_key, owner_key, services_key
from storage.layout import Layout

ANY = Ports(api=0, mlflow=0, prefect=0, ray_dashboard=0, metrics=0, proxy_statistics=0)


def settings_in(folder: Path) -> Settings:
    return Settings(
        state=str(folder),
        use_cases=("email_promotion",),
        ports=ANY,
        serving=Serving(require_key=False, cpus_per_replica=0.5),
        clock=ClockSettings(100, "2026-01-01T00:00:00Z"),
        attribute_sources={"profile": "profiles.sqlite", "remote": "postgresql://here/there"},
    )


def test_whoever_is_started_reads_the_settings_of_who_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFERLOOP_HOST", "10.0.0.1")
    monkeypatch.chdir(tmp_path)
    settings = settings_in(tmp_path / "state")
    addresses = choose(settings)
    environment = base(settings, addresses)
    read = Settings.build("", environment)
    assert read == resolved(settings, addresses)
    assert read.host == "127.0.0.1" and read.ports == addresses.ports
    assert read.attribute_sources == {"profile": str(tmp_path / "profiles.sqlite"), "remote": "postgresql://here/there"}
    assert environment[INSTANCE] == instance_of(tmp_path / "state")


def test_no_secret_stands_in_a_command_or_a_variable(tmp_path: Path) -> None:
    settings, layout = settings_in(tmp_path), Layout(tmp_path)
    make_credentials(settings)
    secrets = [
        owner_key(layout),
        services_key(layout),
        metrics_key(layout),
        hook_secret(layout),
        (layout.secrets / "ray_token").read_text(),
    ]
    for service in services(settings, layout, choose(settings)):
        said = " ".join([*service.command, *service.variables.values()])
        assert not any(secret in said for secret in secrets)


def test_secrets_are_the_owners_alone_and_stay_the_same(tmp_path: Path) -> None:
    settings, layout = settings_in(tmp_path), Layout(tmp_path)
    tmp_path.chmod(0o777)
    made = make_credentials(settings)
    before = {path.name: path.read_text() for path in layout.secrets.iterdir()}
    assert {"api_key", "api_keys.json", "hook_secret", "ray_token", "services_key", "metrics_key", "prefect.toml"} <= set(before)
    assert layout.secrets.stat().st_mode & 0o777 == 0o700
    assert layout.root.stat().st_mode & 0o777 == 0o750
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in layout.secrets.iterdir())
    assert make_credentials(settings) == made
    assert {path.name: path.read_text() for path in layout.secrets.iterdir()} == before
