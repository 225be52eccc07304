"""Which product do we show at this place of the page, so that most are clicked on?"""

from contracts.clock import DAY_US, HOUR_US
from decisions.policies import PolicySpec
from use_cases.definition import Gate, Learner, UseCase
from use_cases.product_recommendation import catalogue, scenarios
from use_cases.product_recommendation.features import FEATURES

__all__ = ["USE_CASE"]

USE_CASE = UseCase(
    name="product_recommendation",
    title="A product for each place of the page",
    event_types=(),
    feature_set=FEATURES,
    catalogue=catalogue.build(),
    baseline=catalogue.BASELINE,
    start_policy=PolicySpec("uniform"),
    learned_policy=PolicySpec("epsilon_greedy", 0.1),
    outcome_window_us=DAY_US,
    ttl_us=HOUR_US,
    control_share=0.05,
    # why: five clicks in a thousand; few rows a product
    learner=Learner(rounds=60, params={"num_leaves": 4, "min_data_in_leaf": 200, "min_sum_hessian_in_leaf": 5.0}),
    # why: a product that is shown for nothing costs little, and is replaced by the next release
    gate=Gate(confidence=0.8, personalise_confidence=0.95),
    reward_unit="clicks",
    reward_scale=1,
    scenarios=scenarios.build(),
)
