import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.processes import cpu_s, family, peak_mb, running
from contracts.errors import ServiceFailed

CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'http.server', '--bind', '127.0.0.1', sys.argv[1]])"


def test_a_server_is_waited_for_and_ended_with_what_it_started(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    command = [sys.executable, "-c", CHILD, str(port)]
    with running(command, os.environ, tmp_path / "log", f"http://127.0.0.1:{port}/") as process:
        started = family([process])
        assert len(started) == 2 and peak_mb(started) > 1.0 and cpu_s(started) > 0.0
    assert not any(one.is_running() for one in started)
    assert family([process]) == [] and peak_mb(started) == 0.0


def test_what_ends_before_it_answers_is_said_with_its_words(tmp_path: Path, free_port: Callable[[], int]) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no model there')"]
    with (
        pytest.raises(ServiceFailed, match="no model there"),
        running(command, os.environ, tmp_path / "log", f"http://127.0.0.1:{free_port()}/"),
    ):
        pass
