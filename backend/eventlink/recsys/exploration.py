"""Exploration: a few places of a list go to little-known events, drawn with known chances.

What does not live here: which places those are (``recsys.reranking``), and where the chances are
kept (``db.explorations``).

What a ranker never shows it never learns about. The chance with which an event was drawn is its
*propensity*; whoever weighs what came of it by 1 / propensity estimates without bias how another
ranking would have fared (inverse propensity scoring: Horvitz and Thompson, 1952; Li et al., WSDM
2011).
"""

from dataclasses import dataclass

import numpy as np

from eventlink.recsys.dataset import DAY, Bools, Floats, Ints
from eventlink.recsys.matrices import Dense, count
from eventlink.recsys.snapshot import Snapshot

FEW_REGISTRATIONS = 5
"""A cold event has fewer, and is young or of a cold organizer."""
YOUNG = 7 * DAY
FEW_OF_ORGANIZER = 20
"""A cold organizer has had fewer registrations, for all events."""
POOL = 10
"""The most events that one place is drawn from."""
EVEN_SHARE = 0.5
"""Of the chance that is spread evenly; the rest goes by score. No propensity is below
``EVEN_SHARE / POOL``, so no weight is above 20."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn for some users; rows are users, places are the slots."""

    places: Ints
    """Where in the given order the drawn event stands, shape (n, slots); -1 where the pool is
    empty."""
    propensities: Dense
    """The chance of that event in that slot, shape (n, slots); 1 where the pool is empty."""


class Explorer:
    """Draws cold events for users.

    Each slot has a pool of its own: a user's best cold events are dealt out to the slots in turn.
    So slots are independent, and a propensity is a plain share of one pool.

    Args:
        s: The instant.
        users: Who may be asked for. Each user's luck is drawn here, so that it does not hang on the
            blocks that users are ranked in.
        slots: How many events to draw for each user.
        rng: Source of the draws; a new one every day, or every day would draw the same.
    """

    def __init__(self, s: Snapshot, users: Ints, slots: int, rng: np.random.Generator) -> None:
        self.slots = slots
        self.cold = cold_columns(s)
        self.deal(users, rng)

    def deal(self, users: Ints, rng: np.random.Generator) -> None:
        """Draw the luck of those who may be asked for from now on.

        Args:
            users: Distinct indices of users.
            rng: Source of the draws.
        """
        self.users = np.sort(users)
        self.luck = rng.random((len(users), self.slots))

    def draw(self, users: Ints, columns: Ints, scores: Dense, free: Bools) -> Drawn:
        """Draw an event for each slot.

        Args:
            users: Indices of users, shape (n,).
            columns: Their candidates in order, shape (n, length).
            scores: Probabilities, shape (n, length).
            free: Which may be drawn, if they are cold, shape (n, length).
        """
        luck = self.luck[np.searchsorted(self.users, users)]
        drawable = free & self.cold[columns]
        number = np.where(drawable, np.cumsum(drawable, axis=1) - 1, -1)
        places = np.full((len(users), self.slots), -1, np.int32)
        propensities = np.ones((len(users), self.slots), np.float32)
        for slot in range(self.slots):
            pool = drawable & (number % self.slots == slot) & (number < POOL * self.slots)
            chance = _chances(scores, pool)
            found = np.flatnonzero(pool.any(axis=1))
            place = _draw(chance[found], luck[found, slot])
            places[found, slot] = place
            propensities[found, slot] = chance[found, place]
        return Drawn(places, propensities)


def cold_columns(s: Snapshot) -> Bools:
    """Tell for each column whether little is known of it: few registrations, and young or strange.

    Args:
        s: The instant.
    """
    log, events = s.data.registrations, s.data.events
    of_event = count(log.event, s.data.n_events)[s.columns]
    of_organizer = count(events.organizer[log.event], s.data.n_organizers)
    strange = (s.organizer < 0) | (np.append(of_organizer, 0)[s.organizer] < FEW_OF_ORGANIZER)
    young = s.as_of - events.created[s.columns] < YOUNG
    cold: Bools = (of_event < FEW_REGISTRATIONS) & (young | strange)
    return cold


def _chances(scores: Dense, pool: Bools) -> Floats:
    """Share one out over each row's pool: half evenly, half by score; 0 outside the pool."""
    worth = np.where(pool, np.clip(scores, 1e-9, 1.0), 0.0)
    size, total = pool.sum(axis=1, keepdims=True), worth.sum(axis=1, keepdims=True)
    by_score = worth / np.where(size > 0, total, 1.0)
    chances: Floats = EVEN_SHARE * pool / np.maximum(size, 1) + (1 - EVEN_SHARE) * by_score
    return chances


def _draw(chances: Floats, luck: Floats) -> Ints:
    """Draw a place of each row; luck is uniform in [0, 1)."""
    reached = np.cumsum(chances, axis=1)
    # Relative to the sum, which rounding may leave short of 1.
    places: Ints = (reached > (luck * reached[:, -1])[:, None]).argmax(axis=1).astype(np.int32)
    return places
