"""Scoring: a model at one instant, asked about pairs by the shortest way.

What does not live here: what a model is (``recsys.models``), and which pairs are worth asking about
(``recsys.candidates``).
"""

import numpy as np

from eventlink.recsys.features import NAMES, PAIRS, Features
from eventlink.recsys.matrices import Dense
from eventlink.recsys.models import Model
from eventlink.recsys.persons import Persons
from eventlink.recsys.snapshot import Pairs


class Scoring:
    """Log-odds of pairs.

    What the features of events alone contribute is added up once for each event, not for each
    pair; and where a model has no other use for them, they are not spread over the pairs either.

    Args:
        features: Of the instant.
        model: Fitted on the same features.
    """

    def __init__(self, features: Features, model: Model) -> None:
        self.features = features
        self.model = model
        self.of_events = model.of_events(features.of_events)
        """Sums of shape (n_columns,), one for each line of the model."""

    def margins(
        self, p: Pairs, persons: Persons | None = None, room: Dense | None = None
    ) -> tuple[Dense, Dense]:
        """Compute the model's log-odds of pairs.

        Args:
            p: Pairs of the persons and of columns of the crowd.
            persons: Everybody of the crowd if None.
            room: Memory for the features, as ``room`` makes it.

        Returns:
            Log-odds, shape (len(p),), and the features of ``PAIRS``, which last until the room is
            used again, shape (len(p), number of these).
        """
        if self.model.joint:
            x = self.features.matrix(p, room, persons)
        else:
            x = self.features.of_pairs(p, room, persons)
        of_events = tuple(p.of_columns(sums) for sums in self.of_events)
        return self.model.margin(x, of_events), x[:, -_N_OF_PAIRS:]

    def room(self, n_pairs: int) -> Dense:
        """Make memory for the features of so many pairs, to be used again and again."""
        width = len(NAMES) if self.model.joint else _N_OF_PAIRS
        return np.empty((width, n_pairs), np.float32).T


_N_OF_PAIRS = PAIRS.stop - PAIRS.start
