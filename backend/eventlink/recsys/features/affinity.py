"""A user's own past with an event's organizer, series and venue, and with the event itself.

What does not live here: other people's pasts (``people``) and topics (``topics``).
"""

from functools import cached_property

import numpy as np

from eventlink.recsys.features import organizers
from eventlink.recsys.features.about import About, Sheet, named
from eventlink.recsys.matrices import Matrix, ones, product, scale_rows
from eventlink.recsys.persons import Rows
from eventlink.recsys.snapshot import Pairs, Snapshot

TIES = {
    "organizer.went": "registered",
    "organizer.went_decayed": "attended",
    "organizer.went_lately": "attended_lately",
    "organizer.went_yesterday": "attended_yesterday",
    "organizer.refused": "refusals",
    "organizer.favorites": "favorites",
    "organizer.engaged": "engagement",
    "organizer.skipped": "skips",
}
"""Name of a feature, and what the Persons call the acts that it sums by organizer."""
OWN = ("refusals", "favorites", "engagement", "skips")
"""Acts that count on the very event, too."""

ABOUT = (
    About(
        "organizer ties",
        tuple(TIES)[:4],
        "log of U's registrations with O; the same, decayed in 60, 7 and 1 days",
        "People go where they have been; those who came yesterday come back today",
    ),
    About(
        "organizer ties",
        tuple(TIES)[4:],
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
        named("event.own_{}", OWN),
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
    """What each person did, summed by the columns' organizers, series and venues.

    Args:
        s: The crowd.
    """

    def __init__(self, s: Snapshot) -> None:
        self.s = s
        self.order = organizers.order_by_start(s).astype(np.float32)

    @cached_property
    def siblings(self) -> Matrix:
        """Columns × organizers with one: 1 where the column is the organizer's."""
        return self.s.organizers.members[self.s.columns]

    def fill(self, sheet: Sheet, p: Pairs, who: Rows) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the persons and of columns of the crowd.
            who: Their rows, in the order of ``p.users``.
        """
        self._fill_ties(sheet, p, who)
        for act in OWN:
            acts, own = getattr(who, act), sheet[f"event.own_{act}"]
            if acts.nnz:  # for one user there is mostly nothing
                p.of_sparse(log1p(acts @ self.s.to_columns), own)
            else:
                own.fill(0)
        self._fill_organizer(sheet, p, who)
        self._fill_siblings(sheet, p, who)

    def _fill_ties(self, sheet: Sheet, p: Pairs, who: Rows) -> None:
        went, organizers, venues = who.registered, self.s.organizers, self.s.venues
        ties = {name: (getattr(who, acts), organizers) for name, acts in TIES.items()}
        ties |= {"series.went": (went, self.s.series), "venue.went": (went, venues)}
        for name, (acts, groups) in ties.items():
            if acts.nnz:
                p.of_sparse(log1p(acts @ groups.members), sheet[name], groups)
            else:
                sheet[name].fill(0)

    def _fill_organizer(self, sheet: Sheet, p: Pairs, who: Rows) -> None:
        organizers = self.s.organizers
        went = product(who.registered, organizers.members)
        follows = product(who.follows, organizers.to_groups)
        n_went = np.maximum(who.history, 1).astype(np.float32)
        n_followed = np.maximum(who.follows.sum(axis=1), 1).astype(np.float32)
        tables = {
            "organizer.share_of_history": scale_rows(went.copy(), np.float32(1) / n_went),
            "organizer.known": ones((went + follows).tocsr()),
            "organizer.follows": follows,
            "organizer.follows_one_of": scale_rows(follows.copy(), np.float32(1) / n_followed),
        }
        for name, table in tables.items():
            p.of_sparse(table, sheet[name], organizers)

    def _fill_siblings(self, sheet: Sheet, p: Pairs, who: Rows) -> None:
        organizers = self.s.organizers
        going = product(who.registered, self.s.to_columns)
        table = product(going, self.siblings)
        taken = p.of_sparse(table, groups=organizers)
        p.of_sparse(log1p(table), sheet["event.siblings_taken"], organizers)
        # Who has the first two of a series is about to take the third: number 2, from 0.
        sheet["event.next_for_user"] = taken == p.of_columns(self.order)


def log1p(matrix: Matrix) -> Matrix:
    """Take the logarithm of a sparse matrix of one's own, in place; 0 stays 0."""
    np.log1p(matrix.data, out=matrix.data)
    return matrix
