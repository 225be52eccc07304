"""The world is as hard as it is meant to be, whatever the seed; and there is something to learn in it."""

import json

import pytest

from simulator.facts import Facts, look, main

SEEDS = (1, 2, 3, 11, 12)


@pytest.fixture(scope="module")
def facts() -> list[Facts]:
    return [look(seed, 10_000) for seed in SEEDS]


def test_few_buy(facts: list[Facts]) -> None:
    for one in facts:
        assert 0.015 < one.conversion_control < 0.025
        assert 0.02 < one.conversion_random < 0.04
        assert 0.05 < one.conversion_oracle < 0.075


def test_spend_is_skewed(facts: list[Facts]) -> None:
    for one in facts:
        assert one.spend_mean > 1.05 * one.spend_median
        assert one.spend_p99 > 2.2 * one.spend_median


def test_about_half_of_the_catalogue_is_eligible(facts: list[Facts]) -> None:
    for one in facts:
        assert 10 <= one.standing.eligible <= 14


def test_the_best_single_candidate_goes_less_than_most_of_the_way(facts: list[Facts]) -> None:
    for one in facts:
        assert 0.1 < one.best_single_share <= 0.6
        assert one.standing.control < one.standing.uniform < one.standing.best_single < one.standing.oracle


def test_tastes_drift_but_slowly(facts: list[Facts]) -> None:
    for one in facts:
        assert 0.8 < one.taste_kept < 0.999


def test_the_command_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "5", "--decisions", "2000"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split()[0] == "5"
    assert json.loads(printed[-1])["ok"] is True
