"""What the guide to decisions tells people to write does what it says."""

import re
from pathlib import Path
from typing import Any

import pytest

from contracts.catalogue import Catalogue
from decisions.eligibility import Eligibility
from decisions.policies import build_policy
from features.definitions import FeatureSet

NOW = 1_800_000_000_000_000
DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """The names that the guide's examples define, run one after another."""
    guide = (Path(__file__).parents[2] / "docs/decisions.md").read_text()
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL):
        exec(compile(block, "docs/decisions.md", "exec"), names)
    return names


@pytest.mark.parametrize(
    "level, shown, expected",
    [
        (7.0, {}, ["none", "gems", "gems_of_winter", "hat"]),
        (4.0, {"hat": [NOW - DAY_US]}, ["none", "gems_of_winter", "hat"]),
        (7.0, {"gems": [NOW - DAY_US]}, ["none", "hat"]),
        (7.0, {"gems": [NOW - 3], "hat": [NOW - 2, NOW - 1]}, ["none"]),
    ],
)
def test_the_catalogue_allows_what_it_says(
    said: dict[str, Any], features: FeatureSet, level: float, shown: dict[str, list[int]], expected: list[str]
) -> None:
    catalogue: Catalogue = said["CATALOGUE"]

    assert list(Eligibility(catalogue, features, "none").eligible([level, 1.0, 0.0], shown, NOW).ids) == expected


def test_the_released_policy_explores_the_new_candidate(said: dict[str, Any]) -> None:
    import numpy as np

    policy = build_policy(said["released"], said["CATALOGUE"])

    probabilities = policy.probabilities(np.array([0.0, 0.1, 9.0, 0.05]), np.arange(4))

    assert probabilities[2] == 0.125
    assert probabilities.argmax() == 1
    assert said["OUTCOMES"].credit == "last"
