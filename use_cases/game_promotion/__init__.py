"""Which promotion to show a player of a casual game, now, so that revenue is highest."""

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from decisions.policies import PolicySpec
from use_cases.definition import CanaryStep, Gate, Learner, Rollout, UseCase
from use_cases.game_promotion import catalogue, events, features, scenarios

__all__ = ["USE_CASE"]

USE_CASE = UseCase(
    name="game_promotion",
    title="Promotions in a casual game",
    event_types=events.EVENT_TYPES,
    attribute_sources=(events.PROFILES,),
    feature_set=features.build(),
    catalogue=catalogue.build(),
    start_policy=PolicySpec("uniform"),
    learned_policy=PolicySpec("inverse_gap", epsilon=0.02, gamma_scale=2.0, explore_new=0.3, new_below=30),
    outcome_window_us=4 * HOUR_US,
    ttl_us=30 * MINUTE_US,
    control_share=0.13,
    learner=Learner(rounds=120, params={"objective": "tweedie", "num_leaves": 7, "min_sum_hessian_in_leaf": 100.0}, sizes="as_earned"),
    # why: who buys is hard to foretell here (no honest feature comes above 0.6 alone)
    gate=Gate(slices=("country", "platform"), too_good=0.75),
    # why: half a day sees both ends of the world awake, and a day all of it
    rollout=Rollout((CanaryStep(0.05, at_least_us=12 * HOUR_US, decisions=60), CanaryStep(0.25, at_least_us=DAY_US, decisions=200))),
    scenarios=scenarios.build(),
)
