"""A real PostgreSQL server for tests, which are skipped where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import postgresql
from bench.postgresql import USER, Server
from contracts.errors import ToolMissing

__all__ = ["USER", "Server", "running"]


@contextmanager
def running(port: int) -> Iterator[Server]:
    """Run until the block ends; skip the test where there is none."""
    try:
        with postgresql.running(port) as server:
            yield server
    except ToolMissing as error:
        pytest.skip(str(error))
