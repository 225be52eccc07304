import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.neighbours_down import Down, _locked, _stopped
from bench.outage import Try, seconds_until


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


def test_only_what_was_in_flight_when_the_replica_died_may_fail() -> None:
    down = Down("mlflow", since_s=10.0, until_s=90.0, down_s=60.0, killed_s=25.0, gone_s=25.1, replica_back_s=8.0, worked_off_s=9.0)
    tries = [
        Try(9.9, 10.1, 503),
        Try(24.9, 24.95, 503),
        Try(24.9, 25.05, 0),
        Try(25.05, 25.2, 0),
        Try(25.2, 25.3, 0),
        Try(30.0, 60.1, 0),
        Try(40.0, 40.1, 200),
        Try(90.0, 90.1, 503),
    ]
    assert [one.asked_s for one in down.failed(tries)] == [24.9, 25.2, 30.0]
