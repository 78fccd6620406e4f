"""Seats: how far an event with few of them is held back, for want of seats for all who would come.

What does not live here: the order of a list (``recsys.reranking``), and what comes of it in a city
whose truth is known (``recsys.simulation.scarcity``).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from eventlink.recsys.dataset import Floats, Ints
from eventlink.recsys.matrices import count
from eventlink.recsys.ranking import Ranker, Rankings
from eventlink.recsys.snapshot import Snapshot

SAMPLE_SHARE = 0.05
LEAST_SAMPLE, LARGEST_SAMPLE = 400, 4000
"""Users whose lists are made beforehand, to see who would be shown what: a share of all, but at
least and at most so many."""


@dataclass(frozen=True)
class Scarcity:
    """The events with a limit of seats, and what it does to their scores."""

    columns: Ints
    """Places in ``Snapshot.columns``, shape (n,)."""
    left: Floats
    """Seats left, shape (n,)."""
    demand: Floats
    """Registrations to expect if everybody came and saw the head of their list, shape (n,)."""
    factor: Floats
    """What a score is worth, in (0, 1], shape (n,)."""

    def damping(self, n_columns: int) -> Floats:
        """Return the factor of every column, shape (n_columns,): 1 where seats are no limit."""
        damping = np.ones(n_columns)
        damping[self.columns] = self.factor
        return damping


def scarcity(
    ranker: Ranker, users: Ints, head: int, strength: float, rng: np.random.Generator
) -> Scarcity:
    """Foresee from the lists that would be shown which events have too few seats.

    Args:
        ranker: Ranks without regard to seats.
        users: Who will be ranked.
        head: The first places of a list, which count as seen.
        strength: See ``factors``.
        rng: Source of the sample of users.
    """
    left = seats_left(ranker.snapshot)
    columns = np.flatnonzero(np.isfinite(left) & ranker.snapshot.eligible).astype(np.int32)
    if not len(columns):
        return Scarcity(columns, np.zeros(0), np.zeros(0), np.zeros(0))
    size = int(np.clip(SAMPLE_SHARE * len(users), LEAST_SAMPLE, LARGEST_SAMPLE))
    sample = np.sort(rng.choice(users, min(size, len(users)), replace=False))
    shown = expected_demand(ranker.rank_all(sample, head), ranker.snapshot.n_columns)
    demand = shown[columns] * len(users) / len(sample)
    return Scarcity(columns, left[columns], demand, factors(left[columns], demand, strength))


def seats_left(s: Snapshot) -> Floats:
    """Count the seats left of each column; ``inf`` where there is no limit.

    Args:
        s: The instant.
    """
    limit = s.data.events.max_seats[s.columns]
    taken = count(s.going.indices, s.n_columns)
    return np.where(limit >= 0, np.maximum(limit - taken, 0), np.inf)


def expected_demand(lists: Iterable[Rankings], n_columns: int) -> Floats:
    """Sum the scores of everybody who is shown a column.

    Args:
        lists: Rankings, cut to what is seen.
        n_columns: Number of columns.

    Returns:
        Shape (n_columns,).
    """
    demand = np.zeros(n_columns)
    for part in lists:
        demand += count(part.columns.ravel(), n_columns, part.scores.ravel())
    return demand


def factors(left: Floats, demand: Floats, strength: float) -> Floats:
    """Damp by the share of the demand that finds a seat.

    With strength 1 a damped score is the chance to register and find a seat, if seats go by lot.

    Args:
        left: Seats left, at least 1, shape (n,).
        demand: Registrations to expect, shape (n,).
        strength: 0 damps nothing; beyond 1 seats go rather to those who want them most.

    Returns:
        Shape (n,), in (0, 1].
    """
    share = left / np.maximum(demand, np.maximum(left, 1e-9))
    damped: Floats = share**strength
    return damped
