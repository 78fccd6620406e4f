"""A user's own past with an event's organizer, series and venue, and with the event itself.

What does not live here: other people's pasts (``people``) and topics (``topics``).
"""

from functools import cached_property

import numpy as np

from eventlink.recsys.dataset import DAY, Ints
from eventlink.recsys.features import organizers
from eventlink.recsys.features.about import About, Sheet, named
from eventlink.recsys.features.timing import local_hour_of_week
from eventlink.recsys.snapshot import Dense, Groups, Matrix, Pairs, Snapshot, sum_into

HALF_LIVES = {"lately": 7 * DAY, "yesterday": DAY}
"""Beside that of ``Snapshot.attended``."""
ACTS = {
    "refused": "refusals",
    "favorites": "favorites",
    "engaged": "engagement",
    "skipped": "skips",
}
"""Name with the organizer, name in the Snapshot and with the event."""

ABOUT = (
    About(
        "organizer ties",
        (
            "organizer.went",
            "organizer.went_decayed",
            *named("organizer.went_{}", tuple(HALF_LIVES)),
        ),
        "log of U's registrations with O; the same, decayed in 60, 7 and 1 days",
        "People go where they have been; those who came yesterday come back today",
    ),
    About(
        "organizer ties",
        named("organizer.{}", tuple(ACTS)),
        "log of U's refusals, marks, decayed clicks and passings-over of O's events",
        "Other acts than registering tell of the same interest, or of its end",
    ),
    About(
        "organizer ties",
        ("organizer.share_of_history", "organizer.known"),
        "O's share of U's registrations; whether U has been with O or follows O",
        "A regular of one organizer is not the same as one of many",
    ),
    About(
        "follows",
        ("organizer.follows", "organizer.follows_one_of"),
        "U follows O; the same divided by how many U follows",
        "A follow is a wish to be told; one among hundreds says less",
    ),
    About(
        "organizer ties",
        ("series.went", "venue.went"),
        "log of U's registrations for the series (O's events of one title or hour); at the venue",
        "Regulars return to the same evening and the same room",
    ),
    About(
        "own acts on the event",
        named("event.own_{}", tuple(ACTS.values())),
        "log of U's refusals, marks, decayed clicks and passings-over of E itself",
        "Who said no means it; who clicked or marked is about to decide",
    ),
    About(
        "own acts on the event",
        ("event.next_for_user", "event.siblings_taken"),
        "E comes after as many of O's live events as U is registered for; log of their number",
        "Who has the next evening of a series goes on to the one after",
    ),
)


class Affinity:
    """What each user did, summed by organizer, series and venue.

    Args:
        s: The instant.
    """

    def __init__(self, s: Snapshot) -> None:
        self.s = s
        series = _series(s)
        self.series = s.groups(series, int(series.max(initial=-1)) + 1)
        self.order = organizers.order_by_start(s).astype(np.float32)

    @cached_property
    def went(self) -> Matrix:
        """Users × organizers: registrations that stand."""
        return self.s.registered @ self.s.organizers.members

    @cached_property
    def ties(self) -> dict[str, tuple[Matrix, Groups]]:
        """Name to users × groups of log sums, and the groups."""
        s, organizers = self.s, self.s.organizers
        acts = {"went_decayed": s.attended}
        acts |= {
            f"went_{name}": s.attended_decayed(half_life) for name, half_life in HALF_LIVES.items()
        }
        acts |= {name: getattr(s, act) for name, act in ACTS.items()}
        found = {
            f"organizer.{name}": (m @ organizers.members, organizers) for name, m in acts.items()
        }
        found["organizer.went"] = (self.went, organizers)
        found["series.went"] = (s.registered @ self.series.members, self.series)
        found["venue.went"] = (s.registered @ s.venues.members, s.venues)
        return {name: (log1p(matrix), groups) for name, (matrix, groups) in found.items()}

    @cached_property
    def own(self) -> dict[str, Matrix]:
        """Name to users × columns of log acts on the very event."""
        return {
            f"event.own_{act}": log1p(getattr(self.s, act)[:, self.s.columns])
            for act in ACTS.values()
        }

    @cached_property
    def follows(self) -> Matrix:
        """Users × organizers with a column: 1 where the user follows."""
        log, organizers = self.s.data.follows, self.s.organizers
        group = organizers.of_key[log.organizer]
        kept = group < organizers.size
        shape = (self.s.data.n_users, organizers.size)
        return sum_into(shape, log.user[kept], group[kept])

    @cached_property
    def n_followed(self) -> Ints:
        """For each user, how many organizers it follows."""
        return np.bincount(self.s.data.follows.user, minlength=self.s.data.n_users).astype(np.int32)

    @cached_property
    def going(self) -> Matrix:
        """Users × organizers: how many of the columns a registration stands for."""
        return self.s.going @ self.s.organizers.members[self.s.columns]

    def fill(self, sheet: Sheet, p: Pairs) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the same Snapshot.
        """
        for name, (tie, groups) in self.ties.items():
            p.of_groups(padded(tie, p), groups.of_column, out=sheet[name])
        for name, acts in self.own.items():
            p.of_both(acts[p.users].toarray(), out=sheet[name])
        self._fill_organizer(sheet, p)
        self._fill_siblings(sheet, p)

    def _fill_organizer(self, sheet: Sheet, p: Pairs) -> None:
        organizer = self.s.organizers.of_column
        went, follows = padded(self.went, p), padded(self.follows, p)
        n_went = np.maximum(self.s.history[p.users], 1).astype(np.float32)
        n_followed = np.maximum(self.n_followed[p.users], 1).astype(np.float32)
        tables = {
            "organizer.share_of_history": went / n_went[:, None],
            "organizer.known": ((went > 0) | (follows > 0)).astype(np.float32),
            "organizer.follows": follows,
            "organizer.follows_one_of": follows / n_followed[:, None],
        }
        for name, table in tables.items():
            p.of_groups(table, organizer, out=sheet[name])

    def _fill_siblings(self, sheet: Sheet, p: Pairs) -> None:
        taken = p.of_groups(padded(self.going, p), self.s.organizers.of_column)
        sheet["event.siblings_taken"] = np.log1p(taken)
        # Who has the first two of a series is about to take the third: number 2, from 0.
        sheet["event.next_for_user"] = taken == p.of_columns(self.order)


def log1p(matrix: Matrix) -> Matrix:
    """Take the logarithm of a sparse matrix; 0 stays 0."""
    return matrix.log1p().tocsr()


def padded(table: Matrix, p: Pairs) -> Dense:
    """Return the rows of the pairs' users, with an empty last column: that of no group."""
    return np.pad(table[p.users].toarray(), ((0, 0), (0, 1)))


def _series(s: Snapshot) -> Ints:
    """Number the series: one organizer's events of one title, or without title of one hour.

    Returns:
        For every event of the Dataset, its series; -1 without an organizer.
    """
    events = s.data.events
    hour = local_hour_of_week(events.start, events.lon).astype(np.int64)
    title = np.where(events.title >= 0, events.title, -1 - hour)
    has = events.organizer >= 0
    series = np.full(len(events), -1, np.int32)
    keys = np.stack([events.organizer[has].astype(np.int64), title[has]])
    _, inverse = np.unique(keys, axis=1, return_inverse=True)
    series[has] = inverse.astype(np.int32)
    return series
