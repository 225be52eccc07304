"""What is known of a player at the moment of a decision."""

from features.definitions import Aggregate, Attribute, Derived, Feature, FeatureSet, Where, Window
from features.expressions import Expression, Number, case, col
from use_cases.game_promotion.catalogue import MODES_OF_THEME
from use_cases.game_promotion.events import CHANNELS, COUNTRIES, PLATFORMS

_THEMES = tuple(MODES_OF_THEME)
_MATCHES = {theme: f"matches_{theme}_14d" for theme in _THEMES}


def build() -> FeatureSet:
    """Tastes (what is played), habits, money, fatigue, profile."""
    return FeatureSet("game_promotion_v1", (*_tastes(), *_habits(), *_money(), *_fatigue(), *_profile()))


def _tastes() -> tuple[Feature, ...]:
    matches = [
        Aggregate(
            name=_MATCHES[theme],
            source="match",
            aggregate="count",
            window_us=Window.days(14),
            where=(Where("mode", "in", modes),),
            description=f"Matches in modes of the theme {theme}: {', '.join(modes)}.",
            unit="matches",
        )
        for theme, modes in MODES_OF_THEME.items()
    ]
    first, second, *others = (col(_MATCHES[theme]) for theme in _THEMES)
    total = first + second
    for count in others:
        total = total + count
    shares = [
        Derived(
            name=f"share_{theme}",
            expression=col(_MATCHES[theme]) / total,
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
    return Derived(name="favourite", expression=number, description="Number of the theme with the largest share.")


def _habits() -> tuple[Feature, ...]:
    return (
        Aggregate(name="sessions_7d", source="session", aggregate="count", window_us=Window.days(7), unit="sessions"),
        Aggregate(
            name="seconds_since_match",
            source="match",
            aggregate="seconds_since_last",
            window_us=Window.days(14),
            default=1_209_600.0,
            unit="s",
        ),
        Aggregate(name="level", source="session", aggregate="last", field="level", window_us=Window.days(28), default=1.0),
    )


def _money() -> tuple[Feature, ...]:
    month = Window.days(28)
    return (
        Aggregate(name="purchases_28d", source="purchase", aggregate="count", window_us=month, unit="purchases"),
        Aggregate(name="spend_28d", source="purchase", aggregate="sum", field="amount_micros", window_us=month, unit="micro-dollars"),
        Aggregate(name="dearest_28d", source="purchase", aggregate="max", field="amount_micros", window_us=month, unit="micro-dollars"),
        Aggregate(
            name="seconds_since_purchase", source="purchase", aggregate="seconds_since_last", window_us=month, default=2_419_200.0, unit="s"
        ),
    )


def _fatigue() -> tuple[Feature, ...]:
    offered = (Where("candidate_id", "!=", "none"),)
    return (
        Aggregate(name="offers_1d", source="decision", aggregate="count", window_us=Window.days(1), where=offered, unit="offers"),
        Aggregate(name="offers_3d", source="decision", aggregate="count", window_us=Window.days(3), where=offered, unit="offers"),
    )


def _profile() -> tuple[Feature, ...]:
    return (
        Attribute(name="country", source="profile", field="country", default=-1.0, categories=COUNTRIES),
        Attribute(name="platform", source="profile", field="platform", default=-1.0, categories=PLATFORMS),
        Attribute(name="channel", source="profile", field="channel", default=-1.0, categories=CHANNELS),
    )
