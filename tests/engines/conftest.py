"""How many random histories the engines are asked about, and from which seed they are drawn."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long form: `make test ARGS="tests/engines --histories 10000 --histories-seed 7"`."""
    parser.addoption("--histories", type=int, default=480, help="random histories that all engines are asked about")
    parser.addoption("--histories-seed", type=int, default=20_241_121, help="seed of the random definitions and histories")
