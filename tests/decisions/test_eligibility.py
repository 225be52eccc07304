import math
import operator
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalogue import ANY, NO_ACTION, Candidate, Catalogue, Limit, Rule
from contracts.clock import DAY_US
from contracts.errors import DefinitionError
from decisions.eligibility import Eligibility
from features.definitions import FeatureSet

DE, US, FR, UNKNOWN = 0.0, 1.0, 2.0, -1.0


@pytest.mark.parametrize(
    "level, country, shown, expected",
    [
        (9, DE, {}, (NO_ACTION, "gems", "gems_dear", "coins")),
        (5, US, {}, (NO_ACTION, "gems", "gems_dear", "coins")),
        (4, US, {}, (NO_ACTION, "gems", "coins")),
        (1, FR, {}, (NO_ACTION, "gems")),
        (1, UNKNOWN, {}, (NO_ACTION, "gems")),
        (math.nan, US, {}, (NO_ACTION, "gems", "coins")),
        (9, DE, {"coins": [10 * DAY_US]}, (NO_ACTION, "gems", "gems_dear")),
        (9, DE, {"coins": [8 * DAY_US, 9 * DAY_US + 1]}, (NO_ACTION, "gems", "gems_dear")),
        (9, DE, {"coins": [9 * DAY_US], "gems": [10 * DAY_US], "withdrawn": [0]}, (NO_ACTION, "gems", "gems_dear", "coins")),
    ],
)
def test_rules_and_cool_downs(
    catalogue: Catalogue, features: FeatureSet, level: float, country: float, shown: dict[str, list[int]], expected: tuple[str, ...]
) -> None:
    found = Eligibility(catalogue, features, NO_ACTION).eligible([level, country, 0.0], shown, 10 * DAY_US)

    assert found.ids == expected
    assert [catalogue.candidates[position].candidate_id for position in found.positions] == list(expected)


def test_dates(features: FeatureSet) -> None:
    offers = (
        Candidate("autumn", {}, valid_until_us=20),
        Candidate("winter", {}, valid_from_us=20, valid_until_us=30),
        Candidate("spring", {}, (Rule("level", ">=", 5),), valid_from_us=25),
    )
    eligibility = Eligibility(Catalogue((Candidate(NO_ACTION, {}), *offers)), features, NO_ACTION)

    found = {at_us: eligibility.eligible([5.0, DE, 0.0], {}, at_us).ids[1:] for at_us in (0, 19, 20, 25, 30)}

    assert found == {0: ("autumn",), 19: ("autumn",), 20: ("winter",), 25: ("winter", "spring"), 30: ("spring",)}


@pytest.mark.parametrize(
    "shown, expected",
    [
        ({}, ("red", "blue", "hat")),
        ({"red": [80]}, ("blue", "hat")),
        ({"red": [70]}, ("red", "blue", "hat")),
        ({"blue": [40, 75]}, ("red", "hat")),
        ({"red": [60], "blue": [75]}, ("red", "hat")),
        ({"red": [60], "blue": [50]}, ("red", "blue", "hat")),
        ({"hat": [0, 41, 42, 43]}, ("red", "blue", "hat")),
        ({"hat": [41, 42, 43, 44]}, ()),
        ({"red": [10], "blue": [20], "hat": [1, 2]}, ()),
        ({"red": [10], "blue": [20], "hat": [0], NO_ACTION: [30, 40, 50, 60]}, ("red", "blue", "hat")),
    ],
)
def test_limits_of_itself_of_a_group_and_of_all(features: FeatureSet, shown: dict[str, list[int]], expected: tuple[str, ...]) -> None:
    gems, everything = Limit(2, 50, "gems"), Limit(4, 100, ANY)
    offers = (
        Candidate("red", {}, groups=("gems",), limits=(Limit(1, 30), everything)),
        Candidate("blue", {}, groups=("gems",), limits=(gems, Limit(1, 50), everything)),
        Candidate("hat", {}, limits=(everything,)),
    )
    eligibility = Eligibility(Catalogue((Candidate(NO_ACTION, {}), *offers)), features, NO_ACTION)

    assert eligibility.eligible([1.0, DE, 0.0], shown, 100).ids[1:] == expected
    assert eligibility.looks_back_us == 100


limits = st.lists(st.builds(Limit, st.integers(1, 3), st.integers(1, 12), st.sampled_from(["", ANY, "red", "blue"])), max_size=3)


@given(
    offers=st.lists(st.tuples(st.lists(st.sampled_from(["red", "blue"]), max_size=2, unique=True), limits), min_size=1, max_size=12),
    shows=st.lists(st.tuples(st.integers(-1, 11), st.integers(0, 20)), max_size=12),
)
def test_limits_say_what_counting_one_by_one_says(
    features: FeatureSet, offers: list[tuple[list[str], list[Limit]]], shows: list[tuple[int, int]]
) -> None:
    made = [Candidate(f"c{at}", {}, groups=tuple(groups), limits=tuple(own)) for at, (groups, own) in enumerate(offers)]
    both = Candidate("rest", {}, (Rule("level", "<", 0),), groups=("red", "blue"))
    eligibility = Eligibility(Catalogue((Candidate(NO_ACTION, {}), both, *made)), features, NO_ACTION)
    said = [(NO_ACTION if at < 0 else f"c{at}", time) for at, time in sorted(shows, key=lambda show: show[1])]
    shown: dict[str, list[int]] = {}
    for name, time in said:
        shown.setdefault(name, []).append(time)
    groups_of = {candidate.candidate_id: candidate.groups for candidate in made}

    def counts(limit: Limit, own: str, name: str) -> bool:
        return name == own if not limit.group else name in groups_of and (limit.group == ANY or limit.group in groups_of[name])

    expected = [
        candidate.candidate_id
        for candidate in made
        if all(
            sum(counts(limit, candidate.candidate_id, name) and 20 - time < limit.window_us for name, time in said) < limit.most
            for limit in candidate.limits
        )
    ]

    assert list(eligibility.eligible([1.0, DE, 0.0], shown, 20).ids) == [NO_ACTION, *expected]


def test_what_is_withheld_is_shown_to_nobody_but_the_fallback(catalogue: Catalogue, features: FeatureSet) -> None:
    eligibility = Eligibility(catalogue, features, NO_ACTION)

    assert eligibility.eligible([9.0, DE, 0.0], {}, 0, ("gems", "withdrawn", NO_ACTION)).ids == (NO_ACTION, "gems_dear", "coins")


def test_every_reason_is_given(features: FeatureSet) -> None:
    offers = (
        Candidate("late", {}, (Rule("country", "in", ("DE", "US")), Rule("level", ">=", 5)), valid_until_us=DAY_US, cooldown_us=3 * DAY_US),
        Candidate("early", {}, groups=("gems",), limits=(Limit(2, 2 * DAY_US, "gems"),), valid_from_us=9 * DAY_US),
        Candidate("now", {}),
    )
    eligibility = Eligibility(Catalogue((Candidate(NO_ACTION, {}, (Rule("level", "<", 0),)), *offers)), features, NO_ACTION)

    found = eligibility.reasons([1.0, FR, 0.0], {"late": [2 * DAY_US], "early": [DAY_US + 1, 2 * DAY_US]}, 3 * DAY_US, ("now", NO_ACTION))

    assert found == {
        "late": (
            "rule country in DE or US does not hold",
            "rule level >= 5 does not hold",
            "valid only until 1970-01-02T00:00:00+00:00",
            "limit 1 of itself in 72 h is used up",
        ),
        "early": ("valid only from 1970-01-10T00:00:00+00:00", "limit 2 of `gems` in 48 h is used up"),
        "now": ("withheld by the traffic plan",),
    }


def test_the_fallback_is_eligible_whatever_its_rules(features: FeatureSet) -> None:
    never = (Rule("level", "<", 0),)
    with_none = Catalogue((Candidate("mail", {"kind": 1}, rules=never), Candidate(NO_ACTION, {"kind": 0}, rules=never)))
    without = Catalogue((Candidate("mail", {"kind": 1}, rules=never), Candidate("letter", {"kind": 0}, rules=never, cooldown_us=5)))

    assert Eligibility(with_none, features, "mail").eligible([1.0, DE, 0.0], {}, 0).ids == (NO_ACTION,)
    assert Eligibility(without, features, "letter").eligible([1.0, DE, 0.0], {"letter": [0]}, 1).ids == ("letter",)


OPERATORS = {"<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">=": operator.ge, ">": operator.gt}
NumericOp = Literal["<", "<=", "==", "!=", ">=", ">"]

numeric_rules = st.builds(Rule, st.sampled_from(["level", "spend_7d"]), st.sampled_from(sorted(OPERATORS)), st.integers(-3, 3))
candidates = st.lists(st.tuples(st.lists(numeric_rules, max_size=3), st.integers(0, 5)), min_size=1, max_size=70)


@given(offers=candidates, level=st.integers(-4, 4), spend=st.integers(-4, 4), shown=st.dictionaries(st.integers(0, 70), st.integers(0, 10)))
def test_masks_say_what_the_rules_say_one_by_one(
    features: FeatureSet, offers: list[tuple[list[Rule], int]], level: int, spend: int, shown: dict[int, int]
) -> None:
    made = tuple(Candidate(f"c{at}", {"x": at}, tuple(rules), cooldown_us=cooldown) for at, (rules, cooldown) in enumerate(offers))
    catalogue = Catalogue((Candidate(NO_ACTION, {"x": -1}), *made))
    last = {f"c{at}": [time] for at, time in shown.items()}
    values: dict[str, Any] = {"level": float(level), "spend_7d": float(spend)}

    expected = [
        candidate.candidate_id
        for candidate in made
        if all(OPERATORS[rule.op](values[rule.feature], rule.value) for rule in candidate.rules)
        and not 10 - last.get(candidate.candidate_id, [-1_000])[0] < candidate.cooldown_us
    ]

    assert Eligibility(catalogue, features, NO_ACTION).eligible([float(level), DE, float(spend)], last, 10).ids == (NO_ACTION, *expected)


dated_offers = st.lists(
    st.builds(
        lambda rules, start, end: (rules, start, None if end is None else start + end),
        st.lists(numeric_rules | st.just(Rule("country", "in", ("DE", "FR"))) | st.just(Rule("country", "not in", ("US",))), max_size=3),
        st.integers(0, 9),
        st.none() | st.integers(1, 9),
    ),
    min_size=1,
    max_size=40,
)
entities = st.lists(
    st.tuples(st.integers(-4, 4).map(float) | st.just(math.nan), st.sampled_from([DE, US, FR, UNKNOWN]), st.integers(0, 20)), max_size=20
)


@given(offers=dated_offers, rows=entities)
def test_many_entities_at_once_are_allowed_the_same(
    features: FeatureSet, offers: list[tuple[list[Rule], int, int | None]], rows: list[tuple[float, float, int]]
) -> None:
    made = [Candidate(f"c{at}", {}, tuple(rules), valid_from_us=start, valid_until_us=end) for at, (rules, start, end) in enumerate(offers)]
    eligibility = Eligibility(Catalogue((*made, Candidate(NO_ACTION, {}, (Rule("level", "<", 0),)))), features, NO_ACTION)
    values = np.array([(level, country, 1.0) for level, country, _ in rows]).reshape(-1, 3)

    together = eligibility.by_rules(values, np.array([at_us for _, _, at_us in rows], dtype=np.int64))

    assert together.shape == (len(rows), len(made) + 1)
    for allowed, own, (_, _, at_us) in zip(together, values, rows, strict=True):
        assert np.flatnonzero(allowed).tolist() == eligibility.eligible(own.tolist(), {}, at_us).positions.tolist()


def test_the_same_set_is_made_once_and_the_memory_for_sets_is_bounded(features: FeatureSet) -> None:
    offers = tuple(Candidate(f"c{at}", {"x": at}, cooldown_us=1) for at in range(13))
    eligibility = Eligibility(Catalogue((Candidate(NO_ACTION, {"x": -1}), *offers)), features, NO_ACTION)
    first = eligibility.eligible([1.0, DE, 0.0], {}, 0)
    assert eligibility.eligible([2.0, US, 0.0], {}, 0) is first

    for mask in range(2**13):
        shown = {f"c{at}": [0] for at in range(13) if mask >> at & 1}
        assert len(eligibility.eligible([1.0, DE, 0.0], shown, 0).ids) == 14 - len(shown)


@pytest.mark.parametrize(
    "rule, reason",
    [
        (Rule("levle", ">", 3), "names no feature.*Known: level, country"),
        (Rule("level", "==", "DE"), "compares the number `level` with text"),
        (Rule("level", "in", ("DE",)), "compares the number `level` with text"),
        (Rule("country", "<", "DE"), "compares the category `country` by size"),
        (Rule("country", "==", "XX"), "unknown category.*XX.*Known: DE, US, FR"),
        (Rule("country", "==", 1), "unknown category"),
        (Rule("country", "in", "DE"), "is malformed"),
        (Rule("country", "!=", ("DE",)), "is malformed"),
    ],
    ids=str,
)
def test_a_rule_that_cannot_be_meant_is_refused(features: FeatureSet, rule: Rule, reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        Eligibility(Catalogue((Candidate(NO_ACTION, {}, (rule,)),)), features, NO_ACTION)


@pytest.mark.parametrize("rule, allowed", [(Rule("country", "==", "US"), [US]), (Rule("country", "!=", "US"), [DE, FR, UNKNOWN]),
                                           (Rule("country", "not in", ("US", "FR")), [DE, UNKNOWN])], ids=str)  # fmt: skip
def test_categories_are_compared_by_name(features: FeatureSet, rule: Rule, allowed: list[float]) -> None:
    eligibility = Eligibility(Catalogue((Candidate(NO_ACTION, {}), Candidate("offer", {}, (rule,)))), features, NO_ACTION)

    assert [code for code in (DE, US, FR, UNKNOWN) if "offer" in eligibility.eligible([1.0, code, 0.0], {}, 0).ids] == allowed
