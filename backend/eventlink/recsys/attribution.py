"""Why an event was recommended: the reason whose features contribute most to its score.

What does not live here: the contributions (``recsys.models``), and the words (``recsys.reasons``).
"""

from fnmatch import fnmatch
from functools import cached_property

import numpy as np
from scipy import sparse

from eventlink.recsys.dataset import Ints
from eventlink.recsys.features import EVENTS, NAMES, PAIRS
from eventlink.recsys.matrices import Dense, Matrix
from eventlink.recsys.persons import Persons
from eventlink.recsys.reasons import CODES, REASONS
from eventlink.recsys.snapshot import Snapshot

OF_EVERYBODY = ("soon", "new", "popular")
"""Reasons that are the same for every user, and so say the least to each."""
THEIR_WEIGHT = np.float32(0.5)


class Explainer:
    """Finds the reason of each recommended pair.

    What is so for everybody counts half. Many features speak for popularity, and "You like Jazz"
    tells a user more where it matters at least half as much.

    Args:
        s: The instant of the ranking.
    """

    def __init__(self, s: Snapshot) -> None:
        self.s = s
        self.speaks_for = np.array(
            [[any(fnmatch(name, p) for p in r.features) for r in REASONS] for name in NAMES],
            dtype=np.float32,
        )
        self.speaks_for[:, [CODES.index(code) for code in OF_EVERYBODY]] *= THEIR_WEIGHT
        self.condition = [NAMES.index(r.when) if r.when else -1 for r in REASONS]

    def of_events(self, x: Dense, contributions: Dense) -> Dense:
        """Add up for each reason what features say that are the same for every user.

        Args:
            x: Features of events, shape (n, number of ``features.EVENTS``).
            contributions: The model's, of the same shape.

        Returns:
            Shape (n, number of reasons); ``-inf`` for what must not be said of the event.
        """
        return self._total(x, contributions, EVENTS)

    def _total(self, x: Dense, contributions: Dense, part: slice) -> Dense:
        total: Dense = contributions @ self.speaks_for[part]
        for number, feature in enumerate(self.condition):
            if part.start <= feature < part.stop:
                total[x[:, feature - part.start] <= 0, number] = -np.inf
        return total

    def codes(self, x: Dense, contributions: Dense, of_events: Dense) -> Ints:
        """Choose for each pair the reason that most speaks for, of those that hold.

        Args:
            x: Features of pairs, shape (n, number of ``features.PAIRS``).
            contributions: The model's, of the same shape.
            of_events: Of the pairs' events, shape (n, number of reasons).

        Returns:
            Indices into ``REASONS``, shape (n,).
        """
        total = of_events + self._total(x, contributions, PAIRS)
        total[:, :-1][total[:, :-1] <= 0] = -np.inf
        total[:, -1] = np.maximum(total[:, -1], 0)
        chosen: Ints = total.argmax(axis=1).astype(np.int32)
        return chosen

    def arguments(self, codes: Ints, who: Persons, user: Ints, column: Ints, x: Dense) -> Ints:
        """Find what fills a sentence's gap, where the event itself does not tell it.

        Args:
            codes: Indices into ``REASONS``, shape (n,).
            who: Whose likes.
            user: Indices of users of these, shape (n,).
            column: Places in ``Snapshot.columns``, shape (n,).
            x: Features of pairs, shape (n, number of ``features.PAIRS``).

        Returns:
            A tag's index for ``interest_tag``, whole kilometres for ``nearby``, else -1.
        """
        found = np.full(len(codes), -1, np.int32)
        near = codes == CODES.index("nearby")
        km = np.expm1(x[near, NAMES[PAIRS].index("place.distance")])
        found[near] = np.maximum(np.round(km), 1)
        liked = np.flatnonzero(codes == CODES.index("interest_tag"))
        found[liked] = self._shared_tag(who, user[liked], column[liked])
        return found

    @cached_property
    def _tags(self) -> Matrix:
        """Columns × tags: the rarity of each tag."""
        n_events = np.bincount(self.s.data.event_tags.tag, minlength=self.s.data.n_tags)
        return (self.s.event_tags[self.s.columns] @ sparse.diags_array(1 / (1 + n_events))).tocsr()

    def _shared_tag(self, who: Persons, user: Ints, column: Ints) -> Ints:
        """Find the rarest tag of each event that the user likes."""
        if not len(user):
            return np.zeros(0, np.int32)
        both = who.interests[user].multiply(self._tags[column]).tocsr()
        return np.asarray(both.argmax(axis=1), np.int32).ravel()
