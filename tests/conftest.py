"""What tests of several folders share: a Spark session, free ports, an environment of its own."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.installation import CLOCK, PORTS, Running

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# why: a machine shared with other work makes Hypothesis' deadlines fail at random; print_blob gives the seed of a failure
settings.register_profile("offerloop", deadline=None, print_blob=True, max_examples=50)
settings.load_profile("offerloop")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:
    """The one Spark session of a test run."""
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Java is missing: Debian's openjdk-17-jre-headless")
    from spark_jobs.session import build_session

    folder = tmp_path_factory.mktemp("spark")
    session = build_session(
        "local[2]",
        "1GB",
        spark__sql__shuffle__partitions=2,
        spark__sql__warehouse__dir=str(folder / "warehouse"),
        spark__local__dir=str(folder / "local"),
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives a port of loopback that was free a moment ago, another one each time."""
    given: set[int] = set()

    def give() -> int:
        while True:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                port = int(listener.getsockname()[1])
            if port not in given:
                given.add(port)
                return port

    return give


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment for a process of ours: no settings of whoever runs the tests, state in a folder of this test."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OFFERLOOP_")}
    return own | {"OFFERLOOP_STATE": str(tmp_path / "state"), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared(repository: Path) -> Callable[[str], Path]:
    """Gives a file or folder beside the checkout that the project does not ship; skips, by name and reason, where it is absent."""

    def find(name: str) -> Path:
        path = repository.parent / "shared" / name
        if not path.exists():
            pytest.skip(f"../shared/{name} is absent")
        return path

    return find


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Running]:
    """The one running installation of a test run: simulated, of both use cases, on free ports. It takes most of a minute to start.

    Who kills a part of it waits until it is whole again.
    """
    folder = tmp_path_factory.mktemp("installation") / "state"
    own = {name: value for name, value in os.environ.items() if not name.startswith("OFFERLOOP_")}
    path = os.pathsep.join([str(repository), *filter(None, [os.environ.get("PYTHONPATH")])])
    signed_off = {"OFFERLOOP_APPROVERS__GAME_PROMOTION": "alice"}
    environment = own | CLOCK | PORTS | signed_off | {"OFFERLOOP_STATE": str(folder), "PYTHONPATH": path}
    running = Running(folder, environment)
    try:
        running.up()
        yield running
    finally:
        running.end()
