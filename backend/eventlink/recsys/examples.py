"""Training examples: a replay of the last days, each seen as of its own first instant.

What does not live here: what the features are (``recsys.features``) and what is learned from them
(``recsys.models``).
"""

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from eventlink.recsys.dataset import DAY, Bools, Dataset, Floats, Ints
from eventlink.recsys.features import NAMES, Features, Forecast, Forecasts
from eventlink.recsys.impressions import REGISTERED, ShownLists
from eventlink.recsys.matrices import Dense
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.snapshot import Pairs, Snapshot

USERS_A_BLOCK = 256
MOST_USER_DAYS = 8000
"""More (user, day) pairs are sampled down to this, evenly over the days, to bound memory."""
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
class Outcomes:
    """Registrations of a period to events that were candidates at its start."""

    user: Ints
    column: Ints


def outcomes(data: Dataset, s: Snapshot, until: float) -> Outcomes:
    """Tell who registered for what from a Snapshot's instant on.

    Args:
        data: Everything; only registrations in [s.as_of, until) are read.
        s: The instant.
        until: Seconds since 1970-01-01 UTC.

    Returns:
        Distinct (user, column), sorted; registrations that stood before are left out.
    """
    log = data.registrations
    begin, end = np.searchsorted(log.at, [s.as_of, until], side="left")
    user, column = log.user[begin:end], s.column_of[log.event[begin:end]]
    user, column = user[column >= 0], column[column >= 0]
    keys = np.unique(user.astype(np.int64) * max(s.n_columns, 1) + column)
    user, column = (part.astype(np.int32) for part in np.divmod(keys, max(s.n_columns, 1)))
    stood = is_registered(s, user, column)
    return Outcomes(user[~stood], column[~stood])


def is_registered(s: Snapshot, user: Ints, column: Ints) -> Bools:
    """Tell for pairs whether a registration stands at the instant."""
    log = s.data.registrations
    asked_for = np.zeros(s.data.n_users, bool)
    asked_for[user] = True
    rows = s.standing & asked_for[log.user]  # mostly few, and looking up is dear
    key = log.user[rows].astype(np.int64) * s.data.n_events + log.event[rows]
    asked = user.astype(np.int64) * s.data.n_events + s.columns[column]
    return np.isin(asked, key)


def replay(
    data: Dataset,
    instants: Floats,
    forecasts: Forecasts,
    options: TrainOptions,
    rng: np.random.Generator,
    report: Report = silent,
) -> Examples:
    """Make the examples of some days.

    Args:
        data: Everything; an example's features see only what is dated before its instant, and
            its outcome only the day after.
        instants: The days' first instants, seconds, ascending.
        forecasts: Of all these instants.
        options: How many negatives to draw.
        rng: Source of the draws.
        report: Told of the progress.

    Returns:
        All days' examples, in the order of the days.
    """
    share = MOST_USER_DAYS / max(_count_user_days(data, instants), MOST_USER_DAYS)
    work = list(zip(instants.tolist(), rng.spawn(len(instants)), strict=True))

    def one(day: tuple[float, np.random.Generator]) -> Examples:
        at, day_rng = day
        return examples_of_day(data, at, forecasts.at(at), options.negatives, share, day_rng)

    days: list[Examples] = []
    for number, day in enumerate(in_processes(one, work), start=1):
        days.append(day)
        report("replaying days", number / len(work))
    return _concatenate(days)


def _count_user_days(data: Dataset, instants: Floats) -> int:
    """Count the (user, day) pairs with a registration."""
    log = data.registrations
    day = np.searchsorted(instants, log.at, side="right") - 1
    inside = (day >= 0) & (log.at < instants[-1] + DAY)
    return len(np.unique(day[inside] * data.n_users + log.user[inside]))


def examples_of_day(
    data: Dataset,
    at: float,
    expected: Forecast,
    negatives: int,
    share: float,
    rng: np.random.Generator,
) -> Examples:
    """Make one day's examples.

    All registrations with negatives drawn uniformly for each user, and the lists that were shown.

    Args:
        data: Everything.
        at: The day's first instant, seconds.
        expected: The day's demand, as foreseen before it.
        negatives: How many to draw a user; fewer stay, for positives among them are dropped.
        share: Of the day's users that are taken, drawn at random.
        rng: Source of the draws.
    """
    s = Snapshot(data, at)
    day = outcomes(data, s, at + DAY)
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
    y = np.arange(len(user)) < kept.sum()
    order = np.argsort(user, kind="stable")
    user, column, y = user[order], column[order], y[order]
    lists = ShownLists.of_day(data, s, at + DAY).sample(MOST_LISTS, rng)
    features = Features(s, expected, np.union1d(users, lists.user))
    days = Examples(
        x=_features(features, user, column),
        y=y,
        group=np.searchsorted(users, user).astype(np.int32),
        at=np.full(len(y), at),
        weight=np.where(y, 1.0, s.n_columns / negatives),
        gain=y.astype(np.float32),
        position=np.zeros(len(y), np.float32),
    )
    return _concatenate([days, _of_lists(lists, features)])


def _of_lists(lists: ShownLists, features: Features) -> Examples:
    return Examples(
        x=_features(features, lists.user, lists.column),
        y=lists.gain >= REGISTERED,
        group=lists.list,
        at=np.full(len(lists), features.s.as_of),
        weight=np.zeros(len(lists)),
        gain=lists.gain,
        position=np.log1p(lists.position).astype(np.float32),
    )


def _contains(day: Outcomes, user: Ints, column: Ints, n_columns: int) -> Bools:
    known = day.user.astype(np.int64) * n_columns + day.column
    return np.isin(user.astype(np.int64) * n_columns + column, known)


def _features(features: Features, user: Ints, column: Ints) -> Dense:
    """Compute the features of pairs sorted by user, a block of users at a time."""
    x = np.empty((len(user), len(NAMES)), np.float32)
    if not len(user):
        return x
    _, first = np.unique(user, return_index=True)
    bounds = np.append(first[::USERS_A_BLOCK], len(user))
    for begin, end in pairwise(bounds):
        pairs, place = Pairs.distinct(user[begin:end], column[begin:end], features.s.n_columns)
        x[begin:end] = features.matrix(pairs)[place]
    return x


def _concatenate(days: list[Examples]) -> Examples:
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
