"""Expected sizes of rewards."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.severity import expected_sizes, smoothed


def test_alike_candidates_share_the_mean_of_all() -> None:
    rewards = np.array([0.0, 2.0, 8.0, 0.0, 2.0, 8.0])
    actions = np.array([0, 0, 0, 1, 1, 1])
    assert expected_sizes(rewards, actions, 2).round(9).tolist() == [5.0, 5.0]


def test_candidates_of_different_price_keep_their_own() -> None:
    rewards = np.tile([9.9, 10.1, 99.0, 101.0], 50)
    actions = np.tile([0, 0, 1, 1], 50)
    cheap, dear = expected_sizes(rewards, actions, 2)
    assert abs(cheap - 10) < 0.2 and abs(dear - 100) < 2


def test_a_single_large_purchase_moves_little() -> None:
    rng = np.random.default_rng(1)
    rewards = np.append(rng.lognormal(0.0, 1.0, 200), 30.0)
    actions = np.append(np.arange(200) % 2, 2)
    sizes = expected_sizes(rewards, actions, 3)
    assert sizes[2] < 4 * sizes[0]


def test_a_candidate_without_a_reward_gets_the_mean_and_no_rewards_give_ones() -> None:
    assert expected_sizes(np.array([4.0, 4.0]), np.array([0, 0]), 2).tolist() == [4.0, 4.0]
    assert expected_sizes(np.zeros(3), np.array([0, 1, 0]), 2).tolist() == [1.0, 1.0]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.one_of(st.just(0.0), st.floats(0.01, 1e6))),
        min_size=1,
        max_size=60,
    )
)
def test_smoothing_keeps_who_bought_and_what_was_earned_in_all(rows: list[tuple[int, float]]) -> None:
    actions = np.array([action for action, _ in rows])
    rewards = np.array([reward for _, reward in rows])
    made = smoothed(rewards, actions, expected_sizes(rewards, actions, 4))
    assert ((made > 0) == (rewards > 0)).all()
    assert np.isclose(made.sum(), rewards.sum())
