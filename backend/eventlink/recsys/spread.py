"""Spread: into whose rankings events may belong that were not there when these were made.

What does not live here: the rankings, which are made anew for these users (``recsys.ranking``).
"""

from collections.abc import Callable

import numpy as np

from eventlink.recsys.dataset import Bools, Ints
from eventlink.recsys.matrices import Dense
from eventlink.recsys.persons import Persons
from eventlink.recsys.ranking import Ranker
from eventlink.recsys.snapshot import Pairs

USERS_A_BLOCK = 4096
DOUBT = 2.0
"""A user counts whose last event is ahead by no more than so many errors of the estimate."""


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
    for begin in range(0, len(users), USERS_A_BLOCK):
        block = slice(begin, begin + USERS_A_BLOCK)
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
