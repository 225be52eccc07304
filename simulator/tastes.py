"""What players like, which nobody but the simulator knows: product sets by hidden segment, messages by country and platform."""

from dataclasses import dataclass

import numpy as np

from contracts.clock import DAY_US
from simulator.people import Floats, Ints
from simulator.settings import THEMES, WorldSettings
from use_cases.game_promotion.events import COUNTRIES, PLATFORMS

_MESSAGE_BY_COUNTRY = {
    "welcome": (0.85, 0.80, 0.70, 0.95, 0.90),
    "loyal": (0.95, 0.85, 1.00, 0.70, 0.65),
    "discount": (0.60, 0.75, 0.50, 1.00, 1.00),
    "countdown": (0.90, 0.55, 0.80, 0.65, 0.60),
}
_MESSAGE_BY_PLATFORM = {
    "welcome": (0.90, 1.00, 1.05),
    "loyal": (1.05, 0.95, 0.95),
    "discount": (0.85, 1.05, 1.05),
    "countdown": (1.05, 0.90, 0.80),
}


@dataclass(frozen=True, slots=True)
class Tastes:
    """Liking of product sets and messages.

    Attributes:
        liking: (segments, product sets) at rest, log scale. `period_us`, `phase`: of their slow swing, `amplitude` its size.
        messages: (countries, platforms, messages), by `message_names`.
    """

    start_us: int
    liking: Floats
    amplitude: float
    period_us: Floats
    phase: Floats
    messages: Floats
    message_names: tuple[str, ...]

    def likings(self, segment: Ints, now_us: Ints) -> Floats:
        """(players, product sets): how much players of these segments like each at these moments; those of the own theme near 1."""
        angle = 2 * np.pi * (now_us - self.start_us)[:, None] / self.period_us[segment] + self.phase[segment]
        return np.asarray(np.exp(self.liking[segment] + self.amplitude * np.sin(angle)), dtype=np.float64)


def create(settings: WorldSettings, themes: Ints, start_us: int, rng: np.random.Generator) -> Tastes:
    """Tastes of a seed: the same shape in every world, with other neighbours, strengths and swings.

    Args:
        themes: of each product set, positions in `THEMES`.
    """
    by_theme = np.full((len(THEMES), len(THEMES)), settings.liking_rest)
    ring = rng.permutation(len(THEMES))
    by_theme[ring, np.roll(ring, 1)] = settings.liking_next
    np.fill_diagonal(by_theme, 1.0)
    shape = (len(THEMES), len(themes))
    by_country = np.array(list(_MESSAGE_BY_COUNTRY.values())).T
    by_platform = np.array(list(_MESSAGE_BY_PLATFORM.values())).T
    messages = by_country[:, None, :] * by_platform[None, :, :]
    return Tastes(
        start_us=start_us,
        liking=np.log(by_theme[:, themes]) + rng.normal(0, settings.liking_sigma, shape),
        amplitude=settings.drift,
        period_us=rng.uniform(0.7, 1.5, shape) * settings.drift_period_days * DAY_US,
        phase=rng.uniform(0, 2 * np.pi, shape),
        messages=messages * np.exp(rng.normal(0, 0.06, (len(COUNTRIES), len(PLATFORMS), messages.shape[2]))),
        message_names=tuple(_MESSAGE_BY_COUNTRY),
    )
