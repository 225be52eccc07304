"""Visitors and places on which people look at a release before they sign it off."""

from use_cases.definition import Scenario
from use_cases.product_recommendation.features import CLASSES, PLACES


def build() -> tuple[Scenario, ...]:
    """The most frequent visitor at each place of the page, the second most frequent, and one of whom the request says nothing."""
    places = ("left", "in the middle", "right")
    frequent = (
        Scenario(
            f"frequent_{position}",
            f"Most frequent visitor, {places[position - 1]}",
            f"Of each class the most frequent, at place {position} of the page.",
            context={"position": position, **{f"user_{number}": classes[0] for number, classes in enumerate(CLASSES)}},
        )
        for position in range(1, PLACES + 1)
    )
    second = {f"user_{number}": classes[1] for number, classes in enumerate(CLASSES)}
    return (
        *frequent,
        Scenario("second", "Second most frequent visitor", "Of each class the second most frequent.", context={"position": 1, **second}),
        Scenario("stranger", "Stranger", "The request says nothing of the visitor."),
    )
