"""Shown lists as choices: what somebody took out of what they saw, and at which place it stood.

What does not live here: choices among everything there was (``recsys.examples``), and lists passed
over as a feature (``Snapshot.skips``).
"""

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np

from eventlink.recsys.dataset import (
    Act,
    Bools,
    Dataset,
    Favorites,
    Interactions,
    Ints,
    Registrations,
    Table,
)
from eventlink.recsys.matrices import Dense
from eventlink.recsys.snapshot import Snapshot

CLICKED, MARKED, REGISTERED, CAME = 0.5, 0.75, 1.0, 1.25
"""What came of a shown event, as the gain that training gives it; 0 for nothing."""

Log = TypeVar("Log", Interactions, Favorites, Registrations)


@dataclass(frozen=True)
class ShownLists(Table):
    """The events of lists of which something was taken, list by list in the order of users."""

    user: Ints
    column: Ints
    list: Ints
    """Number of the list, ascending."""
    position: Ints
    """Place in the list, from 0."""
    gain: Dense

    @classmethod
    def of_day(cls, data: Dataset, s: Snapshot, until: float) -> Self:
        """Find the lists shown from a Snapshot's instant on.

        Args:
            data: Everything; only what is dated in [s.as_of, until) is read.
            s: The instant. Events that are no column are left out.
            until: Seconds since 1970-01-01 UTC.
        """
        acts = _dated(data.interactions, s.as_of, until)
        column = s.column_of[acts.event]
        listed = (acts.request >= 0) & (acts.position >= 0) & (column >= 0)
        shown = np.flatnonzero((acts.act == Act.IMPRESSION) & listed)
        shown = shown[np.lexsort((acts.position[shown], acts.request[shown], acts.user[shown]))]
        rows, column = acts.rows(shown), column[shown]
        begins = np.diff(rows.user, prepend=-1).astype(bool)
        begins |= np.diff(rows.request, prepend=-1).astype(bool)
        number = np.cumsum(begins) - 1
        gain = _gains(data, rows, s.as_of, until)
        taken = np.bincount(number, gain)[number] > 0 if len(number) else np.zeros(0, bool)
        _, number = np.unique(number[taken], return_inverse=True)
        return cls(
            user=rows.user[taken],
            column=column[taken],
            list=number.astype(np.int32),
            position=rows.position[taken],
            gain=gain[taken],
        )

    def sample(self, most: int, rng: np.random.Generator) -> Self:
        """Draw some of the lists, if there are more than that."""
        n_lists = int(self.list.max(initial=-1)) + 1
        if n_lists <= most:
            return self
        chosen = np.zeros(n_lists, bool)
        chosen[rng.choice(n_lists, most, replace=False)] = True
        return self.rows(chosen[self.list])


def _gains(data: Dataset, shown: Interactions, begin: float, until: float) -> Dense:
    """Grade shown events by the furthest that their users went with them from then on."""
    acts = _dated(data.interactions, begin, until)
    clicks = acts.rows((acts.act == Act.CLICK) & (acts.request >= 0))
    favorites = _dated(data.favorites, begin, until)
    log = _dated(data.registrations, begin, until)
    # Attendance carries no date; that of an event that has not begun is not known yet.
    came = log.rows((log.attended == 1) & (data.events.start[log.event] < until))
    gain = np.zeros(len(shown), np.float32)
    gain[_among(shown.request, shown.event, clicks.request, clicks.event)] = CLICKED
    for table, worth in ((favorites, MARKED), (log, REGISTERED), (came, CAME)):
        gain[_followed(shown, table)] = worth
    return gain


def _dated(table: Log, begin: float, until: float) -> Log:
    return table.rows(slice(*np.searchsorted(table.at, [begin, until], side="left")))


def _followed(shown: Interactions, log: Favorites | Registrations) -> Bools:
    """Tell what the same user did with the same event at or after the instant it was shown."""
    size = 1 + max(int(shown.event.max(initial=0)), int(log.event.max(initial=0)))
    key, of_key = (t.user.astype(np.int64) * size + t.event for t in (shown, log))
    named, place = np.unique(np.concatenate([key, of_key]), return_inverse=True)
    last = np.full(len(named), -np.inf)
    last[place[len(key) :]] = log.at  # sorted, so the last one stays
    followed: Bools = last[place[: len(key)]] >= shown.at
    return followed


def _among(key: Ints, event: Ints, of_key: Ints, of_event: Ints) -> Bools:
    """Tell which (key, event) pairs are among others."""
    size = 1 + max(int(event.max(initial=0)), int(of_event.max(initial=0)))
    return np.isin(key.astype(np.int64) * size + event, of_key.astype(np.int64) * size + of_event)
