import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from contracts.errors import ServiceFailed
from contracts.settings import Ports, Settings
from services import state
from services.catalog import Service
from services.ports import choose
from services.processes import INSTANCE, SERVICE, instance_of, members
from services.readiness import Beat
from services.supervisor import ATTEMPTS, Supervisor
from storage.layout import Layout

ANY = Ports(api=0, mlflow=0, prefect=0, ray_dashboard=0, metrics=0, proxy_statistics=0)
BEATS = "import pathlib, sys, time\nwhile True:\n    pathlib.Path(sys.argv[1]).touch()\n    time.sleep(0.05)"
BEATS_ONCE = "import pathlib, sys, time\npathlib.Path(sys.argv[1]).touch()\ntime.sleep(60)"


def service(tmp_path: Path, name: str, code: str = BEATS, **changes: object) -> Service:
    beat = tmp_path / f"{name}.beat"
    variables = {**os.environ, INSTANCE: instance_of(tmp_path), SERVICE: name}
    made = {"title": name, "command": (sys.executable, "-c", code, str(beat)), "variables": variables, "ready": Beat(beat, within_s=1.0)}
    return Service(**{"name": name, **made, **changes})  # type: ignore[arg-type]  # why: the changes name fields


@contextmanager
def supervising(tmp_path: Path, *chosen: Service) -> Iterator[Supervisor]:
    settings = Settings(state=str(tmp_path), ports=ANY)
    Layout(tmp_path).run.mkdir()
    supervisor = Supervisor(settings, choose(settings), chosen)
    try:
        supervisor.start()
        yield supervisor
    finally:
        supervisor.stop()
    assert members(instance_of(tmp_path)) == []


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.02)


def of(supervisor: Supervisor, name: str) -> state.ServiceState:
    return next(service for service in supervisor.state.services if service.name == name)


def test_everything_becomes_ready_and_is_noted(tmp_path: Path) -> None:
    with supervising(tmp_path, service(tmp_path, "a"), service(tmp_path, "b")) as supervisor:
        ready = supervisor.wait_until_ready(60.0)
        assert ready.ready and state.read(Layout(tmp_path)) == ready
        assert all(psutil.pid_exists(known.pid) for known in ready.services)
    ended = state.read(Layout(tmp_path))
    assert ended is not None and [known.stage for known in ended.services] == ["ended", "ended"]


def test_what_is_killed_is_started_again(tmp_path: Path) -> None:
    with supervising(tmp_path, service(tmp_path, "a"), service(tmp_path, "b")) as supervisor:
        before = supervisor.wait_until_ready(60.0)
        os.kill(before.services[0].pid, signal.SIGKILL)
        wait_until(lambda: of(supervisor, "a").starts == 2)
        assert supervisor.wait_until_ready(60.0).ready
        assert of(supervisor, "a").pid != before.services[0].pid and of(supervisor, "b") == before.services[1]


def test_what_falls_silent_is_started_again(tmp_path: Path) -> None:
    with supervising(tmp_path, service(tmp_path, "a", BEATS_ONCE, silence_s=0.5)) as supervisor:
        wait_until(lambda: of(supervisor, "a").starts >= 2)
    reasons = (Layout(tmp_path).run / "state.json").read_text()
    assert "did not answer" in reasons or of(supervisor, "a").starts >= 2


def test_an_act_is_done_again_when_what_it_acted_on_was_started_anew(tmp_path: Path) -> None:
    count = tmp_path / "count"
    act = service(tmp_path, "act", f"open({str(count)!r}, 'a').write('.')", ready=None, act=True, upon=("a",))
    with supervising(tmp_path, service(tmp_path, "a"), act) as supervisor:
        supervisor.wait_until_ready(60.0)
        assert count.read_text() == "."
        os.kill(of(supervisor, "a").pid, signal.SIGKILL)
        wait_until(lambda: count.read_text() == "..")
        assert supervisor.wait_until_ready(60.0).ready


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.supervisor.BACKOFF_S", (0.01,) * ATTEMPTS)


@pytest.mark.usefixtures("hasty")
def test_an_installation_ends_when_what_decisions_need_cannot_run(tmp_path: Path) -> None:
    with supervising(tmp_path, service(tmp_path, "a", "import sys; sys.exit(3)", essential=True)) as supervisor:
        with pytest.raises(ServiceFailed, match=rf"service a ended with 3( \(.*\))?, {ATTEMPTS} times in a row"):
            supervisor.wait_until_ready(60.0)
        assert of(supervisor, "a").stage == "failed"


@pytest.mark.usefixtures("hasty")
def test_an_installation_goes_on_without_the_rest(tmp_path: Path) -> None:
    with supervising(tmp_path, service(tmp_path, "a"), service(tmp_path, "b", "import sys; sys.exit(3)")) as supervisor:
        shown = supervisor.wait_until_ready(60.0)
        assert [known.stage for known in shown.services] == ["ready", "failed"]
        assert "given up" in shown.services[1].reason


def test_waiting_ends_when_someone_wants_the_end(tmp_path: Path) -> None:
    with supervising(tmp_path, service(tmp_path, "never", "import time; time.sleep(60)")) as supervisor:
        threading.Timer(0.2, supervisor.stopping.set).start()
        assert not supervisor.wait_until_ready(60.0).ready
