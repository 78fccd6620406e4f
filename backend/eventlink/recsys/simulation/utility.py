"""The true utility: how much a simulated user wants an event, and the chances that follow from it.

What does not live here: which events a user gets to see (``lists``, ``arrivals``).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from eventlink.recsys.dataset import DAY, Floats
from eventlink.recsys.simulation.options import SimulationOptions, UtilityWeights
from eventlink.recsys.simulation.people import distance_km
from eventlink.recsys.simulation.relation import Index
from eventlink.recsys.simulation.schedule import slot
from eventlink.recsys.simulation.standing import Pairs, Setting, Standing

CLICK_RATE = 0.07
"""Of what is looked at, where active users meet random events."""
REGISTER_RATE = 0.25
"""Of the pages opened from there."""
AIMLESS = {"click": 0.08, "register_from_list": 0.3, "register_on_arrival": 0.43}
"""Chances of those who do not go by utility: about the mean of those who do."""


@dataclass(frozen=True)
class Chances:
    """What a utility means in chances; both are logistic with these intercepts."""

    click: float
    register: float

    def of_click(self, utility: Floats) -> Floats:
        """Return the chance that an event that is looked at in a list is clicked."""
        return np.asarray(expit(self.click + utility))

    def of_register(self, utility: Floats) -> Floats:
        """Return the chance that somebody who opened an event's page registers."""
        return np.asarray(expit(self.register + utility))


@dataclass(frozen=True)
class Today:
    """All that a day's acts follow from."""

    setting: Setting
    now: Standing
    live: Index
    """The events that are on at some time of the day."""
    chances: Chances
    options: SimulationOptions

    def utility(self, pairs: Pairs) -> Floats:
        """Return the utility of each pair, shape (n,); see ``utility``."""
        return utility(self.setting, self.now, self.options.weights, pairs)


def utility(setting: Setting, now: Standing, weights: UtilityWeights, pairs: Pairs) -> Floats:
    """Return the utility of each event to each user, in logits, shape (n,).

    The terms are those of ``UtilityWeights`` and the event's appeal; ``docs/simulation.md`` writes
    them as an equation.

    Args:
        setting: The city.
        now: What is known that morning.
        weights: The weights of the terms.
        pairs: Who meets what, and when.
    """
    people, programme = setting.people, setting.programme
    users, events = pairs.user, pairs.event
    organizers = programme.organizer[events]
    shared = np.einsum("ij,ij->i", people.interests[users], programme.topics[events])
    habit = people.habits[users, slot(programme.start)[events]]
    km = distance_km(people.home[users], programme.place[events])
    reads, written = people.english[users], programme.english[events]
    foreign = np.where(reads & ~written, 1.0, np.where(~reads & written, 0.25, 0.0))
    age = (pairs.at - programme.public[events]) / DAY
    ahead = (programme.start[events] - pairs.at) / DAY
    return np.asarray(
        programme.appeal[events]
        + weights.topic * shared
        + weights.habit * habit
        - weights.distance * np.log1p(km / 2)
        - weights.language * foreign
        + weights.loyalty * np.log1p(np.minimum(now.loyalty.count(users, organizers), 5))
        + weights.follow * now.follows.has(users, organizers)
        + weights.friends * np.log1p(now.friends.count(users, events))
        + weights.momentum * np.log1p(now.momentum[events])
        + weights.marked * now.marked.has(users, events)
        + weights.fresh * np.exp(-np.maximum(age, 0) / 2)
        + weights.soon * np.exp(-np.maximum(ahead, 0) / 2)
    )


def chances(
    setting: Setting, now: Standing, weights: UtilityWeights, rng: np.random.Generator
) -> Chances:
    """Find the intercepts at which active users who meet random events act at the rates above.

    Args:
        setting: The city.
        now: What is known when watching begins.
        weights: The weights of the utility.
        rng: The source of chance.
    """
    active = np.flatnonzero(setting.people.activity)
    public = np.flatnonzero(np.isfinite(setting.programme.public))
    if not len(active) or not len(public):
        return Chances(0.0, 0.0)
    rate = setting.people.activity[active]
    users = rng.choice(active, 50_000, p=rate / rate.sum())
    events = rng.choice(public, 50_000)
    seen, closed = setting.programme.public[events], setting.programme.closes[events]
    at = seen + rng.random(len(events)) * (closed - seen)
    drawn = utility(setting, now, weights, Pairs(users, events, at))
    click = _intercept(drawn, np.ones(len(drawn)), CLICK_RATE)
    return Chances(click, _intercept(drawn, expit(click + drawn), REGISTER_RATE))


def _intercept(utilities: Floats, weights: Floats, rate: float) -> float:
    """Solve for the intercept at which the weighted mean chance is the rate."""

    def excess(intercept: float) -> float:
        return float(np.average(expit(intercept + utilities), weights=weights)) - rate

    return float(brentq(excess, -60.0, 60.0))
