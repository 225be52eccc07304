"""Why a release gives a candidate its score, in words for people."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from decisions.contributions import Contribution, Link, contributions
from decisions.matrix import CANDIDATE_PREFIX, MATCHED_PREFIX, Floats
from features.reading import brief
from serving.live import Release

MOST_REASONS = 8
"""Contributions that are told one by one; the rest is summed."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What one column of the model adds to a candidate's score.

    Attributes:
        column: of the model. `name`: what it is, in words. `text`: its value as people read it.
        amount: that it adds to the sum behind the score.
        factor: by which it multiplies the score, where it does (a log link); else None.
    """

    column: str
    name: str
    text: str
    amount: float
    factor: float | None


@dataclass(frozen=True, slots=True)
class Why:
    """Why a candidate has its score: `base` + amounts of `reasons` + `rest` = `raw`.

    Attributes:
        reasons: the strongest, so many as were asked for. `rest`: the sum of the amounts of the `others` that are not told.
        words: how to read the amounts.
    """

    base: float
    reasons: tuple[Reason, ...]
    rest: float
    others: int
    raw: float
    score: float
    link: Link
    words: str


_WORDS: Mapping[Link, str] = {
    "log": (
        "The model sums logarithms, so each column multiplies the expected reward: +0.10 makes it 1.105 times as large, "
        "−0.10 makes it 0.905 times. All of them times the base are the expected reward."
    ),
    "identity": "Each column adds so much to the expected reward. All of them and the base sum to it.",
    "other": "Each column adds so much to a sum, from which the expected reward follows by a function of the model's own.",
}


def why_scored(release: Release, values: Floats, candidate_id: str, most: int = MOST_REASONS) -> Why | None:
    """Why a release gives a candidate its score; None where its scores do not follow from features.

    Args:
        release: made ready, as by `serving.live.load_release`.
        values: (n,) its features of the entity.
        candidate_id: of its catalogue.
        most: reasons that are told one by one.
    """
    catalogue = release.runtime.catalogue
    position = catalogue.index[candidate_id]
    found = contributions(release.runtime, values, position)
    if found is None:
        return None
    told, others = found.strongest[:most], found.strongest[most:]
    return Why(
        base=found.base,
        reasons=tuple(_reason(release, position, one, found.link) for one in told),
        rest=sum(one.amount for one in others),
        others=len(others),
        raw=found.raw,
        score=found.score,
        link=found.link,
        words=_WORDS[found.link],
    )


def _reason(release: Release, position: int, one: Contribution, link: Link) -> Reason:
    candidate = release.runtime.catalogue.candidates[position]
    name, text = one.column, ""
    if one.column in release.feature_set.names:
        text = brief(release.feature_set, one.column, one.value)
    elif one.column.startswith(CANDIDATE_PREFIX):
        own = one.column.removeprefix(CANDIDATE_PREFIX)
        name, text = f"the candidate's {own}", str(candidate.attributes[own])
    else:
        own = one.column.removeprefix(MATCHED_PREFIX)
        feature = candidate.matched[own]
        name = f"the candidate's own {own}" + (f": {feature}" if feature else "")
        text = brief(release.feature_set, feature, one.value) if feature else "absent"
    return Reason(one.column, name, text, one.amount, math.exp(one.amount) if link == "log" else None)
