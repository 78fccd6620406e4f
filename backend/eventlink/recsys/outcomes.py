"""What came of an instant: who registered for which of its candidates afterwards.

What does not live here: what is learned from it (``recsys.examples``), and what is measured with it
(``recsys.evaluation``, ``recsys.calibration``).
"""

from dataclasses import dataclass

import numpy as np

from eventlink.recsys.dataset import Bools, Dataset, Ints
from eventlink.recsys.snapshot import Snapshot


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
