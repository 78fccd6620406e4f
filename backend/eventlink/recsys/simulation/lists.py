"""What a simulated city's platform shows: ranked lists by simple policies, none of them personal.

What does not live here: what is looked at and clicked (``behaviour``).
"""

from dataclasses import dataclass

import numpy as np

from eventlink.recsys.dataset import DAY, Bools, Floats, Table
from eventlink.recsys.simulation.options import LIST_LENGTH
from eventlink.recsys.simulation.relation import Index
from eventlink.recsys.simulation.standing import Pairs, is_eligible
from eventlink.recsys.simulation.utility import Today

POLICIES = ("popular", "soon", "random")
POLICY_SHARES = (0.5, 0.3, 0.2)
SHORT_SHARE = 0.4
"""Of the lists: they end after half the length."""
DRAWS = 3 * LIST_LENGTH


@dataclass(frozen=True)
class Visits(Table):
    """Somebody comes to the platform."""

    user: Index
    at: Floats


@dataclass(frozen=True)
class Shown(Table):
    """One row an event of a shown list, by list and position."""

    visit: Index
    """The visit whose list it is."""
    position: Index
    pairs: Pairs


def show(today: Today, visits: Visits, rng: np.random.Generator) -> tuple[Shown, Index]:
    """Draw one list a visit.

    A list is drawn event by event, without replacement, with chances that its policy gives
    (Plackett-Luce): draws with replacement in which only an event's first draw counts. Events the
    user cannot or need not see are passed over.

    Args:
        today: The city that morning.
        visits: Who comes when.
        rng: The source of chance.

    Returns:
        What is shown, and each visit's policy, a place in ``POLICIES``.
    """
    policy = rng.choice(len(POLICIES), len(visits), p=POLICY_SHARES)
    uniform = rng.random((len(visits), DRAWS))
    place = np.empty(uniform.shape, np.int64)
    for i, weights in enumerate(_policy_weights(today)):
        cumulative = np.cumsum(weights) / weights.sum()
        drawn = np.searchsorted(cumulative, uniform[policy == i], side="right")
        place[policy == i] = np.minimum(drawn, len(today.live) - 1)
    visit = np.repeat(np.arange(len(visits)), DRAWS)
    pairs = Pairs(visits.user[visit], today.live[place].ravel(), visits.at[visit])
    kept = is_eligible(today.setting, today.now, pairs) & _first_in_row(place).ravel()
    position = np.cumsum(kept.reshape(place.shape), axis=1).ravel() - 1
    length = np.where(rng.random(len(visits)) < SHORT_SHARE, LIST_LENGTH // 2, LIST_LENGTH)
    kept &= position < length[visit]
    return Shown(visit[kept], position[kept], pairs.rows(kept)), policy


def _policy_weights(today: Today) -> tuple[Floats, ...]:
    now, live = today.now, today.live
    ahead = np.maximum(today.setting.programme.start[live] - now.as_of, 0) / DAY
    return (1 + now.momentum[live]) ** 0.6, np.exp(-ahead / 4), np.ones(len(live))


def _first_in_row(values: Index) -> Bools:
    """Mark each value's first place in its row."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    fresh = np.ones(values.shape, np.bool_)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(fresh)
    np.put_along_axis(first, order, fresh, axis=1)
    return first
