"""Who else is going: people who went where the user went, and who follow what the user follows.

What does not live here: the user's own past (``affinity``).
"""

from functools import cached_property

import numpy as np

from eventlink.recsys.dataset import HOUR, Floats
from eventlink.recsys.features.about import About, Sheet
from eventlink.recsys.features.affinity import log1p
from eventlink.recsys.matrices import Matrix, count, ones, scale_columns, scale_rows, sum_into
from eventlink.recsys.persons import Rows
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
    """

    def __init__(self, s: Snapshot) -> None:
        self.s = s

    @cached_property
    def together(self) -> Matrix:
        """All events × columns: how many people have both."""
        together: Matrix = (self.s.registered.T @ self.s.going).tocsr()
        return together

    @cached_property
    def together_recently(self) -> Matrix:
        """The same, of those who registered for the column in the last 72 h."""
        log = self.s.data.registrations
        recent = log.rows(self.s.standing & (log.at >= self.s.as_of - RECENT))
        lately = sum_into(self.s.registered.shape, recent.user, recent.event)
        return (self.s.registered.T @ (lately @ self.s.to_columns)).tocsr()

    @cached_property
    def cosine(self) -> Matrix:
        """``together``, divided by the shrunk geometric mean of both events' sizes."""
        size = _column_sums(self.s.registered) + EVENT_SHRINKAGE
        return _scaled(self.together, 1 / np.sqrt(size), 1 / np.sqrt(size[self.s.columns]))

    @cached_property
    def organizers_alike(self) -> Matrix:
        """All organizers × those with a column: shrunk cosine of their circles."""
        circles, organizers = self._circles(self.s.registered, self.s.follows), self.s.organizers
        own = np.flatnonzero(organizers.of_key[:-1] < organizers.size)
        scale = 1 / np.sqrt(_column_sums(circles) + ORGANIZER_SHRINKAGE)
        return _scaled((circles.T @ circles[:, own]).tocsr(), scale, scale[own])

    def _circles(self, registered: Matrix, follows: Matrix) -> Matrix:
        """Users × all organizers: 1 where the user has been with or follows the organizer."""
        return ones((registered @ self.s.event_organizers + follows).tocsr())

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

    def fill(self, sheet: Sheet, p: Pairs, who: Rows) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the persons and of columns of the crowd.
            who: Their rows, in the order of ``p.users``.
        """
        past, follows = who.registered, who.follows
        tables = {
            "people.going": log1p(past @ self.together),
            "people.going_recently": log1p(past @ self.together_recently),
            "people.event_cosine": past @ self.cosine,
            "people.followers_going": follows @ self.followers_going,
        }
        for name, table in tables.items():
            p.of_sparse(table, sheet[name])
        alike = self._circles(past, follows) @ self.organizers_alike
        p.of_sparse(alike, sheet["people.organizer_cosine"], self.s.organizers)


def _column_sums(matrix: Matrix) -> Floats:
    return count(matrix.indices, matrix.shape[1], matrix.data)


def _scaled(matrix: Matrix, rows: Floats, columns: Floats) -> Matrix:
    by_row = scale_rows(matrix.copy(), rows.astype(np.float32))
    return scale_columns(by_row, columns.astype(np.float32))
