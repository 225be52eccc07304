"""A short form of R4: every way of tampering twice."""

from pathlib import Path

from bench.made_releases import made
from bench.mutated import USE_CASE, attack
from bench.mutations import MUTATIONS
from use_cases.definition import load


def test_no_mutated_bundle_is_let_in_and_the_old_release_goes_on(tmp_path: Path) -> None:
    use_case = load(USE_CASE)
    first, second = (made(use_case, number, trees=10, leaves=7) for number in (0, 2))
    found = attack(first, second, tmp_path, 2 * len(MUTATIONS), seed=7)
    assert found.ways.total() == 40
    assert (found.taken, found.wrong, found.executed, found.silent, found.broken) == ([], [], [], [], [])
    assert found.genuine
    assert found.answers > 40
    assert all(found.reasons.values())
