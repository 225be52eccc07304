import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from cli.up import exposed, table_of
from contracts.settings import Serving, Settings
from services import state
from services.processes import instance_of, members
from services.state import ServiceState, State
from storage.layout import Layout
from tests.cli.conftest import Run
from tests.installation import PORTS, wait_until


def test_the_table_says_what_is_how_since_when_and_where() -> None:
    services = (
        ServiceState("serve", "decision API", "http://127.0.0.1:1", "ready", 12, 1, time.time() - 7_300.0, 9.5),
        ServiceState("mlflow", "MLflow", "http://127.0.0.1:2", "broken", 13, 4, time.time() - 90.0, reason="ended with 1"),
        ServiceState("ray", "Ray", ""),
    )
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table_of(State(1, 0.0, services)))
    said = captured.get()
    assert "2.0 h" in said and "broken: ended with 1" in said and "waiting" in said and "http://127.0.0.1:2" in said


@pytest.mark.parametrize("how", ["Ctrl-C at a terminal", "SIGTERM"])
def test_the_end_in_the_middle_of_the_start_leaves_nothing(environment: dict[str, str], repository: Path, how: str) -> None:
    folder = Settings.build("", environment).folder
    layout = Layout(folder)
    command = [sys.executable, "-m", "cli.main", "up"]
    own, other = pty.openpty()
    at_terminal = how.startswith("Ctrl-C")
    where = {"stdin": other, "stdout": other, "stderr": other} if at_terminal else {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    process = subprocess.Popen(
        command,
        env=environment | PORTS | {"PYTHONPATH": str(repository), "TERM": "xterm"},
        start_new_session=True,
        preexec_fn=_take_terminal if at_terminal else None,
        **where,  # type: ignore[call-overload]  # why: mypy does not see into the table
    )
    os.close(other)
    try:
        wait_until(lambda: len(members(instance_of(folder))) >= 5, 120.0)
        if at_terminal:
            os.write(own, b"\x03")
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(120.0) == 0
    finally:
        process.kill()
        process.communicate() if not at_terminal else process.wait()
        os.close(own)
    assert members(instance_of(folder)) == [] and state.supervisor(layout) is None
    known = state.read(layout)
    assert known is not None and {service.stage for service in known.services} == {"ended"}


def test_what_cannot_start_detached_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFERLOOP_USE_CASES", "nothing_of_that_name")
    for name in PORTS:
        monkeypatch.setenv(name, "0")
    ran = run("up", "--detach")
    assert ran.code == 2 and "use case `nothing_of_that_name` is not known" in ran.err


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_an_installation_that_others_reach_without_tls_is_said_loudly() -> None:
    assert exposed(Settings()) == exposed(Settings(host="localhost")) == []
    assert exposed(Settings(host="10.0.0.7", serving=Serving(tls_certificate="c.pem"))) == []
    (clear,) = exposed(Settings(host="0.0.0.0"))
    assert "0.0.0.0 without TLS" in clear
    assert len(exposed(Settings(host="0.0.0.0", serving=Serving(require_key=False)))) == 2
