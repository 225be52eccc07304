"""How much traffic the month of the simulated game has, and where pictures of pages go."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long form: `make test ARGS="tests/loop/test_thirty_days.py --players 400 --traffic-seed 7"`."""
    parser.addoption("--screenshots", type=Path, help="folder for pictures of the pages that the release in the browser passes")
    parser.addoption("--players", type=int, default=40, help="players of the month of simulated traffic, at its start")
    parser.addoption("--traffic-seed", type=int, default=30, help="seed of the month of simulated traffic")
