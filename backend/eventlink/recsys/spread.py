"""Spread: into whose rankings events belong that were not there when these were made.

What does not live here: the stored rankings, into which they are merged (``db.overlay``).
"""

from collections.abc import Callable, Iterator
from copy import copy

import numpy as np
from scipy.special import expit

from eventlink.recsys.candidates import CANDIDATES
from eventlink.recsys.dataset import Bools, Ints
from eventlink.recsys.matrices import Dense
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.persons import Persons
from eventlink.recsys.ranking import USERS_A_BLOCK, Ranker, Rankings
from eventlink.recsys.scoring import Scoring
from eventlink.recsys.snapshot import Pairs

USERS_A_LOOK = 4096
PAIRS_A_BLOCK = CANDIDATES * USERS_A_BLOCK
"""As many as are ranked for so many users otherwise, which bounds memory."""
DOUBT = 2.0
"""A user counts whose last event is ahead by no more than so many errors of the estimate."""


def entering(ranker: Ranker, columns: Ints, users: Ints, last: Dense) -> Iterator[Rankings]:
    """Score some events for all those whose ranking they enter, on all cores.

    Args:
        ranker: That knows the events.
        columns: Their places in ``Snapshot.columns``.
        users: Indices of users, ascending, shape (n,).
        last: Log-odds of the score at the end of each user's ranking, ``-inf`` where there is
            room, shape (n,).

    Yields:
        For blocks of users, the events that have at least the score of the ranking's end.
    """
    few = copy(ranker)
    few.features = ranker.features.narrowed(columns)
    few.scoring = Scoring(few.features, few.model)
    near = ranker.neighbours(users[may_enter(few, columns, users, last)])
    least = expit(last[np.searchsorted(users, near)])
    size = max(min(USERS_A_BLOCK, PAIRS_A_BLOCK // max(len(columns), 1)), 1)

    def enter(block: slice) -> Rankings:
        found = few.rank(near[block], len(columns), only=columns)
        enters = (found.columns >= 0) & (found.scores >= least[block, None])
        some = enters.any(axis=1)
        return Rankings(
            users=found.users[some],
            columns=np.where(enters, found.columns, np.int32(-1))[some],
            scores=found.scores[some],
            reasons=found.reasons[some],
            arguments=found.arguments[some],
        )

    blocks = [slice(begin, begin + size) for begin in range(0, len(near), size)]
    yield from in_processes(enter, blocks)


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
        pairs = Pairs.chosen(users, chosen, ranker.snapshot.n_columns)
        found, _ = ranker.scoring.margins(pairs, who)
        return found.reshape(chosen.shape)

    return margins
