"""The Snapshot: what was known at one instant, aggregated once for all features.

What does not live here: the features themselves (``recsys.features``), which only combine what a
Snapshot offers, and the choice of instants (``recsys.examples``, ``recsys.evaluation``).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from eventlink.recsys.dataset import DAY, Act, Bools, Dataset, Floats, Ints

Matrix: TypeAlias = sparse.csr_array[np.float32]
Dense = npt.NDArray[np.float32]

HISTORY_HALF_LIFE = 60 * DAY
"""How fast a user's past loses weight."""

ENGAGED = {Act.CLICK: 1.0, Act.VIEW: 0.5, Act.SHARE: 2.0}
"""What an act says of interest; a long dwell counts as a click."""

LONG_DWELL_SECONDS = 20.0
NO_SHOW_WEIGHT = 0.25
"""What a registration is worth whose user did not come."""


@dataclass(frozen=True)
class Pairs:
    """(user, event) pairs of one Snapshot, grouped by user.

    The ``of_…`` methods spread what is known of users, of columns or of both over the pairs; they
    write into ``out``, shape (len(pairs),), if it is given.
    """

    users: Ints
    """The distinct users, as indices of the Dataset."""
    row: Ints
    """For every pair, the place of its user in ``users``."""
    column: Ints
    """For every pair, the place of its event in ``Snapshot.columns``."""
    grid: tuple[int, int] | None = None
    """(number of users, number of columns), if these are all their pairs in order."""

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

    def of_both(self, table: Dense, out: Dense | None = None) -> Dense:
        """Spread a table of users by columns, shape (len(users), n_columns)."""
        out = self._room(out)
        if self.grid:
            out.reshape(self.grid)[...] = table
        else:
            out[...] = table[self._row, self._column]
        return out

    def of_groups(self, table: Dense, group: Ints, out: Dense | None = None) -> Dense:
        """Spread a table of users by groups of columns.

        Args:
            table: Shape (len(users), number of groups).
            group: For each column, its group.
            out: Where to write.
        """
        out = self._room(out)
        if self.grid:
            np.take(table, group, axis=1, out=out.reshape(self.grid), mode="clip")
        else:
            out[...] = table[self._row, group[self._column]]
        return out

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
    """For every organizer, venue or whatever they are grouped by, its group."""
    of_event: Ints
    """For every event of the Dataset."""
    of_column: Ints
    """For every column of the Snapshot."""
    size: int

    @cached_property
    def members(self) -> Matrix:
        """All events × groups: 1 where the event is of the group."""
        return incidence(np.where(self.of_event < self.size, self.of_event, -1), self.size)

    def pick(self, values: Floats) -> Floats:
        """Pick each column's group's value from shape (size,); 0 where there is none."""
        picked: Floats = np.append(values, 0.0)[self.of_column]
        return picked


class Snapshot:
    """What was known of everybody and everything at an instant.

    A *column* is an event that may be scored: one that is live, unless others are asked for.
    Everything is computed on first use and kept.

    Args:
        data: All that is stored. Only ``data.before(as_of)`` is ever looked at.
        as_of: Seconds since 1970-01-01 UTC.
        columns: Indices of the events to score; the live ones if None.
    """

    def __init__(self, data: Dataset, as_of: float, columns: Ints | None = None) -> None:
        self.as_of = as_of
        self.data = data.before(as_of)
        events = self.data.events
        self.live: Bools = events.published & (events.start > as_of) & (events.gone > as_of)
        self.columns: Ints = (
            np.flatnonzero(self.live).astype(np.int32) if columns is None else columns
        )
        self.column_of = np.full(self.data.n_events, -1, np.int32)
        self.column_of[self.columns] = np.arange(len(self.columns), dtype=np.int32)

    @property
    def n_columns(self) -> int:
        """Number of events that may be scored."""
        return len(self.columns)

    @cached_property
    def organizer(self) -> Ints:
        """For each column, its organizer; -1 for none."""
        return self.data.events.organizer[self.columns]

    # Structure ------------------------------------------------------------------------------

    @cached_property
    def organizers(self) -> Groups:
        """Events by organizer."""
        return self.groups(self.data.events.organizer, self.data.n_organizers)

    @cached_property
    def venues(self) -> Groups:
        """Events by venue."""
        return self.groups(self.data.events.venue, self.data.n_venues)

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

    # Registrations --------------------------------------------------------------------------

    @cached_property
    def standing(self) -> Bools:
        """For each registration, whether it has not been taken back."""
        return np.isinf(self.data.registrations.until)

    @cached_property
    def registered(self) -> Matrix:
        """Users × all events: 1 where a registration stands."""
        log = self.data.registrations.rows(self.standing)
        return _ones(self._users_by(log.event, log.user))

    @cached_property
    def going(self) -> Matrix:
        """Users × columns: 1 where a registration stands."""
        return self.registered[:, self.columns]

    @cached_property
    def history(self) -> Ints:
        """For each user, how many registrations stand."""
        history: Ints = np.diff(self.registered.indptr).astype(np.int32)
        return history

    @cached_property
    def attended(self) -> Matrix:
        """Users × all events: registrations that stand, decayed; a no-show counts a quarter."""
        return self.attended_decayed(HISTORY_HALF_LIFE)

    def attended_decayed(self, half_life: float) -> Matrix:
        """Compute ``attended`` with another half-life, in seconds."""
        log = self.data.registrations.rows(self.standing)
        worth = np.where(log.attended == 0, np.float32(NO_SHOW_WEIGHT), np.float32(1))
        return self._users_by(log.event, log.user, worth * self.decay(log.at, half_life))

    # Who may be shown what ------------------------------------------------------------------

    @cached_property
    def full(self) -> Bools:
        """For each column, whether no seat is left."""
        seats = self.data.events.max_seats[self.columns]
        return (seats >= 0) & (count(self.going.indices, self.n_columns) >= seats)

    @cached_property
    def eligible(self) -> Bools:
        """For each column, whether it may be shown to anybody: live, and seats left."""
        return self.live[self.columns] & ~self.full

    def excluded(self, users: Ints) -> Bools:
        """Tell which columns each user must not be shown: registered, hidden or blocked.

        Args:
            users: Indices of users, shape (n,).

        Returns:
            Shape (n, n_columns).
        """
        never = self.going[users] + self._unwanted[users]
        excluded: Bools = never.toarray() > 0
        return excluded

    @cached_property
    def _unwanted(self) -> Matrix:
        """Users × columns: positive where the user hid a tag or blocked the organizer."""
        data, n_users = self.data, self.data.n_users
        hidden = sum_into((n_users, data.n_tags), data.hidden_tags.user, data.hidden_tags.tag)
        blocked = sum_into((n_users, data.n_organizers), data.blocks.user, data.blocks.organizer)
        organizer = incidence(self.organizer, data.n_organizers)
        return (hidden @ self.event_tags[self.columns].T + blocked @ organizer.T).tocsr()

    # What users did beside registering, by event --------------------------------------------

    @cached_property
    def refusals(self) -> Matrix:
        """Users × all events: 1 where the user said no, or took the registration back."""
        acts = self.data.interactions
        said = acts.rows(acts.act == Act.UNREGISTER)
        undone = self.data.registrations.rows(~self.standing)
        event = np.concatenate([said.event, undone.event])
        return _ones(self._users_by(event, np.concatenate([said.user, undone.user])))

    @cached_property
    def favorites(self) -> Matrix:
        """Users × all events: 1 where the user marked the event."""
        log = self.data.favorites
        return _ones(self._users_by(log.event, log.user))

    @cached_property
    def engagement(self) -> Matrix:
        """Users × all events: decayed clicks, views, shares and long dwells."""
        acts = self.data.interactions
        worth = np.zeros(len(acts), np.float32)
        for act, value in ENGAGED.items():
            worth[acts.act == act] = value
        worth[(acts.act == Act.DWELL) & (acts.dwell >= LONG_DWELL_SECONDS)] = 1.0
        kept = worth > 0
        weight = worth[kept] * self.decay(acts.at[kept], HISTORY_HALF_LIFE)
        return self._users_by(acts.event[kept], acts.user[kept], weight)

    @cached_property
    def skips(self) -> Matrix:
        """Users × all events: shown above something clicked in the same list, and not clicked.

        Joachims et al. (2005), "skip above": the user has looked at least as far as the last click.
        """
        acts = self.data.interactions
        listed = (acts.request >= 0) & (acts.position >= 0)
        shown = acts.rows(listed & (acts.act == Act.IMPRESSION))
        clicked = acts.rows(listed & (acts.act == Act.CLICK))
        deepest = np.full(int(acts.request.max(initial=-1)) + 1, -1, np.int32)
        np.maximum.at(deepest, clicked.request, clicked.position)
        seen = shown.rows(shown.position < deepest[shown.request])
        clicked_pairs = clicked.request.astype(np.int64) * self.data.n_events + clicked.event
        seen_pairs = seen.request.astype(np.int64) * self.data.n_events + seen.event
        seen = seen.rows(~np.isin(seen_pairs, clicked_pairs))
        return self._users_by(seen.event, seen.user, self.decay(seen.at, HISTORY_HALF_LIFE))

    def decay(self, at: Floats, half_life: float) -> Dense:
        """Weigh instants: 1 now, one half a half-life ago, 0 for unknown.

        Args:
            at: Instants, seconds.
            half_life: Seconds.
        """
        return np.exp2((at - self.as_of) / half_life).astype(np.float32)

    def _users_by(self, event: Ints, user: Ints, weight: Dense | None = None) -> Matrix:
        return sum_into((self.data.n_users, self.data.n_events), user, event, weight)


def sum_into(
    shape: tuple[int, int], row: Ints, column: Ints, weight: Dense | None = None
) -> Matrix:
    """Sum weights (1 if None) into a sparse matrix."""
    values = np.ones(len(row), np.float32) if weight is None else weight
    matrix: Matrix = sparse.csr_array((values, (row, column)), shape=shape, dtype=np.float32)
    matrix.sum_duplicates()
    return matrix


def incidence(thing: Ints, size: int) -> Matrix:
    """Make the matrix that sums over things: a 1 in each row, at the row's thing.

    Args:
        thing: For each row its thing; -1 for none.
        size: Number of things.

    Returns:
        Shape (len(thing), size).
    """
    has = np.flatnonzero(thing >= 0).astype(np.int32)
    return sum_into((len(thing), size), has, thing[has])


def count(thing: Ints, size: int, weight: Dense | Floats | None = None) -> Floats:
    """Count the rows, or sum their weights, of each thing.

    Args:
        thing: For each row its thing; -1 for none.
        size: Number of things.
        weight: For each row; 1 if None.

    Returns:
        Shape (size,).
    """
    has = thing >= 0
    kept = None if weight is None else weight[has]
    return np.bincount(thing[has], kept, minlength=size).astype(np.float64)


def _ones(matrix: Matrix) -> Matrix:
    matrix.data[:] = 1
    return matrix
