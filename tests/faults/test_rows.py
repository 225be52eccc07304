"""Short forms of the rows of reliability, each on an installation of its own: `make target ROW=R1` is the long form."""

import shlex

import pytest

from bench.target import find, table

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ("R1", "--seconds 15 --every 7 --rate 100"),
        ("R6", "--entities 12 --map-mib 12"),
        ("R7", "--points 40"),
    ],
)
def test_a_row_of_the_targets_in_short(row: str, options: str) -> None:
    measured = find(row)(shlex.split(options))
    assert measured.ok, table(measured)
