"""Ranking: the best eligible events of every user, in order, with scores and reasons.

What does not live here: ids (``db.recommendations``) and re-ranking rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit

from eventlink.recsys.attribution import Explainer
from eventlink.recsys.candidates import Candidates, size_for
from eventlink.recsys.dataset import Bools, Floats, Ints
from eventlink.recsys.features import EVENTS, PAIRS, Features
from eventlink.recsys.matrices import Dense
from eventlink.recsys.models import Model
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.persons import Persons
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.reasons import EXPLORED
from eventlink.recsys.reranking import Reranker
from eventlink.recsys.scoring import Scoring
from eventlink.recsys.selection import best_first
from eventlink.recsys.snapshot import Pairs, Snapshot

USERS_A_BLOCK = 512
"""Enough to share what a call costs, while a feature of all their pairs still stays in cache."""


@dataclass(frozen=True)
class Rankings:
    """Rankings of some users; rows are users, places are ranks from 0."""

    users: Ints
    """Indices of users, shape (n,)."""
    columns: Ints
    """Places in ``Snapshot.columns``, best first, shape (n, length); -1 where a list is shorter."""
    scores: Dense
    """Probabilities, shape (n, length); 0 where there is no event."""
    reasons: Ints
    """Indices into ``reasons.REASONS``, shape (n, length)."""
    arguments: Ints
    """See ``Explainer.arguments``, shape (n, length)."""
    propensities: Dense | None = None
    """The chance with which each event was drawn for its place, shape (n, length), 1 where nothing
    was; None where nothing was drawn for anybody."""


class Ranker:
    """Ranks users at one instant with one model.

    Args:
        snapshot: The instant.
        features: Of that instant.
        model: Fitted on the same features.
        users: Who may be asked for.
        rng: Source of the sample that candidate generation is fitted on.
        candidates: Of this snapshot, features and model; fitted if None.
        top_n: Length of the longest lists that will be asked for.
    """

    reranker: Reranker | None = None
    """The rules; without any, scores alone put events in order."""

    def __init__(
        self,
        snapshot: Snapshot,
        features: Features,
        model: Model,
        users: Ints,
        rng: np.random.Generator,
        candidates: Candidates | None = None,
        top_n: int = TrainOptions.top_n,
    ) -> None:
        self.snapshot = snapshot
        self.features = features
        self.model = model
        self.scoring = Scoring(features, model)
        self.candidates = candidates or Candidates(
            snapshot, features, model, users, rng, size_for(top_n)
        )
        self.explainer = Explainer(self.snapshot)

    def rank(
        self,
        users: Ints,
        top_n: int,
        persons: Persons | None = None,
        room: Dense | None = None,
        only: Ints | None = None,
    ) -> Rankings:
        """Rank a block of users.

        Ties go to the event with the smaller id.

        Args:
            users: Distinct indices of users of ``persons``; a few hundred at a time.
            top_n: Length of the lists.
            persons: Everybody of the snapshot if None.
            room: Memory for the features, as ``room`` makes it; fresh memory costs more.
            only: Places of the events to rank, by scores alone; the candidates, and by the rules,
                if None.
        """
        s = self.snapshot
        who = s if persons is None else persons
        banned = s.excluded(users, who) | ~s.eligible_at(who.as_of)
        if only is None:
            chosen = self.candidates.of(who, users, banned)
        else:
            chosen = np.tile(np.sort(only), (len(users), 1))
        margins, x = self.scoring.margins(Pairs.chosen(users, chosen, s.n_columns), who, room)
        scores: Dense = expit(margins).reshape(chosen.shape)
        scores[np.isnan(scores)] = np.inf  # to the top, where publishing sees and refuses it
        scores[np.take_along_axis(banned, chosen, axis=1)] = -1.0
        propensities = None
        if self.reranker is None or only is not None:
            best = best_first(scores, top_n)
            top_scores = np.take_along_axis(scores, best, axis=1)
        else:
            order = self.reranker.order(users, who.registered[users], chosen, scores, top_n)
            best, top_scores, propensities = order.places, order.scores, order.propensities
        columns = np.take_along_axis(chosen, best, axis=1)
        shown = top_scores >= 0
        flat = (np.arange(len(users))[:, None] * chosen.shape[1] + best).ravel()
        reasons, arguments = self._reasons(who, users, columns, np.take(x.T, flat, axis=1).T)
        if propensities is not None:
            reasons[propensities < 1], arguments[propensities < 1] = EXPLORED, -1
        return Rankings(
            users=users,
            columns=np.where(shown, columns, np.int32(-1)),
            scores=np.where(shown, top_scores, np.float32(0)),
            reasons=reasons,
            arguments=arguments,
            propensities=propensities,
        )

    def _reasons(self, who: Persons, users: Ints, columns: Ints, x: Dense) -> tuple[Ints, Ints]:
        user, column = np.repeat(users, columns.shape[1]), columns.ravel()
        outline = self.model.outline(x, PAIRS)
        codes = self.explainer.codes(x, outline, self._said_of_events[column])
        arguments = self.explainer.arguments(codes, who, user, column, x)
        return codes.reshape(columns.shape), arguments.reshape(columns.shape)

    @cached_property
    def _said_of_events(self) -> Dense:
        """What each column itself says for each reason."""
        x = self.features.of_events
        return self.explainer.of_events(x, self.model.outline(x, EVENTS))

    def rank_all(self, users: Ints, top_n: int, report: Report = silent) -> Iterator[Rankings]:
        """Rank many users on all cores, a block at a time.

        Args:
            users: Distinct indices of users.
            top_n: Length of the lists.
            report: Told of the progress.

        Yields:
            Rankings of blocks of users.
        """
        if not len(users):
            return
        users = self.neighbours(users)
        blocks = [users[i : i + USERS_A_BLOCK] for i in range(0, len(users), USERS_A_BLOCK)]
        room = self.room(len(users))  # each process has its own

        self.rank(users[:1], top_n)  # what is computed on first use is, once for all processes

        def one(block: Ints) -> Rankings:
            return self.rank(block, top_n, room=room)

        for number, rankings in enumerate(in_processes(one, blocks), start=1):
            yield rankings
            report("ranking users", number / len(blocks))

    def neighbours(self, users: Ints) -> Ints:
        """Put users of the snapshot in order by home: much of what is computed is the same there.

        Args:
            users: Indices of users.
        """
        homes, cells = self.snapshot.data.users, self.features.place.cells
        cell = cells.of(homes.lat[users], homes.lon[users])
        return users[np.argsort(cell, kind="stable")]

    def room(self, n_users: int) -> Dense:
        """Make memory for ``rank`` to use again for each of many blocks.

        Args:
            n_users: How many will be ranked.
        """
        return self.scoring.room(min(USERS_A_BLOCK, n_users) * self.candidates.size)


def by_score(scores: Floats | Dense, banned: Bools, top_n: int) -> Ints:
    """Rank all columns by given scores; ties go to the event with the smaller id.

    Args:
        scores: Shape (n_columns,) or (n, n_columns).
        banned: True where a user must not be shown a column, shape (n, n_columns).
        top_n: Length of the lists.

    Returns:
        Columns best first, shape (n, top_n); -1 where a list is shorter.
    """
    masked = np.where(banned, -np.inf, scores)
    best = best_first(masked, top_n)
    return np.where(np.take_along_axis(masked, best, axis=1) > -np.inf, best, np.int32(-1))
