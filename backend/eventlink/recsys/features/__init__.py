"""Point-in-time features of (user, event) pairs: one function of crowd, persons and pairs.

What does not live here: what a feature weighs (``recsys.models``).
"""

from copy import copy
from functools import cached_property
from itertools import pairwise

import numpy as np

from eventlink.recsys.dataset import Ints
from eventlink.recsys.features import (
    affinity,
    demand,
    forecast,
    organizers,
    people,
    place,
    products,
    series,
    tastes,
    timing,
    topics,
)
from eventlink.recsys.features.about import About, Sheet
from eventlink.recsys.features.forecast import YESTERDAY, Forecast, Forecasts
from eventlink.recsys.matrices import Dense
from eventlink.recsys.persons import Persons
from eventlink.recsys.renewal import Moves, same_acts
from eventlink.recsys.snapshot import Pairs, Snapshot

__all__ = [
    "ABOUT",
    "EVENTS",
    "FAMILIES",
    "NAMES",
    "PAIRS",
    "About",
    "Features",
    "Forecast",
    "Forecasts",
    "document",
]

OF_EVENTS: tuple[About, ...] = (
    *demand.ABOUT,
    *organizers.ABOUT,
    *timing.ABOUT,
    *forecast.ABOUT,
)
OF_PAIRS: tuple[About, ...] = (
    *affinity.ABOUT,
    *series.ABOUT,
    *people.ABOUT,
    *place.ABOUT,
    *topics.ABOUT,
    *tastes.ABOUT,
    *products.ABOUT,
)
FAMILIES = OF_EVENTS + OF_PAIRS
ABOUT: dict[str, About] = {name: family for family in FAMILIES for name in family.names}
"""Every feature and what is said of it, in the order of a matrix's columns."""
NAMES = tuple(ABOUT)
EVENTS = slice(0, sum(len(family.names) for family in OF_EVENTS))
"""Features that are the same for every user come first."""
PAIRS = slice(EVENTS.stop, len(NAMES))
"""The others."""
USERS_A_BLOCK = 256


class Features:
    """All features at one instant.

    What is said of events comes from the crowd, and is computed once; what is said of a person
    comes from the rows of some Persons, who may have been read later.

    Args:
        s: The crowd.
        expected: What the next day brings each event, learned from days over at the instant;
            yesterday's number if None.
        asked: Indices of the users of the crowd whose pairs will be asked for; anybody's if None.
            With few of them it takes less time.
    """

    names = NAMES

    def __init__(
        self, s: Snapshot, expected: Forecast | None = None, asked: Ints | None = None
    ) -> None:
        self.s = s
        self.expected = expected or YESTERDAY
        self.demand = demand.Demand(s)
        self.affinity = affinity.Affinity(s)
        self.series = series.Series(s)
        self.people = people.People(s, asked)
        self.place = place.Place(s, self.demand)
        self.topics = topics.Topics(s)
        self.tastes = tastes.Tastes(s, self.topics)

    @cached_property
    def of_columns(self) -> dict[str, Dense]:
        """Features that are the same for every user: name to shape (n_columns,)."""
        found = forecast.columns(self.s, self.demand)
        return found | self.expected.columns(self.s, self.demand, found)

    @cached_property
    def of_events(self) -> Dense:
        """The same as a matrix, shape (n_columns, number of ``EVENTS``)."""
        return np.column_stack([self.of_columns[name] for name in NAMES[EVENTS]])

    def of_crowd(self) -> None:
        """Compute what is the same for all pairs, which is done on first use, now.

        To be called before pairs are spread over processes, for each would do it for itself.
        """
        self.matrix(Pairs.every(np.zeros(1, np.int32), self.s.n_columns))

    def renewed(self, s: Snapshot, to: Moves) -> "Features":
        """Return the features of a renewed crowd.

        Args:
            s: Made by ``renewal.renewed``.
            to: From the indices of this crowd to those of that one.
        """
        again = Features(s, self.expected)
        if same_acts(self.s, s, to):
            again.people = self.people.renewed(s, to)
        return again

    def narrowed(self, columns: Ints) -> "Features":
        """Return the features of some columns alone, which take a part of the time.

        Columns keep their places. Of pairs with others the result says nothing.

        Args:
            columns: Places in ``Snapshot.columns``.
        """
        few = copy(self)
        few.people, few.topics = self.people.narrowed(columns), self.topics.narrowed(columns)
        return few

    def matrix(self, p: Pairs, out: Dense | None = None, persons: Persons | None = None) -> Dense:
        """Compute the features of pairs.

        Args:
            p: Pairs of the persons and of columns of the crowd.
            out: An earlier result that is no longer needed, of at least as many pairs; fresh
                memory costs several times the computation.
            persons: Everybody of the crowd if None.

        Returns:
            Shape (len(p), len(names)), each feature's values side by side in memory (Fortran
            order). Finite.
        """
        sheet = Sheet(len(p), NAMES, out)
        for name, values in self.of_columns.items():
            p.of_columns(values, out=sheet[name])
        self._fill(sheet, p, persons)
        return sheet.matrix

    def of_pairs(self, p: Pairs, out: Dense | None = None, persons: Persons | None = None) -> Dense:
        """Compute the features of pairs but for those that are the same for every user.

        Args:
            p: As for ``matrix``.
            out: An earlier result of this method.
            persons: As for ``matrix``.

        Returns:
            As that of ``matrix``, shape (len(p), number of ``PAIRS``).
        """
        sheet = Sheet(len(p), NAMES[PAIRS], out)
        self._fill(sheet, p, persons)
        return sheet.matrix

    def of_many(self, user: Ints, column: Ints) -> Dense:
        """Compute the features of many pairs, a block of users at a time, to bound memory.

        Args:
            user: Indices of users of the crowd, ascending, repeated as needed.
            column: Places in ``Snapshot.columns``, of the same length.

        Returns:
            Shape (len(user), len(names)), a row after the other in memory.
        """
        x = np.empty((len(user), len(NAMES)), np.float32)
        first = np.flatnonzero(np.diff(user, prepend=-1))
        for begin, end in pairwise([*first[::USERS_A_BLOCK].tolist(), len(user)]):
            pairs, place = Pairs.distinct(user[begin:end], column[begin:end], self.s.n_columns)
            x[begin:end] = self.matrix(pairs)[place]
        return x

    def _fill(self, sheet: Sheet, p: Pairs, persons: Persons | None) -> None:
        who = self.s if persons is None else persons
        rows = who.rows(p.users)
        self.affinity.fill(sheet, p, rows)
        self.series.fill(sheet, p, rows)
        self.people.fill(sheet, p, rows)
        self.topics.fill(sheet, p, rows)
        self.tastes.fill(sheet, p, rows)
        self.place.fill(sheet, p, who)
        products.fill(sheet, p, rows, self.of_columns)


def document() -> str:
    """Return the table of all features in Markdown, as it stands in ``docs/features.md``."""
    head = "| group | features | meaning | why |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {a.group} | {'<br>'.join(f'`{name}`' for name in a.names)} | {a.meaning} | {a.why} |\n"
        for a in FAMILIES
    )
