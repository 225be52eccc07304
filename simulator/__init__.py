"""A casual game whose players' true best promotion is known to it, and to nobody else."""

from simulator.drive import Door, Game, Progress
from simulator.settings import WorldSettings
from simulator.truth import Standing, TruthLog
from simulator.world import World

__all__ = ["Door", "Game", "Progress", "Standing", "TruthLog", "World", "WorldSettings"]
