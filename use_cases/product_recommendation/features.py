"""What is known when a product is about to be shown: the place on the page, and classes of the visitor that the shop gives no names.

All of it comes with the request, since the data knows no visitor again.
"""

from features.definitions import Entity
from features.vocabulary import feature_set, request

PLACES = 3

CLASSES = (
    ("cef3390e", "81ce123c", "4ae385d7"),
    ("03a5648a", "2d03db55", "f1c2d6a3", "6ff54aa8", "8b506218"),
    ("2723d2eb", "c2e4f76c", "7bc94a2d", "9b2d331c", "719dab53", "302deff1", "9f4e8271", "7ae37150", "c7cce490"),
    ("9bde591f", "c39b0c7d", "f97571b9", "06128286", "05b76f5e", "270b3e1c", "3aef83d3", "1f5491ca", "c9dce82b"),
)
"""Of `user_feature_0` to `3`: the first eight digits of the published hashes, the most frequent first."""

FEATURES = feature_set(
    "product_recommendation",
    request("position", name="place", description="Place on the page: 1 left, 2 middle, 3 right."),
    *(
        request(f"user_{number}", name=f"visitor_{number}", categories=classes, description=f"Class of the visitor, user_feature_{number}.")
        for number, classes in enumerate(CLASSES)
    ),
    entity=Entity("profile", "Visitors of whom the same is known."),
)
