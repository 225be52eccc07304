"""Which e-mail, if any, do we send this customer, so that the shop earns most in the two weeks after?"""

from contracts.clock import DAY_US
from decisions.policies import PolicySpec
from use_cases.definition import Gate, Learner, UseCase
from use_cases.email_promotion import catalogue, scenarios
from use_cases.email_promotion.features import CUSTOMER, CUSTOMERS, FEATURES

__all__ = ["USE_CASE"]

USE_CASE = UseCase(
    name="email_promotion",
    title="An e-mail promotion for each customer",
    event_types=(CUSTOMER,),
    attribute_sources=(CUSTOMERS,),
    feature_set=FEATURES,
    catalogue=catalogue.build(),
    start_policy=PolicySpec("uniform"),
    learned_policy=PolicySpec("epsilon_greedy", 0.01),
    outcome_window_us=14 * DAY_US,
    ttl_us=DAY_US,
    control_share=0.05,
    # why: one purchase in a hundred e-mails, of very different size; what looks personal is mostly noise
    learner=Learner(rounds=60, params={"num_leaves": 4, "min_data_in_leaf": 500}),
    # why: a wrong e-mail is undone by the next one, while not to send the better one costs as much a customer as the shop earns on it; but
    # differences between people must be clear, since of a hundred purchases in the data there are always some that look personal
    gate=Gate(confidence=0.8, personalise_confidence=0.99),
    split="entity",
    scenarios=scenarios.build(),
)
