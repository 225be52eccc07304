"""The world: the players as they stand now, and the truth about what every candidate would earn with them."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from contracts.catalogue import NO_ACTION, Catalogue, Rule
from contracts.clock import DAY_US
from contracts.errors import DefinitionError
from simulator import people, tastes
from simulator.people import Bools, Floats, Ints
from simulator.settings import THEMES, WorldSettings
from use_cases.game_promotion.events import CHANNELS, COUNTRIES, PLATFORMS

NEVER_US = -(2**62)
NOT_DUE_US = 2**62
_PAYER_WINDOW_US = 28 * DAY_US
_SEASONED_LEVEL = 40


@dataclass(frozen=True, slots=True)
class Chances:
    """Of some players at some moments, one row each and one column a candidate.

    Attributes:
        organic: (rows, candidates) chance of a purchase that needs no promotion, under that candidate.
        added: (rows, candidates) chance of a purchase of what the candidate promotes.
        organic_spend, added_spend: mean dollars of such a purchase.
    """

    organic: Floats
    added: Floats
    organic_spend: Floats
    added_spend: Floats

    @property
    def expected(self) -> Floats:
        """(rows, candidates): truly expected revenue of a decision, in dollars."""
        return self.organic * self.organic_spend + self.added * self.added_spend


class World:
    """A simulated game, fixed by its seed and settings until decisions move it.

    Args:
        catalogue: the use case's candidates, with attributes `product_set`, `theme`, `message` and `price_cents`.
        seed: of people, tastes and what they do.
        start_us: logical time of the first day; earlier time is history.

    Attributes:
        level, shown, shown_us, bought_us: what players have done so far; `shown` counts remembered promotions as of `shown_us`.
        last_shown_us: (players, candidates). `next_us`: when each plays next. `gone`: who left for good.
    """

    def __init__(self, catalogue: Catalogue, seed: int, start_us: int, settings: WorldSettings | None = None) -> None:
        self.settings = settings = settings or WorldSettings()
        rng = np.random.default_rng([seed, 1])
        offers = [candidate.attributes for candidate in catalogue.candidates]
        self.catalogue = catalogue
        self.seed = seed
        self.start_us = start_us
        self.people = people.create(settings, start_us, rng)
        sets = {str(offer["product_set"]): str(offer["theme"]) for offer in offers if offer["theme"]}
        self.tastes = tastes.create(settings, np.array([THEMES.index(theme) for theme in sets.values()]), start_us, rng)
        self.rng = np.random.default_rng([seed, 2])
        count = len(self.people.names)
        self.segment = self.people.segment.copy()
        self.mix = self.people.mix.copy()
        days = np.maximum(start_us - self.people.joined_us, 0) / DAY_US
        self.points = days * self.people.sessions * settings.matches * self.people.skill
        self.shown = np.zeros(count)
        self.shown_us = np.full(count, start_us, dtype=np.int64)
        self.bought_us = np.full(count, NEVER_US, dtype=np.int64)
        self.last_shown_us = np.full((count, len(catalogue.candidates)), NEVER_US, dtype=np.int64)
        self.next_us = np.maximum(self.people.joined_us, start_us)
        self.resume(start_us)
        self.gone = np.zeros(count, dtype=np.bool_)
        self.nothing = catalogue.index[NO_ACTION]
        self._position = {name: position for position, name in enumerate(self.people.names)}
        self._offer = np.array([candidate.candidate_id != NO_ACTION for candidate in catalogue.candidates])
        self._set = np.array([list(sets).index(str(offer["product_set"])) if offer["theme"] else 0 for offer in offers])
        self._message = np.array([self.tastes.message_names.index(str(offer["message"])) if offer["message"] else 0 for offer in offers])
        self._price = np.array([float(offer["price_cents"]) / 100 for offer in offers])
        self._cooldown_us = np.array([candidate.cooldown_us for candidate in catalogue.candidates], dtype=np.int64)

    def position(self, entity_id: str) -> int:
        """A player's position in all arrays."""
        return self._position[entity_id]

    def level(self, players: Ints) -> Ints:
        """Levels, from 1: slower the higher."""
        return 1 + np.floor(np.sqrt(self.points[players] * 1.6)).astype(np.int64).clip(0, _SEASONED_LEVEL - 1)

    def remembered(self, players: Ints, now_us: Ints) -> Floats:
        """How many promotions weigh on players now; half are forgotten in the half-life."""
        halves = np.maximum(now_us - self.shown_us[players], 0) / (self.settings.fatigue_half_life_days * DAY_US)
        return np.asarray(self.shown[players] * np.exp2(-halves), dtype=np.float64)

    def paying(self, players: Ints, now_us: Ints) -> Bools:
        """Who bought anything in the last 28 days."""
        return np.asarray(self.bought_us[players] >= now_us - _PAYER_WINDOW_US, dtype=np.bool_)

    def resume(self, now_us: int) -> None:
        """Spread the next sessions of those who have been due before now, after a time in which the game stood still."""
        players = np.flatnonzero(self.next_us <= now_us)
        mean_us = DAY_US / self.people.sessions[players]
        self.next_us[players] = now_us + self.rng.exponential(mean_us).astype(np.int64)

    def chances(self, players: Ints, now_us: Ints) -> Chances:
        """The truth about every candidate for these players at these moments."""
        settings, who = self.settings, self.people
        liking = self.tastes.likings(self.segment[players], now_us)[:, self._set]
        message = self.tastes.messages[who.country[players], who.platform[players]][:, self._message]
        load = (self.remembered(players, now_us) * who.tolerance[players])[:, None]
        keen = who.keenness[players][:, None]
        price = np.where(self._offer, self._price, settings.price)
        # A dearer set is bought less often by those with less to spend; revenue stays within a third across prices.
        fit = (settings.price / price) ** np.clip(1.4 - 0.6 * who.power[players], 0.2, 1.2)[:, None]
        added = settings.uplift * keen * liking * message * fit * np.exp(-settings.fatigue * load)
        dislike = np.where(self._offer, np.clip(1 - liking, 0, 1), 0.0)
        power = who.power[players][:, None]
        return Chances(
            organic=settings.organic * keen * np.exp(-settings.annoyance * load) * (1 - settings.irritation * dislike),
            added=np.where(self._offer, np.minimum(added, 0.5), 0.0),
            organic_spend=settings.price * power * np.ones_like(added),
            added_spend=price * power**0.7 * np.ones_like(added),
        )

    def expected(self, players: Ints, now_us: Ints) -> Floats:
        """(players, candidates): truly expected revenue of showing each candidate now, eligible or not, in dollars."""
        return self.chances(players, now_us).expected

    def eligible(self, players: Ints, now_us: Ints) -> Bools:
        """(players, candidates): what the catalogue's rules and cool-downs allow; `none` always."""
        seen = {
            "level": self.level(players).astype(np.float64),
            "purchases_28d": self.paying(players, now_us).astype(np.float64),
            "country": np.array(COUNTRIES)[self.people.country[players]],
            "platform": np.array(PLATFORMS)[self.people.platform[players]],
            "channel": np.array(CHANNELS)[self.people.channel[players]],
        }
        rested = self.last_shown_us[players] <= now_us[:, None] - self._cooldown_us
        allowed = np.stack(
            [
                np.logical_and.reduce([_holds(rule, seen) for rule in candidate.rules], axis=0)
                if candidate.rules
                else np.ones(len(players), dtype=np.bool_)
                for candidate in self.catalogue.candidates
            ],
            axis=1,
        )
        result = allowed & rested
        result[:, self.nothing] = True
        return np.asarray(result, dtype=np.bool_)

    def gaps(self, players: Ints) -> Ints:
        """Times until the next session: at least an hour apart, else at random."""
        mean_us = DAY_US / self.people.sessions[players]
        hour_us = DAY_US // 24
        return (hour_us + self.rng.exponential(np.maximum(mean_us - hour_us, hour_us))).astype(np.int64)


def _holds(rule: Rule, seen: Mapping[str, Any]) -> Bools:
    if rule.feature not in seen:
        raise DefinitionError("simulator", f"knows no `{rule.feature}` to judge the rule {rule}", "Let World.eligible offer it.")
    return np.asarray(_OPERATORS[rule.op](seen[rule.feature], rule.value), dtype=np.bool_)


def _in(values: Any, wanted: Any) -> Any:
    return np.isin(values, wanted)


def _not_in(values: Any, wanted: Any) -> Any:
    return ~np.isin(values, wanted)


_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
    "in": _in,
    "not in": _not_in,
}
