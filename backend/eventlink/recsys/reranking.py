"""Re-ranking: the rules by which the best candidates of a user become the list that is shown.

What does not live here: the scores (``recsys.models``), how much an event's seats damp it
(``recsys.seats``), and what exploration draws (``recsys.exploration``).

A rule moves events and never removes one. Overlaps and seats scale scores; the other rules move
events past better ones. What each costs is told in ``docs/reranking.md``.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from eventlink.recsys.dataset import HOUR, Bools, Floats, Ints
from eventlink.recsys.exploration import Drawn, Explorer
from eventlink.recsys.features import Features
from eventlink.recsys.matrices import Dense, Matrix
from eventlink.recsys.options import RerankingOptions
from eventlink.recsys.selection import best_first

MARGIN = 50
"""Candidates beyond the length of the list that may move into it."""
LENGTH_OF_EVENT = 2 * HOUR
"""Assumed: few platforms store an end."""
OVERLAP = 0.5
"""What a score is worth where the user is registered for another event at that time: on real data
people register for such events about half as often as their scores say."""


@dataclass(frozen=True)
class Order:
    """Candidates of some users in the order of the rules."""

    places: Ints
    """Places among the candidates, best first, shape (n, length)."""
    scores: Dense
    """Scaled by the rules, shape (n, length); below 0 where the event must not be shown."""
    propensities: Dense | None
    """The chance with which an event was drawn for its place, shape (n, length), 1 where nothing
    was; None without an explorer."""


class Reranker:
    """Applies the rules at one instant.

    Args:
        features: Of the instant.
        options: Which rules.
        explorer: Draws the explored places; None for none.
    """

    damping: Dense | None = None
    """What a score is worth for want of seats, in (0, 1], shape (n_columns,)."""

    def __init__(
        self, features: Features, options: RerankingOptions, explorer: Explorer | None = None
    ) -> None:
        self.s = features.s
        self.options = options
        self.explorer = explorer
        start = self.s.data.events.start[self.s.columns]
        self.by_start = np.argsort(start, kind="stable")
        # For each column, which of the columns by start overlap with it.
        ordered = start[self.by_start]
        self.first_beside = np.searchsorted(ordered, start - LENGTH_OF_EVENT, side="right")
        self.first_after = np.searchsorted(ordered, start + LENGTH_OF_EVENT, side="left")

    @classmethod
    def of(
        cls, features: Features, options: RerankingOptions, users: Ints, rng: np.random.Generator
    ) -> Self | None:
        """Make the rules that are on, seats aside; None if there are none.

        Args:
            features: Of the instant.
            options: Which rules.
            users: Who may be asked for.
            rng: Source of what exploration draws.
        """
        if not options.moves:
            return None
        slots = options.explore_slots
        explorer = Explorer(features.s, users, slots, rng) if slots else None
        return cls(features, options, explorer)

    def by_score(self, users: Ints, scores: Dense, banned: Bools, length: int) -> Ints:
        """Rank all columns by given scores and the rules, for users of the Snapshot.

        Args:
            users: Indices of users, shape (n,).
            scores: Probabilities, shape (n, n_columns).
            banned: True where a user must not be shown a column, shape (n, n_columns).
            length: Of the lists.

        Returns:
            Columns best first, shape (n, length); -1 where a list is shorter.
        """
        every = np.tile(np.arange(self.s.n_columns, dtype=np.int32), (len(users), 1))
        allowed = np.where(banned, np.float32(-1), scores)
        order = self.order(users, self.s.registered[users], every, allowed, length)
        return np.where(order.scores >= 0, order.places, np.int32(-1))

    def order(
        self, users: Ints, registered: Matrix, columns: Ints, scores: Dense, length: int
    ) -> Order:
        """Put the candidates of a block of users in order.

        Args:
            users: Indices of users, shape (n,).
            registered: What they are registered for, shape (n, all events).
            columns: Their candidates, ascending in each row, shape (n, m).
            scores: Probabilities, shape (n, m); below 0 where the user must not be shown the event.
            length: Of the lists.

        Returns:
            Lists of at most ``length``; ties go to the event with the smaller id.
        """
        scores = self._scaled(registered, columns, scores)
        places = best_first(scores, length + MARGIN)
        columns = np.take_along_axis(columns, places, axis=1)
        scores = np.take_along_axis(scores, places, axis=1)
        welcome = (scores >= 0) & self._fits(registered, columns)
        number = np.cumsum(welcome, axis=1) - 1
        behind = places.shape[1] + np.arange(places.shape[1])
        turn = np.where(welcome & (number < self.options.head), number, behind).astype(np.float64)
        propensities = None
        if self.explorer is not None:
            free = welcome & (number >= self.options.head - self.explorer.slots)
            drawn = self.explorer.draw(users, columns, scores, free)
            propensities = self._insert(drawn, turn)
        moved = np.argsort(turn, axis=1, kind="stable")[:, :length]
        return Order(
            np.take_along_axis(places, moved, axis=1),
            np.take_along_axis(scores, moved, axis=1),
            None if propensities is None else np.take_along_axis(propensities, moved, axis=1),
        )

    def _scaled(self, registered: Matrix, columns: Ints, scores: Dense) -> Dense:
        if self.damping is not None:
            scores = scores * self.damping[columns]
        if self.options.demote_overlaps:
            busy = np.take_along_axis(self._busy(registered), columns, axis=1)
            scores = np.where(busy, scores * np.float32(OVERLAP), scores)
        return scores

    def _busy(self, registered: Matrix) -> Bools:
        """Tell which columns go on while one goes on that the user is registered for."""
        going = (registered @ self.s.to_columns).tocoo()
        shape = (registered.shape[0], self.s.n_columns)
        change = np.zeros((shape[0], shape[1] + 1), np.int32)
        np.add.at(change, (going.row, self.first_beside[going.col]), 1)
        np.add.at(change, (going.row, self.first_after[going.col]), -1)
        busy = np.empty(shape, np.bool_)
        busy[:, self.by_start] = np.cumsum(change[:, :-1], axis=1) > 0
        return busy

    def _fits(self, registered: Matrix, columns: Ints) -> Bools:
        """Tell which candidates a greedy choice from the top would let into the head."""
        fits = np.ones(columns.shape, np.bool_)
        if self.options.collapse_series:
            series = self.s.series.of_column[columns]
            exempt = np.ones((len(columns), self.s.series.size + 1), np.bool_)  # last, of none
            exempt[:, :-1] = (registered @ self.s.series.members).toarray() > 0
            fits = number_of_equals(series, fits) == 0
            fits |= np.take_along_axis(exempt, series, axis=1)
        if self.options.per_organizer:
            organizer = self.s.organizer[columns]
            number = number_of_equals(organizer, fits)
            fits &= (number < self.options.per_organizer) | (organizer < 0)
        return fits

    def _insert(self, drawn: Drawn, turn: Floats) -> Dense:
        """Give what was drawn its places: evenly spread over the head, the last one at its end.

        Args:
            drawn: What was drawn.
            turn: By which the candidates will be put in order; written to.

        Returns:
            Propensities in the shape of ``turn``.
        """
        slots = drawn.places.shape[1]
        propensities = np.ones(turn.shape, np.float32)
        for slot in range(slots):
            place = self.options.head * (slot + 1) // slots - 1
            row = np.flatnonzero(drawn.places[:, slot] >= 0)
            candidate = drawn.places[row, slot]
            # The slots before fill as many of the places before; others, in their order, the rest.
            turn[row, candidate] = place - slot - 0.5 + slot / (2 * slots)
            propensities[row, candidate] = drawn.propensities[row, slot]
        return propensities


def number_of_equals(values: Ints, counted: Bools) -> Ints:
    """Count for each place of a row the earlier places with the same value.

    Args:
        values: Shape (n, m).
        counted: Which earlier places count, shape (n, m).

    Returns:
        Shape (n, m).
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    counts = np.take_along_axis(counted, order, axis=1)
    before = np.cumsum(counts, axis=1, dtype=np.int32) - counts
    begins = np.ones(values.shape, np.bool_)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    at_begin = np.maximum.accumulate(np.where(begins, before, 0), axis=1)
    number = np.empty(values.shape, np.int32)
    np.put_along_axis(number, order, before - at_begin, axis=1)
    return number
