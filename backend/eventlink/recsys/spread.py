"""Spread: into whose rankings events belong that were not there when these were made.

What does not live here: the stored rankings, into which they are merged (``db.overlay``).
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import expit

from eventlink.recsys.dataset import Bools, Ints
from eventlink.recsys.matrices import Dense
from eventlink.recsys.persons import Persons
from eventlink.recsys.ranking import USERS_A_BLOCK, Ranker, Rankings
from eventlink.recsys.snapshot import Pairs

USERS_A_LOOK = 4096
DOUBT = 2.0
"""A user counts whose last event is ahead by no more than so many errors of the estimate."""


def entering(ranker: Ranker, columns: Ints, users: Ints, last: Dense) -> Iterator[Rankings]:
    """Score some events for all those whose ranking they enter.

    Args:
        ranker: That knows the events.
        columns: Their places in ``Snapshot.columns``.
        users: Indices of users, shape (n,).
        last: Log-odds of the score at the end of each user's ranking, ``-inf`` where there is
            room, shape (n,).

    Yields:
        For blocks of users, the events that have at least the score of the ranking's end.
    """
    which = may_enter(ranker, columns, users, last)
    users, least = users[which], expit(last[which])
    for begin in range(0, len(users), USERS_A_BLOCK):
        block = slice(begin, begin + USERS_A_BLOCK)
        found = ranker.rank(users[block], len(columns), only=columns)
        enters = (found.columns >= 0) & (found.scores >= least[block, None])
        some = enters.any(axis=1)
        yield Rankings(
            users=found.users[some],
            columns=np.where(enters, found.columns, np.int32(-1))[some],
            scores=found.scores[some],
            reasons=found.reasons[some],
            arguments=found.arguments[some],
        )


def may_enter(ranker: Ranker, columns: Ints, users: Ints, last: Dense) -> Bools:
    """Tell whose ranking some events may enter, by the candidates' stand-in for the model.

    Where all events are candidates there is no stand-in, and the model itself is asked.

    Args:
        ranker: That knows the events.
        columns: Their places in ``Snapshot.columns``.
        users: Indices of users, shape (n,).
        last: Log-odds of the score at the end of each user's ranking, ``-inf`` where there is
            room, shape (n,).
    """
    margins, doubt = _asked(ranker, columns), 0.0
    if not ranker.candidates.everything:
        margins, doubt = ranker.candidates.margins_of(columns), ranker.candidates.error * DOUBT
    may = np.zeros(len(users), np.bool_)
    for begin in range(0, len(users), USERS_A_LOOK):
        block = slice(begin, begin + USERS_A_LOOK)
        best = margins(ranker.snapshot, users[block]).max(axis=1)
        may[block] = best >= last[block] - np.float32(doubt)
    return may


def _asked(ranker: Ranker, columns: Ints) -> Callable[[Persons, Ints], Dense]:
    def margins(who: Persons, users: Ints) -> Dense:
        chosen = np.tile(np.sort(columns), (len(users), 1))
        x = ranker.features.matrix(
            Pairs.chosen(users, chosen, ranker.snapshot.n_columns), persons=who
        )
        return ranker.model.margin(x).reshape(chosen.shape)

    return margins
