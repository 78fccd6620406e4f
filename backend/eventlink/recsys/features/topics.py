"""Tags, categories, searches and habits: whether an event is of the user's kind.

What does not live here: particular organizers and events (``affinity``).
"""

from functools import cached_property

import numpy as np
from scipy import sparse

from eventlink.recsys.dataset import DAY
from eventlink.recsys.features.about import About, Sheet
from eventlink.recsys.features.affinity import log1p, padded
from eventlink.recsys.features.timing import local_hour_of_week
from eventlink.recsys.snapshot import Groups, Matrix, Pairs, Snapshot, sum_into

INTENT_HALF_LIFE = 3 * DAY
"""A search tells what somebody wants now."""
SLOT_HOURS = 3
SLOTS = 7 * 24 // SLOT_HOURS

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
    """Profiles of users over tags, categories and hours of the week.

    Args:
        s: The instant.
    """

    def __init__(self, s: Snapshot) -> None:
        self.s = s
        events = s.data.events
        known = np.isfinite(events.start)
        frequency = np.bincount(s.data.event_tags.tag, minlength=s.data.n_tags)
        self.idf = np.log((1 + known.sum()) / (1 + frequency)).astype(np.float32)
        self.tags = _unit_rows(s.event_tags @ sparse.diags_array(self.idf))
        self.categories = s.groups(events.category, s.data.n_categories)
        slot = local_hour_of_week(events.start, events.lon) // SLOT_HOURS
        self.slots = s.groups(np.where(known, slot, -1).astype(np.int32), SLOTS)

    @cached_property
    def tag_profiles(self) -> dict[str, Matrix]:
        """Name to users × tags."""
        s, interests, intents = self.s, self.s.data.interests, self.s.data.intents
        shape = (s.data.n_users, s.data.n_tags)
        liked = sum_into(shape, interests.user, interests.tag)
        named = intents.rows(intents.tag >= 0)
        wanted = sum_into(shape, named.user, named.tag, s.decay(named.at, INTENT_HALF_LIFE))
        return {
            "tags.interests": _unit_rows(liked @ sparse.diags_array(self.idf)),
            "tags.history": _unit_rows(s.attended @ self.tags),
            "tags.engaged": _unit_rows(s.engagement @ self.tags),
            "tags.intent": wanted,
        }

    @cached_property
    def shares(self) -> dict[str, tuple[Matrix, Groups]]:
        """Name to users × groups of smoothed shares, and the groups."""
        s = self.s
        return {
            "category.share": (_shares(s.attended, self.categories), self.categories),
            "category.engaged": (_shares(s.engagement, self.categories), self.categories),
            "category.intent": (self._wanted_categories, self.categories),
            "habits.slot": (_shares(s.attended, self.slots), self.slots),
        }

    @property
    def _wanted_categories(self) -> Matrix:
        s, intents = self.s, self.s.data.intents
        named = intents.rows(intents.category >= 0)
        group = self.categories.of_key[named.category]
        kept = group < self.categories.size
        weight = s.decay(named.at[kept], INTENT_HALF_LIFE)
        shape = (s.data.n_users, self.categories.size)
        return log1p(sum_into(shape, named.user[kept], group[kept], weight))

    def fill(self, sheet: Sheet, p: Pairs) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the same Snapshot.
        """
        tags = self.tags[self.s.columns].T.tocsr()
        for name, profile in self.tag_profiles.items():
            p.of_both((profile[p.users] @ tags).toarray(), out=sheet[name])
        sheet["tags.intent"] = np.log1p(sheet["tags.intent"])
        for name, (share, groups) in self.shares.items():
            p.of_groups(padded(share, p), groups.of_column, out=sheet[name])


def _unit_rows(matrix: Matrix) -> Matrix:
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)))
    scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    return sparse.csr_array(sparse.diags_array(scale.astype(np.float32)) @ matrix)


def _shares(acts: Matrix, groups: Groups) -> Matrix:
    """Each group's share of a user's acts, smoothed towards nothing by one act."""
    total = np.asarray(acts.sum(axis=1), np.float32) + 1
    return (sparse.diags_array(1 / total) @ (acts @ groups.members)).tocsr()
