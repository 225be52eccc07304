"""What is known of a player at the moment of a decision."""

from features.definitions import Derived, Entity, Feature, FeatureSet
from features.expressions import Expression, Number, case, col
from features.vocabulary import attributes, derived, events, feature_set
from use_cases.game_promotion.catalogue import MODES_OF_THEME
from use_cases.game_promotion.events import CHANNELS, COUNTRIES, PLATFORMS

PLAYER = Entity("player", "Someone who plays the game.")

_THEMES = tuple(MODES_OF_THEME)
_MATCHES = {theme: f"matches_{theme}_14d" for theme in _THEMES}

_sessions, _matches, _purchases, _profile = events("session"), events("match"), events("purchase"), attributes("profile")
_offers = events("decision", name="offers").where("candidate_id", "!=", "none")


def build() -> FeatureSet:
    """Tastes (what is played), habits, money, fatigue, profile."""
    return feature_set(
        "game_promotion_v1",
        _tastes(),
        # habits
        _sessions.count(days=7, name="sessions_7d", unit="sessions"),
        _matches.seconds_since_last(days=14, name="seconds_since_match", unit="s"),
        _sessions.last("level", days=28, name="level", default=1.0),
        # money
        _purchases.count(days=28, name="purchases_28d", unit="purchases"),
        _purchases.sum("amount_micros", days=28, name="spend_28d", unit="micro-dollars"),
        _purchases.max("amount_micros", days=28, name="dearest_28d", unit="micro-dollars"),
        _purchases.seconds_since_last(days=28, name="seconds_since_purchase", unit="s"),
        # fatigue
        _offers.count(days=(1, 3), name="{source}_{window}", unit="offers"),
        # profile
        _profile.text("country", COUNTRIES, tags=("pii",)),
        _profile.text("platform", PLATFORMS),
        _profile.text("channel", CHANNELS),
        entity=PLAYER,
    )


def _tastes() -> tuple[Feature, ...]:
    matches = [
        feature
        for theme, modes in MODES_OF_THEME.items()
        for feature in _matches.where("mode", "in", modes).count(
            days=14, name=_MATCHES[theme], unit="matches", description=f"Matches in modes of the theme {theme}: {', '.join(modes)}."
        )
    ]
    first, second, *others = (col(_MATCHES[theme]) for theme in _THEMES)
    total = first + second
    for count in others:
        total = total + count
    shares = [
        derived(
            f"share_{theme}",
            col(_MATCHES[theme]) / total,
            default=1.0 / len(_THEMES),
            description=f"Share of the matches of 14 days in modes of the theme {theme}.",
        )
        for theme in _THEMES
    ]
    return (*matches, *shares, _favourite())


def _favourite() -> Derived:
    best: Expression = col(f"share_{_THEMES[0]}")
    number: Expression = Number(0.0)
    for position, theme in enumerate(_THEMES[1:], start=1):
        share = col(f"share_{theme}")
        number = case(share > best, float(position), number)
        best = case(share > best, share, best)
    return derived("favourite", number, description="Number of the theme with the largest share.")
