"""The catalogue: digests and refusals."""

import pytest

from contracts.catalogue import Candidate, Catalogue, Rule
from contracts.errors import DefinitionError

HAT = Candidate("hat", {"theme": "style"}, (Rule("level", ">=", 3),))
NONE = Candidate("none", {"theme": "none"})


def test_a_changed_rule_changes_the_digest() -> None:
    changed = Candidate("hat", {"theme": "style"}, (Rule("level", ">=", 4),))
    assert Catalogue((HAT, NONE)).digest == Catalogue((HAT, NONE)).digest != Catalogue((changed, NONE)).digest
    assert Catalogue((HAT, NONE)).index == {"hat": 0, "none": 1}


def test_a_catalogue_of_an_older_log_keeps_its_digest() -> None:
    old = Catalogue((Candidate("none", {"price": 0}), Candidate("a", {"price": 1}, (Rule("level", ">=", 5),), {"t": "x"}, 5)))

    assert old.digest == "285197468ddda77212f1158a9971845d191e62b95ebc92f7c7d759c3f4c44f0d"
    assert old.cooldowns_us == (0, 5)


def test_dates_are_part_of_the_digest() -> None:
    assert Catalogue((NONE,)).digest != Catalogue((Candidate("none", {"theme": "none"}, valid_until_us=5),)).digest


def test_dates_that_end_before_they_begin_are_refused() -> None:
    with pytest.raises(DefinitionError, match="valid from 9 until 9"):
        Candidate("hat", {}, valid_from_us=9, valid_until_us=9)


@pytest.mark.parametrize("candidates", [(), (HAT, HAT), (HAT, Candidate("none", {"price": 1}))])
def test_a_wrong_catalogue_is_refused(candidates: tuple[Candidate, ...]) -> None:
    with pytest.raises(DefinitionError):
        Catalogue(candidates)
