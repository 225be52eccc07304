"""Who the players are."""

import numpy as np

from contracts.clock import DAY_US
from simulator.people import create, mode_mix
from simulator.settings import THEMES, WorldSettings
from tests.simulator.conftest import START_US
from use_cases.game_promotion.catalogue import MODES_OF_THEME
from use_cases.game_promotion.events import COUNTRIES, MODES

SETTINGS = WorldSettings(players=20_000, horizon_days=10)


def test_those_to_come_join_within_the_horizon() -> None:
    people = create(SETTINGS, START_US, np.random.default_rng(1))
    days = (people.joined_us - START_US) / DAY_US
    assert (days[:20_000] <= 0).all()
    assert ((days[20_000:] >= 0) & (days[20_000:] <= 10)).all()
    assert len(people.names) == len(set(people.names)) == 20_000 + 4_000


def test_the_hidden_taste_is_not_in_the_profile() -> None:
    people = create(SETTINGS, START_US, np.random.default_rng(2))
    overall = np.bincount(people.segment, minlength=len(THEMES)) / len(people.segment)
    for country in range(len(COUNTRIES)):
        own = np.bincount(people.segment[people.country == country], minlength=len(THEMES)) / (people.country == country).sum()
        assert np.abs(own - overall).max() < 0.04


def test_the_hidden_taste_is_in_the_mix_of_modes() -> None:
    segment = np.repeat(np.arange(len(THEMES)), 500)
    mix = mode_mix(SETTINGS, segment, np.random.default_rng(3))
    np.testing.assert_allclose(mix.sum(axis=1), 1.0)
    played = np.stack([mix[:, np.isin(MODES, MODES_OF_THEME[theme])].mean(axis=1) for theme in THEMES], axis=1)
    assert 0.8 < (played.argmax(axis=1) == segment).mean() < 1.0


def test_a_seed_decides_which_taste_is_the_largest() -> None:
    largest = {int(np.bincount(create(SETTINGS, START_US, np.random.default_rng(seed)).segment).argmax()) for seed in range(12)}
    assert len(largest) > 1
