"""The Snapshot: the crowd at one instant, aggregated once for all features.

What does not live here: single people's rows (``recsys.persons``), the features themselves
(``recsys.features``), which only combine what is offered here, and the choice of instants
(``recsys.examples``, ``recsys.evaluation``).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import Bools, Dataset, Floats, Ints
from eventlink.recsys.geography import local_hour_of_week
from eventlink.recsys.matrices import Dense, Matrix, count, incidence, sum_into, take_rows
from eventlink.recsys.persons import Persons

FEW_GROUPS = 256
"""A table of users by so many groups stays in cache, and is quickest looked up as it is."""


@dataclass(frozen=True)
class Pairs:
    """(user, event) pairs, grouped by user, of some Persons and the columns of a Snapshot.

    The ``of_…`` methods spread what is known of users, of columns or of both over the pairs; they
    write into ``out``, shape (len(pairs),), if it is given.
    """

    users: Ints
    """The distinct users, as indices of the Persons."""
    row: Ints
    """For every pair, the place of its user in ``users``."""
    column: Ints
    """For every pair, the place of its event in ``Snapshot.columns``."""
    grid: tuple[int, int] | None = None
    """(number of users, number of columns), if these are all their pairs in order."""
    n_columns: int | None = None
    """Number of columns of the Snapshot, if these are chosen pairs and none is there twice."""

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def every(cls, users: Ints, n_columns: int) -> "Pairs":
        """Pair each of some distinct users with all columns of a Snapshot.

        Args:
            users: Indices of users.
            n_columns: Number of columns of the Snapshot.
        """
        row = np.repeat(np.arange(len(users), dtype=np.int32), n_columns)
        column = np.tile(np.arange(n_columns, dtype=np.int32), len(users))
        return cls(users, row, column, (len(users), n_columns))

    @classmethod
    def chosen(cls, users: Ints, columns: Ints, n_columns: int) -> "Pairs":
        """Pair each of some distinct users with equally many columns.

        Args:
            users: Indices of users, shape (n,).
            columns: Places in ``Snapshot.columns``, distinct in each row, shape (n, size).
            n_columns: Number of columns of the Snapshot.
        """
        n, size = columns.shape
        if size == n_columns:
            return cls.every(users, n_columns)
        row = np.repeat(np.arange(n, dtype=np.int32), size)
        return cls(users, row, columns.ravel(), n_columns=n_columns)

    @classmethod
    def distinct(
        cls, user: Ints, column: Ints, n_columns: int
    ) -> tuple["Pairs", npt.NDArray[np.intp]]:
        """Make pairs from a user and a column for each, leaving out those that come again.

        Args:
            user: Indices of users, repeated as needed, in any order.
            column: Places in ``Snapshot.columns``, of the same length.
            n_columns: Number of columns of the Snapshot.

        Returns:
            The distinct pairs, and the place among them of each one given.
        """
        key, place = np.unique(user.astype(np.int64) * n_columns + column, return_inverse=True)
        users, row = np.unique(key // n_columns, return_inverse=True)
        return cls(
            users.astype(np.int32),
            row.astype(np.int32),
            (key % n_columns).astype(np.int32),
            n_columns=n_columns,
        ), place

    @classmethod
    def of(cls, user: Ints, column: Ints) -> "Pairs":
        """Make pairs from a user and a column for each.

        Args:
            user: Indices of users, repeated as needed, in any order.
            column: Places in ``Snapshot.columns``, of the same length.
        """
        users, row = np.unique(user, return_inverse=True)
        return cls(users, row.astype(np.int32), column)

    def of_users(self, values: Dense, out: Dense | None = None) -> Dense:
        """Spread values of users, shape (len(users),)."""
        out = self._room(out)
        if self.grid:
            out.reshape(self.grid)[...] = values[:, None]
        else:
            np.take(values, self._row, out=out, mode="clip")
        return out

    def of_columns(self, values: Dense, out: Dense | None = None) -> Dense:
        """Spread values of columns, shape (n_columns,)."""
        out = self._room(out)
        if self.grid:
            out.reshape(self.grid)[...] = values
        else:
            np.take(values, self._column, out=out, mode="clip")
        return out

    def of_both(self, table: Dense, out: Dense | None = None, kin: Ints | None = None) -> Dense:
        """Spread a table of users by columns.

        Args:
            table: Shape (len(users), n_columns); fewer rows where users share them.
            out: Where to write.
            kin: For each user, the row of the table; its own if None.
        """
        out = self._room(out)
        if self.grid:
            out.reshape(self.grid)[...] = table if kin is None else table[kin]
        else:
            row = self._row if kin is None else kin[self._row]
            np.take(table, row * table.shape[1] + self._column, out=out, mode="clip")
        return out

    def of_groups(
        self, table: Dense, group: Ints, out: Dense | None = None, kin: Ints | None = None
    ) -> Dense:
        """Spread a table of users by groups of columns.

        Args:
            table: Shape (len(users), number of groups); fewer rows where users share them.
            group: For each column, its group.
            out: Where to write.
            kin: For each user, the row of the table; its own if None.
        """
        out = self._room(out)
        if self.grid:
            table = table if kin is None else table[kin]
            np.take(table, group, axis=1, out=out.reshape(self.grid), mode="clip")
        else:
            row = self._row if kin is None else kin[self._row]
            place = row * table.shape[1] + group.astype(np.intp)[self._column]
            np.take(table, place, out=out, mode="clip")
        return out

    def of_sparse(
        self, table: Matrix, out: Dense | None = None, groups: "Groups | None" = None
    ) -> Dense:
        """Spread a sparse table of users by columns, or by groups of columns.

        Most users have nothing to do with most columns: among chosen pairs only what is stored is
        looked at.

        Args:
            table: Shape (len(users), n_columns or ``groups.size``).
            out: Where to write.
            groups: Of the columns; None if the table is by column.
        """
        few = groups is not None and groups.size <= FEW_GROUPS
        if not table.nnz:  # as often for a single user
            out = self._room(out)
            out.fill(0)
            return out
        if self.n_columns is None or few:
            if groups is None:
                return self.of_both(table.toarray(), out)
            padded = np.pad(table.toarray(), ((0, 0), (0, 1)))  # the last column is of no group
            return self.of_groups(padded, groups.of_column, out)
        stored = table if groups is None else table @ groups.to_columns
        out = self._room(out)
        out.fill(0)
        begins = np.arange(stored.shape[0], dtype=np.intp) * stored.shape[1]
        place = self._slots[np.repeat(begins, np.diff(stored.indptr)) + stored.indices]
        here = np.flatnonzero(place >= 0)
        out[place[here]] = stored.data[here]
        return out

    @cached_property
    def _slots(self) -> Ints:
        """For each user and column, the place of the pair, -1 where it was not chosen; raveled."""
        n_columns = self.n_columns or 0
        slots = np.full(len(self.users) * n_columns, -1, np.int32)
        slots[self._row * n_columns + self._column] = np.arange(len(self), dtype=np.int32)
        return slots

    def _room(self, out: Dense | None) -> Dense:
        return np.empty(len(self), np.float32) if out is None else out

    # NumPy would convert narrower indices anew at each look-up.
    @cached_property
    def _row(self) -> npt.NDArray[np.intp]:
        return self.row.astype(np.intp)

    @cached_property
    def _column(self) -> npt.NDArray[np.intp]:
        return self.column.astype(np.intp)


@dataclass(frozen=True)
class Groups:
    """Events put into groups, of which only those with a column count.

    Group ``size`` stands for none: no organizer, or one without a column.
    """

    of_key: Ints
    """For every organizer, venue or whatever they are grouped by, its group; last, that of -1."""
    of_event: Ints
    """For every event of the Dataset."""
    of_column: Ints
    """For every column of the Snapshot."""
    size: int

    @cached_property
    def to_columns(self) -> Matrix:
        """Groups × columns: 1 where the column is of the group."""
        of_column = np.where(self.of_column < self.size, self.of_column, -1)
        return incidence(of_column, self.size).T.tocsr()

    @cached_property
    def to_groups(self) -> Matrix:
        """All keys × groups: 1 where the key has the group."""
        of_key = self.of_key[:-1]
        return incidence(np.where(of_key < self.size, of_key, -1), self.size)

    @cached_property
    def members(self) -> Matrix:
        """All events × groups: 1 where the event is of the group."""
        return incidence(np.where(self.of_event < self.size, self.of_event, -1), self.size)

    def pick(self, values: Floats) -> Floats:
        """Pick each column's group's value from shape (size,); 0 where there is none."""
        picked: Floats = np.append(values, 0.0)[self.of_column]
        return picked


class Snapshot(Persons):
    """The crowd: what was known of everybody and everything at an instant.

    A *column* is an event that may be scored: one that is live, unless others are asked for.
    Everybody is among the ``Persons``, a row each. Others, whose rows were read later, can be
    asked for in the same columns.

    Args:
        data: All that is stored. Only ``data.before(as_of)`` is ever looked at.
        as_of: Seconds since 1970-01-01 UTC.
        columns: Indices of the events to score; the live ones if None.
    """

    def __init__(self, data: Dataset, as_of: float, columns: Ints | None = None) -> None:
        super().__init__(data.before(as_of), as_of)
        self.live: Bools = self._live_at(as_of)
        self.columns: Ints = (
            np.flatnonzero(self.live).astype(np.int32) if columns is None else columns
        )
        self.column_of = np.full(self.data.n_events, -1, np.int32)
        self.column_of[self.columns] = np.arange(len(self.columns), dtype=np.int32)

    @property
    def n_columns(self) -> int:
        """Number of events that may be scored."""
        return len(self.columns)

    # Structure ------------------------------------------------------------------------------

    @cached_property
    def started(self) -> Bools:
        """For each event of the Dataset, whether it has started and was not cancelled before."""
        events = self.data.events
        started: Bools = events.published & (events.start <= self.as_of)
        return started & (events.gone > events.start)

    @cached_property
    def organizer(self) -> Ints:
        """For each column, its organizer; -1 for none."""
        return self.data.events.organizer[self.columns]

    @cached_property
    def organizers(self) -> Groups:
        """Events by organizer."""
        return self.groups(self.data.events.organizer, self.data.n_organizers)

    @cached_property
    def venues(self) -> Groups:
        """Events by venue."""
        return self.groups(self.data.events.venue, self.data.n_venues)

    @cached_property
    def series(self) -> Groups:
        """Events by series: an organizer's events of one title, or without title of one hour."""
        events = self.data.events
        hour = local_hour_of_week(events.start, events.lon).astype(np.int64)
        title = np.where(events.title >= 0, events.title, -1 - hour)
        has = events.organizer >= 0
        keys = np.stack([events.organizer[has].astype(np.int64), title[has]])
        names, number = np.unique(keys, axis=1, return_inverse=True)
        series = np.full(len(events), -1, np.int32)
        series[has] = number.astype(np.int32)
        return self.groups(series, names.shape[1])

    def groups(self, key: Ints, n_keys: int) -> Groups:
        """Group events by a key.

        Args:
            key: For every event of the Dataset; -1 for none.
            n_keys: Number of keys.
        """
        own = key[self.columns]
        present = np.unique(own[own >= 0])
        of_key = np.full(n_keys + 1, len(present), np.int32)  # the last one is for -1
        of_key[present] = np.arange(len(present), dtype=np.int32)
        return Groups(of_key, of_key[key], of_key[own], len(present))

    @cached_property
    def event_tags(self) -> Matrix:
        """All events × tags: 1 where the event has the tag."""
        tags = self.data.event_tags
        return sum_into((self.data.n_events, self.data.n_tags), tags.event, tags.tag)

    @cached_property
    def event_organizers(self) -> Matrix:
        """All events × all organizers: 1 at the event's organizer."""
        return incidence(self.data.events.organizer, self.data.n_organizers)

    # These turn rows over all events, tags or organizers into rows over columns.

    @cached_property
    def to_columns(self) -> Matrix:
        """All events × columns: 1 where they are the same."""
        return incidence(self.column_of, self.n_columns)

    @cached_property
    def tags_to_columns(self) -> Matrix:
        """Tags × columns: 1 where the column has the tag."""
        return self.event_tags[self.columns].T.tocsr()

    @cached_property
    def organizers_to_columns(self) -> Matrix:
        """All organizers × columns: 1 where the column is the organizer's."""
        return incidence(self.organizer, self.data.n_organizers).T.tocsr()

    # Who goes where, and who may be shown what ------------------------------------------------

    @cached_property
    def members(self) -> Bools:
        """For each user, whether they had signed up.

        Accounts may be younger than what their users did, where they came from elsewhere: whoever
        has registered for something had signed up.
        """
        return (self.data.users.joined < self.as_of) | self.registrants

    @cached_property
    def registrants(self) -> Bools:
        """For each user, whether they ever registered, also if they took it back."""
        seen: Bools = np.zeros(self.data.n_users, np.bool_)
        seen[self.data.registrations.user] = True
        return seen

    @cached_property
    def going(self) -> Matrix:
        """Users × columns: 1 where a registration stands."""
        return self.registered @ self.to_columns

    @cached_property
    def full(self) -> Bools:
        """For each column, whether no seat is left."""
        seats = self.data.events.max_seats[self.columns]
        return (seats >= 0) & (count(self.going.indices, self.n_columns) >= seats)

    @cached_property
    def eligible(self) -> Bools:
        """For each column, whether it may be shown to anybody: live, and seats left."""
        return self.eligible_at(self.as_of)

    def eligible_at(self, instant: float) -> Bools:
        """Tell which columns may be shown to anybody at a later instant, as far as is known."""
        return self._live_at(instant)[self.columns] & ~self.full

    def _live_at(self, instant: float) -> Bools:
        events = self.data.events
        return events.published & (events.start > instant) & (events.gone > instant)

    def excluded(self, users: Ints, persons: Persons | None = None) -> Bools:
        """Tell which columns each user must not be shown: registered, hidden or blocked.

        Args:
            users: Indices of users of ``persons``, shape (n,).
            persons: Everybody of the Snapshot if None.

        Returns:
            Shape (n, n_columns).
        """
        who = self if persons is None else persons
        excluded: Bools = np.zeros((len(users), self.n_columns), np.bool_)
        for said, onto in (
            (who.registered, self.to_columns),
            (who.hidden, self.tags_to_columns),
            (who.blocked, self.organizers_to_columns),
        ):
            some = take_rows(said, users)
            if some.nnz:
                excluded |= (some @ onto).toarray() > 0
        return excluded
