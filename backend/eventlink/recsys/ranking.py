"""Ranking: the best eligible events of every user, in order, with scores and reasons.

What does not live here: ids (``db.recommendations``) and re-ranking rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eventlink.recsys.candidates import Candidates
from eventlink.recsys.dataset import Bools, Floats, Ints
from eventlink.recsys.features import Features
from eventlink.recsys.models import Model
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.reasons import Explainer
from eventlink.recsys.snapshot import Dense, Pairs, Snapshot

USERS_A_BLOCK = 256


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


class Ranker:
    """Ranks users at one instant with one model.

    Args:
        snapshot: The instant.
        features: Of that instant.
        model: Fitted on the same features.
        users: Who may be asked for.
        rng: Source of the sample that candidate generation is fitted on.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        features: Features,
        model: Model,
        users: Ints,
        rng: np.random.Generator,
    ) -> None:
        self.snapshot = snapshot
        self.features = features
        self.model = model
        self.candidates = Candidates(snapshot, features, model, users, rng)
        self.explainer = Explainer(self.snapshot)

    def rank(self, users: Ints, top_n: int) -> Rankings:
        """Rank a block of users.

        Ties go to the event with the smaller id.

        Args:
            users: Distinct indices of users; a few hundred at a time.
            top_n: Length of the lists.
        """
        s = self.snapshot
        banned = s.excluded(users) | ~s.eligible
        chosen = self.candidates.of(users, np.where(banned, np.float32(-np.inf), np.float32(0)))
        row = np.repeat(np.arange(len(users), dtype=np.int32), chosen.shape[1])
        x = self.features.matrix(Pairs(users, row, chosen.ravel()))
        scores = self.model.score(x).reshape(chosen.shape)
        scores[np.isnan(scores)] = np.inf  # to the top, where publishing sees and refuses it
        scores[np.take_along_axis(banned, chosen, axis=1)] = -1.0
        best = _best(scores, top_n)
        top_scores = np.take_along_axis(scores, best, axis=1)
        columns = np.take_along_axis(chosen, best, axis=1)
        shown = top_scores >= 0
        flat = (np.arange(len(users))[:, None] * chosen.shape[1] + best).ravel()
        reasons, arguments = self._reasons(users, columns, x[flat])
        return Rankings(
            users=users,
            columns=np.where(shown, columns, np.int32(-1)),
            scores=np.where(shown, top_scores, np.float32(0)),
            reasons=reasons,
            arguments=arguments,
        )

    def _reasons(self, users: Ints, columns: Ints, x: Dense) -> tuple[Ints, Ints]:
        codes = self.explainer.codes(x, self.model.outline(x))
        user = np.repeat(users, columns.shape[1])
        arguments = self.explainer.arguments(codes, user, columns.ravel(), x)
        return codes.reshape(columns.shape), arguments.reshape(columns.shape)

    def rank_all(self, users: Ints, top_n: int, report: Report = silent) -> Iterator[Rankings]:
        """Rank many users on all cores, a block at a time, in their order.

        Args:
            users: Distinct indices of users.
            top_n: Length of the lists.
            report: Told of the progress.

        Yields:
            Rankings of consecutive blocks of users.
        """
        blocks = [users[i : i + USERS_A_BLOCK] for i in range(0, len(users), USERS_A_BLOCK)]

        def one(block: Ints) -> Rankings:
            return self.rank(block, top_n)

        for number, rankings in enumerate(in_processes(one, blocks), start=1):
            yield rankings
            report("ranking users", number / len(blocks))


def _best(scores: Dense, top_n: int) -> Ints:
    """Places of the largest scores in each row, largest first; ties by place."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return order[:, :top_n].astype(np.int32)


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
    best = _best(masked, top_n)
    return np.where(np.take_along_axis(masked, best, axis=1) > -np.inf, best, np.int32(-1))
