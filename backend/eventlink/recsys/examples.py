"""Training examples: what people chose on a day, beside what they might have chosen.

What does not live here: which days (``recsys.replay``), what the features are (``recsys.features``)
and what is learned from them (``recsys.models``).
"""

from dataclasses import dataclass, fields

import numpy as np

from eventlink.recsys.dataset import DAY, Bools, Dataset, Floats, Ints
from eventlink.recsys.features import Features
from eventlink.recsys.impressions import REGISTERED, ShownLists
from eventlink.recsys.matrices import Dense
from eventlink.recsys.outcomes import Outcomes, is_registered, outcomes
from eventlink.recsys.snapshot import Snapshot

MOST_LISTS = 300
"""More shown lists a day are sampled down to this, to bound memory."""


@dataclass(frozen=True)
class Examples:
    """Pairs with what came of them, in groups out of which somebody chose.

    A group is a user's day (what was registered for, and events drawn) or a list that was shown.
    """

    x: Dense
    """Features, shape (n, number of features)."""
    y: Bools
    """Whether the user registered within the day."""
    group: Ints
    """Number of the group, ascending."""
    at: Floats
    """The instant at which the pair was seen, ascending."""
    weight: Floats
    """How many candidates the pair stands for: 1 if positive, more if drawn, 0 if shown."""
    gain: Dense
    """What the outcome is worth: 1 for a registration, see ``recsys.impressions``; 0 for none."""
    position: Dense
    """Log of the place in the shown list, counted from 1; 0 for a pair that was not shown."""
    together: Ints
    """How many users registered for the event on that day; 0 for whom did not, or in a list."""

    def __len__(self) -> int:
        return len(self.y)

    def between(self, begin: float, end: float) -> "Examples":
        """Return the examples of the days whose first instants lie in [begin, end).

        Args:
            begin: Seconds since 1970-01-01 UTC.
            end: Likewise.
        """
        which = slice(*np.searchsorted(self.at, [begin, end], side="left"))
        return Examples(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    @property
    def n_positives(self) -> int:
        """Number of examples of which something came."""
        return int((self.gain > 0).sum())


@dataclass(frozen=True)
class Choices:
    """Pairs of a day to learn from."""

    user: Ints
    """Ascending."""
    column: Ints
    y: Bools
    """Whether the user registered within the day; the others were drawn."""
    together: Ints
    """How many users did, also those who are not among the pairs; 0 if drawn."""
    stands_for: float
    """How many candidates each drawn one stands for."""
    lists: ShownLists
    """What was shown within the day."""

    @property
    def users(self) -> Ints:
        """Everybody of whom there is a pair."""
        return np.union1d(self.user, self.lists.user)


def choices_of_day(
    data: Dataset, s: Snapshot, negatives: int, share: float, rng: np.random.Generator
) -> Choices:
    """Choose the pairs of the day that begins at an instant.

    All registrations with negatives drawn uniformly for each user, and the lists that were shown.

    Args:
        data: Everything; only the day is read.
        s: The instant.
        negatives: How many to draw a user; fewer stay, for positives among them are dropped.
        share: Of the day's users that are taken, drawn at random.
        rng: Source of the draws.
    """
    day = outcomes(data, s, s.as_of + DAY)
    users = np.unique(day.user)
    if share < 1:
        users = np.sort(rng.choice(users, int(np.ceil(share * len(users))), replace=False))
    kept = np.isin(day.user, users)
    drawn_user = np.repeat(users, negatives).astype(np.int32)
    drawn_column = rng.integers(0, max(s.n_columns, 1), len(drawn_user)).astype(np.int32)
    taken = is_registered(s, drawn_user, drawn_column)
    taken |= _contains(day, drawn_user, drawn_column, s.n_columns)
    user = np.concatenate([day.user[kept], drawn_user[~taken]])
    column = np.concatenate([day.column[kept], drawn_column[~taken]])
    of_everybody = np.bincount(day.column, minlength=s.n_columns)[day.column[kept]]
    together = np.concatenate([of_everybody, np.zeros((~taken).sum(), int)]).astype(np.int32)
    order = np.argsort(user, kind="stable")
    return Choices(
        user=user[order],
        column=column[order],
        y=order < kept.sum(),
        together=together[order],
        stands_for=s.n_columns / negatives,
        lists=ShownLists.of_day(data, s, s.as_of + DAY).sample(MOST_LISTS, rng),
    )


def _contains(day: Outcomes, user: Ints, column: Ints, n_columns: int) -> Bools:
    known = day.user.astype(np.int64) * n_columns + day.column
    return np.isin(user.astype(np.int64) * n_columns + column, known)


def examples_of_day(choices: Choices, features: Features) -> Examples:
    """Make examples of a day's choices.

    Args:
        choices: Of the day.
        features: Of its first instant, for its users.
    """
    users, lists = np.unique(choices.user), choices.lists
    days = Examples(
        x=features.of_many(choices.user, choices.column),
        y=choices.y,
        group=np.searchsorted(users, choices.user).astype(np.int32),
        at=np.full(len(choices.y), features.s.as_of),
        weight=np.where(choices.y, 1.0, choices.stands_for),
        gain=choices.y.astype(np.float32),
        position=np.zeros(len(choices.y), np.float32),
        together=choices.together,
    )
    shown = Examples(
        x=features.of_many(lists.user, lists.column),
        y=lists.gain >= REGISTERED,
        group=lists.list,
        at=np.full(len(lists), features.s.as_of),
        weight=np.zeros(len(lists)),
        gain=lists.gain,
        position=np.log1p(lists.position).astype(np.float32),
        together=np.zeros(len(lists), np.int32),
    )
    return concatenate([days, shown])


def concatenate(days: list[Examples]) -> Examples:
    """Put examples together; their groups stay apart."""
    days = [day for day in days if len(day)] or days[:1]
    if len(days) == 1:  # nothing to copy
        return days[0]
    offsets = np.cumsum([0, *(int(day.group.max(initial=-1)) + 1 for day in days)])
    groups = [day.group + offset for day, offset in zip(days, offsets, strict=False)]
    joined = {
        f.name: np.concatenate([getattr(day, f.name) for day in days]) for f in fields(Examples)
    }
    return Examples(**joined | {"group": np.concatenate(groups).astype(np.int32)})
