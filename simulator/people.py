"""The players: what they are from birth, much of it hidden from the system."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.clock import DAY_US
from simulator.settings import THEMES, WorldSettings
from use_cases.game_promotion.catalogue import MODES_OF_THEME
from use_cases.game_promotion.events import CHANNELS, COUNTRIES, MODES, PLATFORMS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_COUNTRY_SHARES = (0.30, 0.18, 0.14, 0.20, 0.18)
_PLATFORM_SHARES = (0.40, 0.42, 0.18)
_CHANNEL_SHARES = (0.45, 0.40, 0.15)
_COUNTRY_POWER = (1.2, 1.1, 1.25, 0.75, 0.7)


@dataclass(frozen=True, slots=True)
class People:
    """Everybody who plays or will come to play, one position a player; those to come have `joined_us` in the future.

    Attributes:
        country, platform, channel: positions in the lists of `simulator.settings`; seen in the profiles.
        segment: the hidden taste at birth. `mix`: (players, modes) shares of their matches while that taste lasts.
        power: spending power, mean 1. `keenness`: how readily they buy. `tolerance`: how badly repeated promotions tire them.
        skill: chance to win a match. `sessions`: a day.
    """

    names: tuple[str, ...]
    joined_us: Ints
    country: Ints
    platform: Ints
    channel: Ints
    segment: Ints
    mix: Floats
    power: Floats
    keenness: Floats
    tolerance: Floats
    skill: Floats
    sessions: Floats


def create(settings: WorldSettings, start_us: int, rng: np.random.Generator) -> People:
    """The players of the first day, who joined in the 30 days before, and those who will join within the horizon."""
    to_come = int(settings.players * settings.joiners * settings.horizon_days)
    count = settings.players + to_come
    ages = np.concatenate([-rng.uniform(0, 30, settings.players), np.sort(rng.uniform(0, settings.horizon_days, to_come))])
    country = rng.choice(len(COUNTRIES), count, p=_COUNTRY_SHARES)
    order = rng.permutation(len(THEMES))
    segment = order[rng.choice(len(THEMES), count, p=settings.segment_shares)]
    return People(
        names=tuple(f"p-{position:06d}" for position in range(count)),
        joined_us=(start_us + ages * DAY_US).astype(np.int64),
        country=country,
        platform=rng.choice(len(PLATFORMS), count, p=_PLATFORM_SHARES),
        channel=rng.choice(len(CHANNELS), count, p=_CHANNEL_SHARES),
        segment=segment,
        mix=mode_mix(settings, segment, rng),
        power=np.array(_COUNTRY_POWER)[country] * _around_one(rng, settings.power_sigma, count),
        keenness=_around_one(rng, settings.keenness_sigma, count),
        tolerance=rng.uniform(0.6, 1.4, count),
        skill=rng.beta(5, 5, count),
        sessions=settings.sessions * np.clip(rng.gamma(4.0, 0.25, count), 0.35, 3.0),
    )


def mode_mix(settings: WorldSettings, segment: Ints, rng: np.random.Generator) -> Floats:
    """Shares of the modes of play of players of these segments: mostly the own mode, each player a little different."""
    centres = np.empty((len(THEMES), len(MODES)))
    for segment_of, theme in enumerate(THEMES):
        own = np.isin(MODES, MODES_OF_THEME[theme])
        centres[segment_of] = np.where(own, settings.own_mode / own.sum(), (1 - settings.own_mode) / (~own).sum())
    drawn = rng.gamma(centres[segment] * settings.mix_concentration)
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True), dtype=np.float64)


def _around_one(rng: np.random.Generator, sigma: float, count: int) -> Floats:
    return np.exp(rng.normal(-sigma * sigma / 2, sigma, count))
