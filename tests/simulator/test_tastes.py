"""What players like."""

import numpy as np

from contracts.clock import DAY_US
from simulator.settings import THEMES, WorldSettings
from simulator.tastes import create
from tests.simulator.conftest import START_US

THEMES_OF_SETS = np.array([0, 0, 1, 1, 2, 3])


def test_every_segment_likes_its_own_theme_best() -> None:
    for seed in range(8):
        tastes = create(WorldSettings(), THEMES_OF_SETS, START_US, np.random.default_rng(seed))
        for day in (0, 5, 15):
            segments = np.arange(len(THEMES))
            likings = tastes.likings(segments, np.full(len(segments), START_US + day * DAY_US))
            assert (THEMES_OF_SETS[likings.argmax(axis=1)] == segments).all()


def test_tastes_drift_slowly() -> None:
    tastes = create(WorldSettings(), THEMES_OF_SETS, START_US, np.random.default_rng(1))
    segments = np.arange(len(THEMES))
    now, next_day, later = (np.log(tastes.likings(segments, np.full(4, START_US + day * DAY_US))) for day in (0, 1, 10))
    assert 0 < np.abs(next_day - now).max() < 0.15
    assert np.abs(later - now).max() > 0.15


def test_without_drift_tastes_stay() -> None:
    tastes = create(WorldSettings(drift=0.0), THEMES_OF_SETS, START_US, np.random.default_rng(1))
    segments = np.arange(len(THEMES))
    first, last = (tastes.likings(segments, np.full(4, START_US + day * DAY_US)) for day in (0, 60))
    np.testing.assert_array_equal(first, last)
