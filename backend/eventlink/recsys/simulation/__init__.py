"""A city with known truth: people, events and behaviour to train on and to test against.

What does not live here: writing it down (``services.simulate``).
"""

from eventlink.recsys.simulation.city import City, Truth, simulate
from eventlink.recsys.simulation.options import SimulationOptions, UtilityWeights

__all__ = ["City", "SimulationOptions", "Truth", "UtilityWeights", "simulate"]
