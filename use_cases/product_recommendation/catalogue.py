"""The 34 products of the campaign for men, as the Open Bandit Dataset describes them: a number and three classes without names."""

from contracts.catalogue import Candidate, Catalogue

BASELINE = "item-13"
"""What control is shown: the product that the shop's own policy showed most."""

# fmt: off
_ITEMS = (
    (-0.677, 0, 0, 0), (-0.720, 1, 0, 0), (0.746, 1, 1, 1), (-0.699, 2, 2, 2), (1.651, 3, 3, 1), (0.142, 3, 4, 0), (1.651, 0, 5, 1),
    (2.858, 3, 1, 1), (1.349, 3, 6, 1), (1.198, 2, 1, 1), (1.586, 2, 1, 1), (0.444, 0, 7, 3), (1.198, 0, 8, 1), (0.616, 2, 8, 1),
    (-1.001, 2, 9, 0), (-0.375, 0, 10, 2), (-0.591, 0, 11, 2), (-0.699, 2, 11, 2), (-0.914, 1, 11, 2), (-0.763, 1, 11, 2),
    (-0.613, 1, 11, 2), (-0.699, 2, 2, 2), (-0.699, 4, 0, 0), (-0.569, 5, 12, 1), (0.422, 6, 6, 1), (-0.462, 2, 0, 0),
    (0.897, 1, 13, 1), (-0.850, 4, 11, 2), (-1.065, 4, 14, 2), (-0.850, 4, 15, 0), (-0.914, 4, 9, 0), (-0.462, 5, 15, 0),
    (-0.526, 6, 14, 2), (-0.613, 6, 0, 0),
)
# fmt: on
"""Of each item: `item_feature_0`, and the class of `item_feature_1` to `3` in the order in which the classes first stand in the file."""


def item_id(number: int) -> str:
    """Candidate of an item of the data.

    Example:
        >>> item_id(7)
        'item-07'
    """
    return f"item-{number:02d}"


def build() -> Catalogue:
    """The products; everybody may be shown any of them."""
    return Catalogue(
        tuple(
            Candidate(
                item_id(number), {"item": f"i{number}", "level": level, "first": f"a{first}", "second": f"b{second}", "third": f"c{third}"}
            )
            for number, (level, first, second, third) in enumerate(_ITEMS)
        )
    )
