import os
import socket
import stat
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.settings import Ports, Settings
from serving import environment
from serving.environment import short_folder, variables
from serving.keys import Scope, make_key, owner_key, rotate_key
from serving.readers import Readers
from storage.layout import Layout

RENDERED = """global
    log 127.0.0.1:514 local0 info
    stats socket {folder}/admin.sock mode 666 level admin expose-fd listeners
    maxconn 4096
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 15s
    log global
    option httplog
    errorfile 502 {folder}/500.http
    errorfile 503 {folder}/500.http
    errorfile 504 {folder}/500.http
    balance leastconn
frontend prometheus
    bind :9101
    mode http
    http-request use-service prometheus-exporter if {{ path /metrics }}
    no log
frontend http_frontend
    bind 127.0.0.1:{api}
    # Health check endpoint
    acl healthcheck path -i /-/healthz
    use_backend http-offerloop
    default_backend http-offerloop
backend http-offerloop
    server replica 127.0.0.1:9 check
listen stats
  bind *:{statistics}
  stats enable
  stats uri /stats
  stats refresh 1s
"""
"""The lines of what Ray renders that are changed, and some around them (ray 2.60, `serve/_private/haproxy_templates.py`)."""


@pytest.fixture
def settings(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Settings]:
    made = Settings(state=str(tmp_path / "state"), ports=Ports(api=free_port(), proxy_statistics=free_port()))
    yield made
    folder = short_folder(made)
    for file in folder.glob("*") if folder.is_dir() else ():
        file.unlink()
    if folder.is_dir():
        folder.rmdir()


def rendered(settings: Settings, folder: Path) -> Path:
    path = folder / "haproxy.cfg"
    path.write_text(RENDERED.format(folder=folder, api=settings.ports.api, statistics=settings.ports.proxy_statistics))
    return path


def test_the_script_mends_what_ray_renders_and_haproxy_takes_it(settings: Settings) -> None:
    script = variables(settings, settings.ports)["RAY_SERVE_HAPROXY_BINARY_PATH"]
    path = rendered(settings, short_folder(settings))
    checked = subprocess.run([script, "-c", "-f", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    binds = [line.split()[1] for line in path.read_text().splitlines() if line.split()[:1] == ["bind"]]
    assert binds == [f"127.0.0.1:{settings.ports.api}", f"127.0.0.1:{settings.ports.proxy_statistics}"]
    assert "local0 info" not in path.read_text()


def test_it_becomes_haproxy_which_says_503_and_serves_metrics_to_who_may_read(settings: Settings) -> None:
    layout = Layout(settings.folder)
    key, decides = owner_key(layout), make_key(layout, "game", [Scope.DECIDE])
    script = variables(settings, settings.ports)["RAY_SERVE_HAPROXY_BINARY_PATH"]
    path = rendered(settings, short_folder(settings))
    with subprocess.Popen([script, "-db", "-f", str(path)], stderr=subprocess.PIPE) as proxy:
        try:
            answer = exchange(settings.ports.api, "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            routes = exchange(settings.ports.api, "GET /-/routes HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            metrics = statistics(settings, "/metrics", f"Bearer {key}")
            browser = statistics(settings, "/stats", f"Basic {b64encode(f'ada:{key}'.encode()).decode()}")
            strangers = [statistics(settings, path, f"Bearer {said}") for path in ("/metrics", "/stats") for said in ("", "olk_x", decides)]
            replaced = rotate_key(layout, "owner")
            Readers(settings, threading.Event()).look()
            changed = [statistics(settings, "/metrics", f"Bearer {said}").split()[1] for said in (key, replaced)]
        finally:
            proxy.kill()
    assert answer.startswith("HTTP/1.1 503 ")
    assert "retry-after: 1" in answer
    assert "application/problem+json" in answer
    assert routes.startswith("HTTP/1.1 404 ")
    assert "haproxy_process_nbthread" in metrics and browser.startswith("HTTP/1.1 200 ")
    assert all(answer.startswith("HTTP/1.1 401 ") for answer in strangers)
    assert changed == ["401", "200"]


def statistics(settings: Settings, path: str, key: str) -> str:
    said = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\nconnection: close\r\n\r\n"
    return exchange(settings.ports.proxy_statistics, said)


def exchange(port: int, request: str) -> str:
    """What is answered to a request, once somebody listens."""
    for _ in range(600):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(request.encode())
                parts = []
                while part := connection.recv(65_536):
                    parts.append(part)
                return b"".join(parts).decode()
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}")


def test_sockets_lie_where_a_path_is_short_and_nobody_else_may_look(settings: Settings) -> None:
    found = variables(settings, settings.ports)
    node = "0" * 56
    socket_path = Path(found["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    assert len(str(socket_path.parent / node / f"{socket_path.name}.1234567.tmp")) <= 107
    assert stat.S_IMODE(short_folder(settings).stat().st_mode) == 0o700


def test_replicas_can_import_what_runs_here(settings: Settings, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert variables(settings, settings.ports)["PYTHONPATH"] == f"{repository}{os.pathsep}/somewhere"


def test_a_folder_that_is_anothers_is_refused(settings: Settings, tmp_path: Path) -> None:
    short_folder(settings).symlink_to(tmp_path)
    try:
        with pytest.raises(PermissionError, match="another"):
            variables(settings, settings.ports)
    finally:
        short_folder(settings).unlink()


def test_without_haproxy_rays_own_ingress_serves(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(environment, "_binary", lambda: None)
    found = variables(settings, settings.ports)
    assert found["RAY_SERVE_ENABLE_HA_PROXY"] == "0"
    assert "HAProxy" in caplog.text
