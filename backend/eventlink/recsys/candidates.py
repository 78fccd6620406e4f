"""Candidate generation: the few hundred events of each user that are worth the full model.

What does not live here: the model's own scores, and who may be shown what (``recsys.ranking``).
"""

import numpy as np
from scipy import sparse

from eventlink.recsys.dataset import Ints
from eventlink.recsys.features import Features
from eventlink.recsys.geography import distances, unit_vectors
from eventlink.recsys.models import Model
from eventlink.recsys.snapshot import Dense, Matrix, Pairs, Snapshot, incidence

SAMPLE_USERS = 256
CANDIDATES = 400
"""Events a user that are scored in full; with no more live ones than this, all are."""


class Candidates:
    """A cheap stand-in for the model, fitted to the model's own scores at this instant.

    The stand-in is linear in a few quantities that come from sparse products or one small matrix
    product: ties to the organizer, co-registrations, tags and distance. Its weights, and a level
    for every event (one for users with a past, one for those without), are the least-squares fit
    to the model's log-odds on a sample of users; events are fixed effects. So whatever the model
    is, and whatever it found important, the stand-in follows it.

    Args:
        snapshot: The instant to rank at.
        features: Of that instant.
        model: What the stand-in imitates.
        users: Who will be ranked; the sample is drawn from them.
        rng: Source of the sample.
        size: How many candidates a user.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        features: Features,
        model: Model,
        users: Ints,
        rng: np.random.Generator,
        size: int = CANDIDATES,
    ) -> None:
        self.snapshot = snapshot
        self.size = min(size, self.snapshot.n_columns)
        self.everything = self.size == self.snapshot.n_columns
        if self.everything:
            return
        self.ties = _Ties(self.snapshot)
        chosen = rng.choice(users, min(SAMPLE_USERS, len(users)), replace=False)
        self._fit(features, model, np.sort(chosen))

    def _fit(self, features: Features, model: Model, users: Ints) -> None:
        n = self.snapshot.n_columns
        x = features.matrix(Pairs.every(users, n))
        margins = model.margin(x).reshape(len(users), n)
        quick = self.ties.of(users)
        new = self.snapshot.history[users] == 0
        within = np.zeros((len(quick), len(quick)))
        towards = np.zeros(len(quick))
        groups = [group for group in (new, ~new) if group.any()]
        for group in groups:
            target = margins[group] - margins[group].mean(axis=0)
            parts = [part[group] - part[group].mean(axis=0) for part in quick]
            for i, part in enumerate(parts):
                towards[i] += float((part * target).sum())
                within[i] += [float((part * other).sum()) for other in parts]
        ridge = 1e-3 * np.trace(within) / len(quick) + 1e-6
        self.slopes = np.linalg.solve(within + ridge * np.eye(len(quick)), towards)
        rest = margins - sum(slope * part for slope, part in zip(self.slopes, quick, strict=True))
        self.level = np.stack(
            [(rest[group] if group.any() else rest).mean(axis=0) for group in (~new, new)]
        ).astype(np.float32)

    def of(self, users: Ints, allowed: Dense) -> Ints:
        """Choose the candidates of some users.

        Args:
            users: Indices of users, shape (n,).
            allowed: 0 where the user may be shown the event, ``-inf`` where not, shape
                (n, n_columns).

        Returns:
            Columns, ascending in each row, shape (n, size).
        """
        n = self.snapshot.n_columns
        if self.everything:
            return np.tile(np.arange(n, dtype=np.int32), (len(users), 1))
        new = (self.snapshot.history[users] == 0).astype(int)
        quick = self.level[new] + allowed
        for slope, part in zip(self.slopes, self.ties.of(users), strict=True):
            quick += np.float32(slope) * part
        best = np.argpartition(-quick, self.size - 1, axis=1)[:, : self.size]
        return np.sort(best, axis=1).astype(np.int32)


class _Ties:
    """The quantities of the stand-in, as dense arrays of users × columns."""

    def __init__(self, s: Snapshot) -> None:
        self.s = s
        data = s.data
        self.organizer = s.organizer
        by_organizer = incidence(data.events.organizer, data.n_organizers)
        self.with_organizer = [
            s.registered @ by_organizer,
            s.engagement @ by_organizer,
            _ones(data.follows.user, data.follows.organizer, (data.n_users, data.n_organizers)),
        ]
        going = s.registered[:, s.columns]
        size = np.asarray(s.registered.sum(axis=0))
        scale = sparse.diags_array((1 / np.sqrt(size + 2)).astype(np.float32))
        self.together = (scale @ (s.registered.T @ going)).tocsr()
        tags = s.event_tags[s.columns].T.tocsr()
        self.tags = tags
        interests = data.interests
        self.interests = _ones(interests.user, interests.tag, (data.n_users, data.n_tags))
        self.home = unit_vectors(data.users.lat, data.users.lon)
        events = data.events
        self.venue = unit_vectors(events.lat[s.columns], events.lon[s.columns])

    def of(self, users: Ints) -> list[Dense]:
        found = []
        for relation in self.with_organizer:
            dense = np.pad(relation[users].toarray(), ((0, 0), (0, 1)))
            found.append(np.log1p(dense)[:, self.organizer])
        found.append(np.log1p((self.s.registered[users] @ self.together).toarray()))
        found.append(np.log1p((self.interests[users] @ self.tags).toarray()))
        kilometres = distances(self.home[users], self.venue)
        found.append(np.nan_to_num(np.log1p(kilometres)).astype(np.float32))
        return found


def _ones(row: Ints, column: Ints, shape: tuple[int, int]) -> Matrix:
    return sparse.csr_array((np.ones(len(row), np.float32), (row, column)), shape=shape)
