"""Tags, categories, searches and habits: whether an event is of the user's kind.

What does not live here: particular organizers and events (``affinity``).
"""

from copy import copy
from functools import cached_property

import numpy as np

from eventlink.recsys.dataset import Ints
from eventlink.recsys.features.about import About, Sheet
from eventlink.recsys.features.affinity import log1p
from eventlink.recsys.geography import local_hour_of_week
from eventlink.recsys.matrices import (
    Matrix,
    only_columns,
    product,
    row_sums,
    scale_columns,
    scale_rows,
)
from eventlink.recsys.persons import Rows
from eventlink.recsys.shrinkage import strength
from eventlink.recsys.snapshot import Groups, Pairs, Snapshot

SLOT_HOURS = 3
SLOTS = 7 * 24 // SLOT_HOURS
SAMPLE_USERS = 4096
"""Users who tell how far shares are to be smoothed."""

ABOUT = (
    About(
        "topics",
        ("tags.interests", "tags.history", "tags.engaged"),
        "IDF cosine of E's tags with those U likes, with those of U's events (decayed), and with"
        " those of events U clicked, viewed, shared or dwelt on",
        "What U says, does and looks at; rare tags tell more than common ones",
    ),
    About(
        "topics",
        ("tags.intent", "category.intent"),
        "log of U's searches and filters for E's tags, for its category, halved every 3 days",
        "A search says what somebody wants now",
    ),
    About(
        "topics",
        ("category.share", "category.engaged"),
        "E's category's smoothed share of U's decayed registrations; of U's clicks and the like",
        "Coarser than tags, and there when tags are not",
    ),
    About(
        "habits",
        ("habits.slot",),
        "smoothed share of U's registrations in E's three hours of the week",
        "Free evenings repeat every week",
    ),
)


class Topics:
    """Tags, categories and hours of the week of events, and each person's share in them.

    Args:
        s: The crowd.
    """

    def __init__(self, s: Snapshot) -> None:
        self.s = s
        events = s.data.events
        known = np.isfinite(events.start)
        frequency = np.bincount(s.data.event_tags.tag, minlength=s.data.n_tags)
        self.idf = np.log((1 + known.sum()) / (1 + frequency)).astype(np.float32)
        self.tags = _unit_rows(scale_columns(s.event_tags.copy(), self.idf))
        self.tags_to_columns = self.tags[s.columns].T.tocsr()
        self.categories = s.groups(events.category, s.data.n_categories)
        slot = local_hour_of_week(events.start, events.lon) // SLOT_HOURS
        self.slots = s.groups(np.where(known, slot, -1).astype(np.int32), SLOTS)

    @cached_property
    def strengths(self) -> tuple[float, float]:
        """How far a user's shares of categories and of hours of the week are smoothed."""
        return _strength(self.s, self.categories), _strength(self.s, self.slots)

    def profile(self, acts: Matrix) -> Matrix:
        """Add up the tags of the events that people acted on, weighed by rarity.

        Args:
            acts: People × all events.

        Returns:
            People × tags, each row of length 1, or 0 without a tag.
        """
        return _unit_rows(product(acts, self.tags))

    def narrowed(self, columns: Ints) -> "Topics":
        """Return what holds for pairs of some columns alone; see ``Features.narrowed``."""
        few = copy(self)
        few.tags_to_columns = only_columns(self.tags_to_columns, columns)
        return few

    def fill(self, sheet: Sheet, p: Pairs, who: Rows) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the persons and of columns of the crowd.
            who: Their rows, in the order of ``p.users``.
        """
        attended, engagement = who.attended, who.engagement
        profiles = {
            "tags.interests": _unit_rows(scale_columns(who.interests.copy(), self.idf)),
            "tags.history": self.profile(attended),
            "tags.engaged": self.profile(engagement),
            "tags.intent": who.wanted_tags,
        }
        tables = {name: product(own, self.tags_to_columns) for name, own in profiles.items()}
        log1p(tables["tags.intent"])
        for name, table in tables.items():
            p.of_sparse(table, sheet[name])
        one_kind, one_slot = self.strengths
        wanted = log1p(product(who.wanted_categories, self.categories.to_groups))
        shares = {
            "category.share": (_shares(attended, self.categories, one_kind), self.categories),
            "category.engaged": (_shares(engagement, self.categories, one_kind), self.categories),
            "category.intent": (wanted, self.categories),
            "habits.slot": (_shares(attended, self.slots, one_slot), self.slots),
        }
        for name, (share, groups) in shares.items():
            p.of_sparse(share, sheet[name], groups)


def _strength(s: Snapshot, groups: Groups) -> float:
    """Estimate what the site's shares weigh against those of a user's own registrations."""
    several = np.flatnonzero(s.history > 1)
    some = several[:: -(-len(several) // SAMPLE_USERS) or 1]
    own = (s.registered[some] @ groups.members).toarray()
    number = s.history[some][:, None].astype(np.float32)
    site = own.sum(axis=0) / max(float(number.sum()), 1.0)
    return strength(own, number, site, site * (1 - site))


def _unit_rows(matrix: Matrix) -> Matrix:
    norm = np.sqrt(row_sums(matrix, power=2))
    return scale_rows(matrix, np.divide(1, norm, out=np.zeros_like(norm), where=norm > 0))


def _shares(acts: Matrix, groups: Groups, weight: float) -> Matrix:
    """Each group's share of a user's acts, smoothed by a ``shrinkage.strength``.

    Smoothing would add the site's share, times what is the same for all of a user's candidates.
    That part tells nothing of the user and is left out, so that what is 0 need not be stored.
    """
    factor = np.float32(1) / (row_sums(acts) + np.float32(weight))
    return scale_rows(product(acts, groups.members), factor)
