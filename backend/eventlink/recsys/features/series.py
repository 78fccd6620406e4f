"""What a user made of the past events of an event's series: came to them, or let them pass.

What does not live here: which events are one series (``Snapshot.series``), and registrations for
its coming events (``affinity``).
"""

import numpy as np

from eventlink.recsys.dataset import Floats, Ints
from eventlink.recsys.features.about import About, Sheet
from eventlink.recsys.features.organizers import rank_within
from eventlink.recsys.matrices import Matrix, count, sum_into
from eventlink.recsys.persons import Rows
from eventlink.recsys.snapshot import Pairs, Snapshot

ABOUT = (
    About(
        "series",
        ("series.loyalty", "series.missed"),
        "U's registrations for past events of the series over their number since U's first, and one"
        " more; log of how many U let pass since U's first registration anywhere",
        "Who never misses one will hardly miss this one; who let forty pass will let this one pass",
    ),
)


class Series:
    """The past events of the columns' series.

    Args:
        s: The instant.
    """

    def __init__(self, s: Snapshot) -> None:
        self.series = s.series
        started = np.flatnonzero(s.started & (s.series.of_event < s.series.size))
        group, start = s.series.of_event[started], s.data.events.start[started]
        self.held = count(group, s.series.size + 1)  # the last is of none
        """How many events of each series have started."""
        self.turn = np.full(s.data.n_events, -1, np.int32)
        """For each event that has started, how many of its series had before; else -1."""
        self.turn[started] = rank_within(group, start)
        # A number for each such event, ascending by series and start.
        self.origin = start.min(initial=s.as_of)
        self.span = s.as_of - self.origin + 2
        self.numbers = np.sort(self._numbers(group, start))

    def _numbers(self, group: Ints, at: Floats) -> Floats:
        numbers: Floats = group * self.span + np.clip(at - self.origin, -1, None)
        return numbers

    def fill(self, sheet: Sheet, p: Pairs, who: Rows) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the persons and of columns of the crowd.
            who: Their rows, in the order of ``p.users``.
        """
        went, loyalty = self._went(who.registered)
        p.of_sparse(loyalty, sheet["series.loyalty"], self.series)
        group, missed = self.series.of_column[p.column], sheet["series.missed"]
        missed.fill(0)
        some = np.flatnonzero((self.held[group] > 0) & (who.history > 0)[p.row])
        if len(some):
            group, first = group[some], who.first[p.row[some]]
            ends = np.searchsorted(self.numbers, self._numbers(group + 1, np.full(1, -np.inf)))
            begins = np.searchsorted(self.numbers, self._numbers(group, first), side="right")
            came = p.of_sparse(went, groups=self.series)[some]
            missed[some] = np.log1p(np.maximum(ends - begins - came, 0))

    def _went(self, registered: Matrix) -> tuple[Matrix, Matrix]:
        """Count to how many past events of each series each user went, and divide them.

        Args:
            registered: Users × all events.

        Returns:
            Users × series: the numbers, and their share of the events since the first of them.
        """
        shape = registered.shape[0], self.series.size
        user = np.repeat(np.arange(shape[0]), np.diff(registered.indptr))
        past = np.flatnonzero(self.turn[registered.indices] >= 0)
        user, event = user[past], registered.indices[past]
        group, turn = self.series.of_event[event], self.turn[event]
        order = np.lexsort((turn, group, user))
        user, group, turn = user[order], group[order], turn[order]
        first = np.flatnonzero((np.diff(user, prepend=-1) != 0) | (np.diff(group, prepend=-1) != 0))
        went = np.diff(first, append=len(user)).astype(np.float32)
        user, group = user[first], group[first]
        share = went / (self.held[group] - turn[first] + 1).astype(np.float32)
        return sum_into(shape, user, group, went), sum_into(shape, user, group, share)
