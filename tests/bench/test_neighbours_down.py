import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.neighbours_down import _locked, _stopped
from bench.outage import seconds_until


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield psutil.Process(process.pid)
        process.kill()


def test_who_is_stopped_is_down_and_nobody_is_not(sleeper: psutil.Process) -> None:
    with _stopped([sleeper]) as is_down:
        assert seconds_until(is_down, 30.0, 0.01) < 30.0
    assert seconds_until(lambda: not is_down(), 30.0, 0.01) < 30.0
    with _stopped([]) as is_down:
        assert not is_down()


def test_who_ended_meanwhile_is_not_stopped(sleeper: psutil.Process) -> None:
    with _stopped([sleeper]) as is_down:
        sleeper.kill()
        assert seconds_until(lambda: not is_down(), 30.0, 0.01) < 30.0


def test_a_ledger_is_locked_for_readers_or_said_not_to_be(tmp_path: Path) -> None:
    ledger, index = tmp_path / "ledger.sqlite", tmp_path / "ledger.sqlite-shm"
    with _locked(ledger) as is_down:
        assert not is_down()
    index.write_bytes(bytes(32_768))
    with _locked(ledger) as is_down, index.open("rb") as file:
        assert is_down()
        with pytest.raises(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 123)
    assert not is_down()
