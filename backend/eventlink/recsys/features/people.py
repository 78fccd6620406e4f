"""Who else is going: people who went where the user went, and who follow what the user follows.

What does not live here: the user's own past (``affinity``).
"""

from copy import copy
from functools import cached_property

import numpy as np

from eventlink.recsys.dataset import HOUR, Floats, Ints
from eventlink.recsys.features.about import About, Sheet
from eventlink.recsys.features.affinity import log1p
from eventlink.recsys.matrices import (
    Matrix,
    count,
    ones,
    only_columns,
    product,
    scale_columns,
    scale_rows,
    sum_into,
)
from eventlink.recsys.persons import Rows
from eventlink.recsys.renewal import Moves, replanted
from eventlink.recsys.snapshot import Pairs, Snapshot

RECENT = 72 * HOUR
EVENT_SHRINKAGE = 2.0
ORGANIZER_SHRINKAGE = 5.0

ABOUT = (
    About(
        "people",
        ("people.going", "people.going_recently"),
        "log of how often those who are going to E, ever or since 72 h, were where U was",
        "People go where the people they met go",
    ),
    About(
        "people",
        ("people.event_cosine",),
        "shrunk cosine between E's registrants and those of U's events, summed",
        "The same, without the advantage of big events",
    ),
    About(
        "people",
        ("people.organizer_cosine",),
        "shrunk cosine between O's people and those of U's organizers, summed",
        "Works on an event's first day, when nobody is going yet",
    ),
    About(
        "follows",
        ("people.followers_going",),
        "followers of what U follows who are going to E, a root of their number",
        "A circle of followers chooses together",
    ),
)


class People:
    """Co-registration between past events and columns.

    Args:
        s: The crowd.
        asked: Indices of those of the crowd who will be asked for, anybody if None. What tells
            nothing of them is not counted, which is most where they are few.
    """

    def __init__(self, s: Snapshot, asked: Ints | None = None) -> None:
        self.s = s
        self.asked = asked

    def _known(self, matrix: Matrix) -> Matrix:
        """Keep of users × things those that somebody who is asked for has to do with."""
        return matrix if self.asked is None else only_columns(matrix, matrix[self.asked].indices)

    def _past(self) -> Matrix:
        """All events × users: who went where those went who are asked for."""
        return self._known(self.s.registered).T

    @cached_property
    def together(self) -> Matrix:
        """All events × columns: how many people have both."""
        together: Matrix = (self._past() @ self.s.going).tocsr()
        return together

    @cached_property
    def together_recently(self) -> Matrix:
        """The same, of those who registered for the column in the last 72 h."""
        return (self._past() @ self._going_recently()).tocsr()

    def _going_recently(self) -> Matrix:
        log = self.s.data.registrations
        recent = log.rows(self.s.standing & (log.at >= self.s.as_of - RECENT))
        return sum_into(self.s.registered.shape, recent.user, recent.event) @ self.s.to_columns

    @cached_property
    def cosine(self) -> Matrix:
        """``together``, divided by the shrunk geometric mean of both events' sizes."""
        return self._cosine(self.together)

    def _cosine(self, together: Matrix) -> Matrix:
        size = _column_sums(self.s.registered) + EVENT_SHRINKAGE
        return _scaled(together, 1 / np.sqrt(size), 1 / np.sqrt(size[self.s.columns]))

    @cached_property
    def organizers_alike(self) -> Matrix:
        """All organizers × those with a column: shrunk cosine of their circles."""
        circles, organizers = self._circles(self.s.registered, self.s.follows), self.s.organizers
        own = np.flatnonzero(organizers.of_key[:-1] < organizers.size)
        scale = 1 / np.sqrt(_column_sums(circles) + ORGANIZER_SHRINKAGE)
        alike = (self._known(circles).T @ circles[:, own]).tocsr()
        return _scaled(alike, scale, scale[own])

    def _circles(self, registered: Matrix, follows: Matrix) -> Matrix:
        """Users × all organizers: 1 where the user has been with or follows the organizer."""
        circles = (product(registered, self.s.event_organizers) + follows).tocsr()
        circles.sort_indices()  # or the last bit of a row's sums depends on other rows
        return ones(circles)

    @cached_property
    def followers_going(self) -> Matrix:
        """All organizers × columns: the followers who are going, per root of all followers.

        Only of organizers with a column, whose followers are of the same circle.
        """
        organizers = self.s.organizers
        follows = self.s.follows @ organizers.to_groups
        scale = 1 / np.sqrt(_column_sums(follows) + ORGANIZER_SHRINKAGE)
        going = scale_rows((follows.T @ self.s.going).tocsr(), scale.astype(np.float32))
        return organizers.to_groups @ going

    def renewed(self, s: Snapshot, to: Moves) -> "People":
        """Return the same of a renewed crowd, counting anew only who is going to new columns.

        Args:
            s: Of the same acts.
            to: From the indices of this crowd to those of that one.
        """
        again, places = People(s), s.column_of[to.events[self.s.columns]]
        new = np.setdiff1d(np.arange(s.n_columns, dtype=np.int32), places)
        together = again._past() @ only_columns(s.going, new)
        lately = again._past() @ only_columns(again._going_recently(), new)
        added = {"together": together, "together_recently": lately}
        added["cosine"] = again._cosine(together.tocsr())
        for name, of_new in added.items():
            shape = s.data.n_events, s.n_columns
            kept = replanted(getattr(self, name), to.events, places, shape)
            setattr(again, name, kept + of_new.tocsr() if of_new.nnz else kept)
        return again

    def narrowed(self, columns: Ints) -> "People":
        """Return what holds for pairs of some columns alone; see ``Features.narrowed``."""
        few = copy(self)
        for name in ("together", "together_recently", "cosine", "followers_going"):
            setattr(few, name, only_columns(getattr(self, name), columns))
        group = self.s.organizers.of_column[columns]
        own = group[group < self.s.organizers.size]
        few.organizers_alike = only_columns(self.organizers_alike, own)
        return few

    def fill(self, sheet: Sheet, p: Pairs, who: Rows) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the persons and of columns of the crowd.
            who: Their rows, in the order of ``p.users``.
        """
        past, follows = who.registered, who.follows
        tables = {
            "people.going": log1p(product(past, self.together)),
            "people.going_recently": log1p(product(past, self.together_recently)),
            "people.event_cosine": product(past, self.cosine),
            "people.followers_going": product(follows, self.followers_going),
        }
        for name, table in tables.items():
            p.of_sparse(table, sheet[name])
        alike = product(self._circles(past, follows), self.organizers_alike)
        p.of_sparse(alike, sheet["people.organizer_cosine"], self.s.organizers)


def _column_sums(matrix: Matrix) -> Floats:
    return count(matrix.indices, matrix.shape[1], matrix.data)


def _scaled(matrix: Matrix, rows: Floats, columns: Floats) -> Matrix:
    by_row = scale_rows(matrix.copy(), rows.astype(np.float32))
    return scale_columns(by_row, columns.astype(np.float32))
