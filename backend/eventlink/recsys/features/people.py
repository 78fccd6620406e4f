"""Who else is going: people who went where the user went, and who follow what the user follows.

What does not live here: the user's own past (``affinity``).
"""

from functools import cached_property

import numpy as np
from scipy import sparse

from eventlink.recsys.dataset import HOUR, Floats
from eventlink.recsys.features.about import About, Sheet
from eventlink.recsys.features.affinity import Affinity, log1p
from eventlink.recsys.snapshot import Matrix, Pairs, Snapshot, count, incidence, sum_into

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
        s: The instant.
        affinity: Of the same instant.
    """

    def __init__(self, s: Snapshot, affinity: Affinity) -> None:
        self.s = s
        self.affinity = affinity

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
        return (self.s.registered.T @ lately[:, self.s.columns]).tocsr()

    @cached_property
    def cosine(self) -> Matrix:
        """``together``, divided by the shrunk geometric mean of both events' sizes."""
        size = _column_sums(self.s.registered) + EVENT_SHRINKAGE
        return _scaled(self.together, 1 / np.sqrt(size), 1 / np.sqrt(size[self.s.columns]))

    @cached_property
    def circles(self) -> Matrix:
        """Users × all organizers: 1 where the user has been with or follows the organizer."""
        data, n = self.s.data, self.s.data.n_organizers
        went = self.s.registered @ incidence(data.events.organizer, n)
        follows = sum_into((data.n_users, n), data.follows.user, data.follows.organizer)
        circles = (went + follows).tocsr()
        circles.data[:] = 1
        return circles

    @cached_property
    def organizers_alike(self) -> Matrix:
        """All organizers × those with a column: shrunk cosine of their circles."""
        own = np.flatnonzero(self.s.organizers.of_key[:-1] < self.s.organizers.size)
        scale = 1 / np.sqrt(_column_sums(self.circles) + ORGANIZER_SHRINKAGE)
        return _scaled(self.circles.T @ self.circles[:, own], scale, scale[own])

    @cached_property
    def followers_going(self) -> Matrix:
        """Organizers × columns: the organizer's followers who are going, per root of followers."""
        follows = self.affinity.follows
        scale = 1 / np.sqrt(_column_sums(follows) + ORGANIZER_SHRINKAGE)
        return _scaled(follows.T @ self.s.going, scale, np.ones(self.s.n_columns))

    def fill(self, sheet: Sheet, p: Pairs) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the same Snapshot.
        """
        past = self.s.registered[p.users]
        follows = self.affinity.follows[p.users]
        tables = {
            "people.going": log1p(past @ self.together),
            "people.going_recently": log1p(past @ self.together_recently),
            "people.event_cosine": past @ self.cosine,
            "people.followers_going": follows @ self.followers_going,
        }
        for name, table in tables.items():
            p.of_both(table.toarray(), out=sheet[name])
        alike = self.circles[p.users] @ self.organizers_alike
        table = np.pad(alike.toarray(), ((0, 0), (0, 1)))
        p.of_groups(table, self.s.organizers.of_column, out=sheet["people.organizer_cosine"])


def _column_sums(matrix: Matrix) -> Floats:
    return count(matrix.indices, matrix.shape[1], matrix.data)


def _scaled(matrix: Matrix, rows: Floats, columns: Floats) -> Matrix:
    by_row = sparse.diags_array(rows.astype(np.float32))
    return (by_row @ matrix @ sparse.diags_array(columns.astype(np.float32))).tocsr()
