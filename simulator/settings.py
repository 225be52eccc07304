"""The numbers that make the simulated game as hard as it is. A seed changes the people and their tastes, never these."""

from dataclasses import dataclass

from use_cases.game_promotion.catalogue import MODES_OF_THEME

THEMES = tuple(MODES_OF_THEME)
"""Themes of product sets. Players of hidden segment k like theme k, and mostly play its modes."""


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """Rates are per logical day, money in dollars, unless a name says otherwise.

    Attributes:
        players: how many there are at the start; `joiners` come a day, as a share of them, for `horizon_days`.
        segment_shares: of the hidden taste segments, largest first; a seed decides which taste is the largest.
        own_mode: share of a player's matches in the modes of the own segment; `mix_concentration` is how alike players of a segment are.
        organic: chance that a session ends in a purchase that no promotion caused.
        uplift: chance added by a product set of the segment's theme, with the best message, for a rested player.
        liking_next, liking_rest: of a neighbouring theme and of the others, relative to the own theme's 1; `liking_sigma` of single sets.
        fatigue: lost share of the uplift for each promotion still remembered; they are forgotten by half in `fatigue_half_life_days`.
        annoyance: lost share of organic purchases for each promotion still remembered.
        irritation: lost share of organic purchases in a session with a promotion that is not liked at all.
        spend_sigma: of the log-normal spend around the player's mean; `power_sigma` of the players' spending power.
        drift: amplitude of the slow swing of tastes (log scale), each with a period of its own around `drift_period_days`.
        migration: share of players whose taste changes altogether.
        churn: chance to leave for good after a session; each remembered promotion adds `churn_by_offer`.
    """

    players: int = 3_500
    joiners: float = 0.02
    horizon_days: int = 90
    segment_shares: tuple[float, ...] = (0.31, 0.26, 0.23, 0.20)
    own_mode: float = 0.66
    mix_concentration: float = 12.0
    sessions: float = 1.8
    matches: float = 2.2
    organic: float = 0.02
    uplift: float = 0.048
    liking_next: float = 0.14
    liking_rest: float = 0.05
    liking_sigma: float = 0.12
    fatigue: float = 0.06
    fatigue_half_life_days: float = 1.0
    annoyance: float = 0.02
    irritation: float = 0.3
    price: float = 6.0
    spend_sigma: float = 0.4
    power_sigma: float = 0.36
    keenness_sigma: float = 0.25
    drift: float = 0.25
    drift_period_days: float = 30.0
    migration: float = 0.004
    churn: float = 0.014
    churn_by_offer: float = 0.0015
    delay_minutes: float = 25.0
