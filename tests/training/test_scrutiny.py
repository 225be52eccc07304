"""Features that cannot have been known betray themselves."""

from dataclasses import replace

import numpy as np

from tests.training.conftest import Made
from training.dataset import TrainingSet
from training.scrutiny import leaks


def with_hour(training_set: TrainingSet, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> TrainingSet:
    """The same, where the feature `hour` has other values."""
    features = training_set.features.copy()
    features[:, 2] = values
    return replace(training_set, features=features)


def test_features_known_before_do_not(made: Made) -> None:
    assert [leaks(made(seed=seed)) for seed in range(20)] == [()] * 20


def test_what_followed_the_draw_depends_on_it(made: Made) -> None:
    shop = made()
    noise = np.random.default_rng(1).normal(size=len(shop))

    (found,) = leaks(with_hour(shop, noise + 0.5 * (shop.action == 1)))

    assert (found.feature, found.candidate) == ("hour", "blue")
    assert found.z > 6.0


def test_the_reward_itself_is_too_good_to_be_true(made: Made) -> None:
    shop = made()

    (found,) = leaks(with_hour(shop, shop.reward))

    assert found.feature == "hour"
    assert found.auc > 0.99


def test_what_depends_on_who_could_be_shown_what_is_no_leak(made: Made) -> None:
    shop = made()
    eligible = shop.eligible.copy()
    eligible[:, 0] = (shop.features[:, 0] == 0.0) | (shop.action == 0)
    shares = eligible / eligible.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(2)
    action = (shares.cumsum(axis=1) > rng.random((len(shop), 1))).argmax(axis=1)
    drawn = replace(shop, eligible=eligible, p_in_arm=shares, action=np.where(shop.control, shop.action, action))

    assert leaks(drawn) == ()
