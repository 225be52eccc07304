import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

from services.processes import INSTANCE, SERVICE, end_all, instance_of, members, start

GRANDCHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.02)


Begin: TypeAlias = Callable[..., int]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts code as a process of the installation of this test, and ends it after the test; its process id."""
    begun: list[subprocess.Popen[bytes]] = []

    def start_code(code: str, service: str = "one") -> int:
        environment = {**os.environ, INSTANCE: instance_of(tmp_path), SERVICE: service}
        begun.append(start([sys.executable, "-c", code], environment, tmp_path / "logs" / "one.log"))
        return begun[-1].pid

    yield start_code
    end_all(instance_of(tmp_path), term_s=0.5)
    for process in begun:
        process.wait()


def test_what_a_process_prints_goes_to_its_log(tmp_path: Path, begin: Begin) -> None:
    begin("print('hello')")
    wait_until(lambda: (tmp_path / "logs" / "one.log").read_text() == "hello\n")


def test_a_process_of_a_process_is_found_in_a_session_of_its_own(tmp_path: Path, begin: Begin) -> None:
    parent = begin(GRANDCHILD)
    wait_until(lambda: [process.pid for process in members(instance_of(tmp_path))] not in ([], [parent]))
    wait_until(lambda: psutil.Process(parent).status() == psutil.STATUS_ZOMBIE)
    (left,) = members(instance_of(tmp_path))
    assert left.pid != parent and os.getsid(left.pid) == left.pid
    end_all(instance_of(tmp_path))
    assert members(instance_of(tmp_path)) == []


def test_a_process_whose_mark_was_wiped_out_is_found_by_its_session(tmp_path: Path, begin: Begin) -> None:
    begin("import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], env={}); time.sleep(60)")
    begin("import time; time.sleep(60)", "two")
    wait_until(lambda: len(members(instance_of(tmp_path), "one")) == 2)
    wiped = [process for process in members(instance_of(tmp_path)) if INSTANCE not in process.environ()]
    assert len(wiped) == 1
    assert end_all(instance_of(tmp_path), "one") == 2
    assert len(members(instance_of(tmp_path))) == 1


def test_one_service_is_ended_without_the_others(tmp_path: Path, begin: Begin) -> None:
    sleep = "import time; time.sleep(60)"
    one, two = begin(sleep, "one"), begin(sleep, "two")
    wait_until(lambda: {process.pid for process in members(instance_of(tmp_path))} == {one, two})
    assert end_all(instance_of(tmp_path), "one") == 1
    assert [process.pid for process in members(instance_of(tmp_path))] == [two]


def test_who_does_not_end_when_asked_is_made_to(tmp_path: Path, begin: Begin) -> None:
    pid = begin(STUBBORN)
    wait_until(lambda: "up" in (tmp_path / "logs" / "one.log").read_text())
    assert end_all(instance_of(tmp_path), term_s=0.2) == 1
    assert members(instance_of(tmp_path)) == [] and not psutil.pid_exists(pid)


def test_the_asking_process_and_other_installations_are_left_alone(tmp_path: Path, begin: Begin) -> None:
    begin("import time; time.sleep(60)")
    wait_until(lambda: len(members(instance_of(tmp_path))) == 1)
    assert end_all(instance_of(tmp_path / "other")) == 0
    assert len(members(instance_of(tmp_path))) == 1


def test_the_mark_follows_the_folder_not_how_it_is_spelled(tmp_path: Path) -> None:
    assert instance_of(tmp_path / "a" / ".." / "b") == instance_of(tmp_path / "b") != instance_of(tmp_path / "a")
