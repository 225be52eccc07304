"""The use case of the game: its catalogue, its features, and that they fit each other."""

from itertools import product
from typing import TypeAlias

import numpy as np
import pytest

from contracts.catalogue import NO_ACTION
from contracts.clock import DAY_US, HOUR_US
from contracts.records import Event, FieldValue
from decisions.eligibility import Eligibility
from features.definitions import FeatureSet
from features.online import OnlineFeatures, retention
from use_cases.game_promotion import USE_CASE
from use_cases.game_promotion.catalogue import MESSAGES, MODES_OF_THEME, PRODUCT_SETS
from use_cases.game_promotion.events import MODES

NOW = 20_000 * DAY_US
FEATURES = USE_CASE.feature_set


Happened: TypeAlias = tuple[int, str, dict[str, FieldValue]]


def features_after(*happened: Happened) -> dict[str, float]:
    """Features now, after events so many hours ago."""
    online = OnlineFeatures(USE_CASE.schema, retention([FEATURES], [USE_CASE.catalogue]))
    state = None
    for number, (hours, kind, fields) in enumerate(happened):
        at = NOW - hours * HOUR_US
        state, _ = online.apply(state, Event(f"e{number}", "p", kind, at, at, 0, fields))
    row = online.read(state, FEATURES, NOW, {})
    return dict(zip(FEATURES.names, row.values.tolist(), strict=True))


def test_catalogue_is_every_set_with_every_message_and_nothing() -> None:
    ids = [candidate.candidate_id for candidate in USE_CASE.catalogue.candidates]
    assert ids == [f"{products.name}:{message.name}" for products, message in product(PRODUCT_SETS, MESSAGES)] + [NO_ACTION]
    assert (len(PRODUCT_SETS), len(MESSAGES)) == (6, 4)


def test_contents_name_the_products() -> None:
    first = USE_CASE.catalogue.candidates[0]
    assert first.content == {"text": "Your first arena pass at a friend's price", "picture": "arena_pass.svg", "price_cents": 499}


def test_every_mode_belongs_to_one_theme() -> None:
    assert sorted(mode for modes in MODES_OF_THEME.values() for mode in modes) == sorted(MODES)
    assert {products.theme for products in PRODUCT_SETS} == set(MODES_OF_THEME)


def test_features_fit_the_events_and_rules_fit_the_features() -> None:
    FEATURES.check(USE_CASE.schema)
    assert FeatureSet.from_json(FEATURES.to_json()) == FEATURES
    Eligibility(USE_CASE.catalogue, FEATURES, USE_CASE.baseline)


def test_a_stranger_may_be_shown_only_what_needs_no_profile() -> None:
    values = list(features_after().values())
    found = Eligibility(USE_CASE.catalogue, FEATURES, USE_CASE.baseline).eligible(values, {}, NOW)
    assert set(found.ids) == {"hint_bundle:welcome", "wardrobe:welcome", NO_ACTION}


def test_tastes_are_shares_of_matches() -> None:
    played: list[Happened] = [
        (hours, "match", {"mode": mode, "won": True}) for hours, mode in ((5, "farm"), (4, "fashion"), (3, "farm"), (2, "duel"))
    ]
    got = features_after(*played)
    assert (got["matches_calm_14d"], got["share_calm"], got["share_rivalry"], got["share_story"]) == (3, 0.75, 0.25, 0.0)
    assert got["favourite"] == list(MODES_OF_THEME).index("calm")
    assert got["seconds_since_match"] == 2 * 3_600


def test_somebody_who_never_played_has_no_taste() -> None:
    got = features_after()
    assert [got[f"share_{theme}"] for theme in MODES_OF_THEME] == [0.25] * 4
    assert got["seconds_since_match"] == 14 * 86_400


def test_money_is_of_four_weeks() -> None:
    spent: list[Happened] = [
        (24 * days, "purchase", {"amount_micros": dollars * 1_000_000, "product_set": "shop"})
        for days, dollars in ((40, 9), (20, 5), (2, 7))
    ]
    got = features_after(*spent)
    assert (got["purchases_28d"], got["spend_28d"], got["dearest_28d"]) == (2, 12_000_000, 7_000_000)
    assert got["seconds_since_purchase"] == 2 * 86_400


def test_fatigue_counts_promotions_and_not_their_absence() -> None:
    shown: list[Happened] = [
        (hours, "decision", {"candidate_id": name, "arm": "champion"})
        for hours, name in ((50, "a:b"), (30, NO_ACTION), (20, "c:d"), (2, NO_ACTION))
    ]
    got = features_after(*shown)
    assert (got["offers_1d"], got["offers_3d"]) == (1, 2)


def test_the_latest_level_and_profile_count() -> None:
    got = features_after(
        (30, "session", {"level": 3}),
        (3, "session", {"level": 4}),
        (20, "profile", {"country": "JP", "platform": "web", "channel": "ads"}),
    )
    assert (got["level"], got["sessions_7d"]) == (4, 2)
    assert (got["country"], got["platform"], got["channel"]) == (2, 2, 1)


@pytest.mark.parametrize("missing", ["country", "platform", "channel"])
def test_without_a_profile_it_is_unknown(missing: str) -> None:
    assert features_after((1, "session", {"level": 2}))[missing] == -1.0
    assert np.isfinite(list(features_after().values())).all()
