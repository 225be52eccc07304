"""Use cases are found by name, and a wrong one is told what is wrong."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from contracts.errors import DefinitionError, NotFound
from contracts.events import FieldType
from decisions.rewards import Outcomes, RewardSource
from tests.use_cases.conftest import Copy, load_copy
from use_cases.definition import AttributeSource, CanaryStep, Happening, Rollout, Scenario, UseCase, load, load_all
from use_cases.game_promotion import USE_CASE


def test_use_cases_are_loaded_by_the_name_of_their_folder() -> None:
    assert load("game_promotion") is USE_CASE
    assert list(load_all(("game_promotion", "email_promotion"))) == ["game_promotion", "email_promotion"]


def test_an_installation_says_who_signs_off() -> None:
    loaded = load_all(("game_promotion", "email_promotion"), {"game_promotion": ["alice"]})
    assert {name: use_case.approvers for name, use_case in loaded.items()} == {"game_promotion": ("alice",), "email_promotion": ()}
    with pytest.raises(NotFound, match="use case of the setting `approvers` `game` is not known"):
        load_all(("game_promotion",), {"game": ["alice"]})


@pytest.mark.parametrize("name", ["nothing_like_it", "../game_promotion", "", "os.path"])
def test_an_unknown_name_is_not_found(name: str) -> None:
    with pytest.raises(NotFound):
        load(name)


def test_a_folder_without_a_use_case_of_its_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match="USE_CASE"):
        load("definition")


GOOD_LINE = '    _customer.number("newbie", description="New in the past year."),\n'


@pytest.fixture
def copied(copy: Copy) -> Path:
    """The features.py of a copy."""
    return copy("email_promotion")


def test_a_copy_with_nothing_wrong_is_loaded(copied: Path) -> None:
    assert load_copy().feature_set.digest == load("email_promotion").feature_set.digest


@pytest.mark.parametrize(
    "start_policy, said",
    [
        ('PolicySpec("ranked", order=("men",))', "order names \\['men'\\]"),
        ('PolicySpec("inverse_gap")', "has no gamma"),
        ('PolicySpec("softmax")', "temperature is 0"),
    ],
)
def test_a_policy_that_cannot_decide_is_refused_at_once(copied: Path, start_policy: str, said: str) -> None:
    file = copied.with_name("__init__.py")
    file.write_text(file.read_text().replace('start_policy=PolicySpec("uniform")', f"start_policy={start_policy}"))

    with pytest.raises(DefinitionError, match=said):
        load_copy()


def test_a_rule_about_an_unknown_feature_is_refused_at_once(copied: Path) -> None:
    file = copied.with_name("catalogue.py")
    file.write_text(
        file.read_text()
        + """
from contracts.catalogue import Rule

def build(made=build):
    first, *others = made().candidates
    return Catalogue((Candidate(first.candidate_id, first.attributes, (Rule("moon", "==", 1),)), *others))
"""
    )

    with pytest.raises(DefinitionError, match="rule moon == 1: names no feature of the feature set"):
        load_copy()


@pytest.mark.parametrize(
    "line, said",
    [
        ('_customer.number("newby"),', "event type `customer` has no field `newby`. Did you mean `newbie`?"),
        ('attributes("custommer").number("newbie"),', "no event type `custommer`. Did you mean `customer`?"),
        ('_customer.number("newbie", defualt=1.0),', "`defualt` of feature `newbie`. Did you mean `default`?"),
        ('_customer.number("newbie", default="no"),', "default is of the wrong kind: Expected `float`, got `str`"),
        (
            '_customer.number("zip_code"),',
            "feature `zip_code` of shop_copy: has no name of its own: it is that of use_cases/shop_copy/features.py:",
        ),
        ('_customer.number("newbie", fallback="last"),', "Say max_age_us too"),
        ("_customer.number(),", "TypeError: Attributes.number() missing 1 required positional argument: 'field'"),
        ("_shopper.number(),", "NameError: name '_shopper' is not defined"),
        ("_customer.number('newbie' 7),", "SyntaxError: invalid syntax"),
        ("*__import__('there_is_no_such_module'),", "ModuleNotFoundError: No module named 'there_is_no_such_module'"),
    ],
)
def test_a_wrong_line_is_named_with_what_to_write_instead(copied: Path, line: str, said: str) -> None:
    text = copied.read_text()
    copied.write_text(text.replace(GOOD_LINE, f"    {line}\n"))
    number = text.splitlines().index(GOOD_LINE.rstrip("\n")) + 1
    with pytest.raises(DefinitionError) as caught:
        load_copy()
    assert str(caught.value).startswith(f"use_cases/shop_copy/features.py:{number}: ") and said in str(caught.value)


def test_an_attribute_source_needs_an_event_type_of_its_name() -> None:
    with pytest.raises(DefinitionError, match="`profil` has no event type of its name. Did you mean `profile`?"):
        replace(USE_CASE, attribute_sources=(AttributeSource("profil", ""),))


@pytest.mark.parametrize("source", [RewardSource("purchases", "amount_micros"), RewardSource("purchase", "product")])
def test_outcomes_come_from_an_integer_field_of_an_event_type(source: RewardSource) -> None:
    with pytest.raises(DefinitionError, match="no integer field of an event type"):
        replace(USE_CASE, outcomes=Outcomes(sources=(source,)))


def test_rewards_are_as_the_use_case_declares_them() -> None:
    decisions = pl.DataFrame({"decision_id": ["a", "b"], "decided_at": [0, 1]})
    sent = pl.DataFrame(
        {"decision_id": ["a", "a"], "event_time": [3, USE_CASE.outcome_window_us], "ingested_time": [3, 3], "reward": [7, -9]}
    )
    use_case = replace(USE_CASE, outcomes=Outcomes(default_reward=-1))

    assert use_case.rewards(decisions, sent, now_us=USE_CASE.outcome_window_us + 1)["reward"].to_list() == [-2, -1]


def test_the_baseline_must_be_a_candidate() -> None:
    with pytest.raises(DefinitionError, match="gold"):
        UseCase(
            name="shop",
            title="",
            event_types=(),
            feature_set=USE_CASE.feature_set,
            catalogue=USE_CASE.catalogue,
            start_policy=USE_CASE.start_policy,
            learned_policy=USE_CASE.learned_policy,
            outcome_window_us=1,
            ttl_us=1,
            baseline="gold",
        )


def test_the_schema_has_all_fields_and_those_of_decisions() -> None:
    columns = USE_CASE.schema.columns
    assert columns["amount_micros"] is FieldType.INT
    assert columns["candidate_id"] is FieldType.STR
    assert list(columns) == sorted(columns)


@pytest.mark.parametrize(
    "happened, said",
    [
        (Happening("purchas", 1, {}), "is 'purchas'; expected one of"),
        (Happening("session", 1, {"level": "high"}), "fields.level` is 'high'; expected an integer"),
        (Happening("session", -1, {"level": 3}), "yet to come"),
    ],
)
def test_a_scenario_whose_history_cannot_have_happened_is_refused(happened: Happening, said: str) -> None:
    with pytest.raises(DefinitionError, match=f"scenario `odd` has an event .*{said}"):
        replace(USE_CASE, scenarios=(Scenario("odd", "Odd", history=(happened,)),))


@pytest.mark.parametrize("names", [("new", "new"), ("New one",), ("",)])
def test_scenarios_have_names_of_their_own(names: tuple[str, ...]) -> None:
    with pytest.raises(DefinitionError, match="Give it a short name of its own"):
        replace(USE_CASE, scenarios=tuple(Scenario(name, "Somebody") for name in names))


def test_a_scenario_may_say_what_was_shown_before() -> None:
    shown = Happening("decision", 1, {"candidate_id": "none", "arm": "champion"})
    assert replace(USE_CASE, scenarios=(Scenario("tired", "Tired", history=(shown,)),)).scenarios[0].history == (shown,)


@pytest.mark.parametrize("shares", [(0.5, 0.1), (0.0, 0.1), (0.1, 1.0), (0.1, 0.1)])
def test_steps_that_do_not_grow_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(DefinitionError, match="each above 0 and below 1"):
        Rollout(tuple(CanaryStep(share) for share in shares))
