"""Tastes: whether those who like what a user likes choose an event's organizer and category.

What does not live here: the tags of the event itself (``topics``).
"""

from functools import cached_property

import numpy as np

from eventlink.recsys.dataset import Ints
from eventlink.recsys.features.about import About, Sheet
from eventlink.recsys.features.topics import Topics
from eventlink.recsys.matrices import Dense, Matrix, count, incidence, ones, row_sums, scale_rows
from eventlink.recsys.persons import Rows
from eventlink.recsys.shrinkage import drawn, strength
from eventlink.recsys.snapshot import Groups, Pairs, Snapshot

MOST_TAGS = 1024
"""Those liked by most; others are not counted, which bounds memory."""
MOST_PEOPLE = 50_000
"""Who tell what goes with what; more are sampled down to this, evenly, to bound the time."""

ABOUT = (
    About(
        "tastes",
        ("tags.organizer_lift", "tags.category_lift"),
        "log of how over-represented the tags U likes are among those who register for or engage"
        " with O's events, with those of E's category; mean over U's tags, rare ones weigh more",
        "Finds who suits a stranger who only named interests, also where tags say it otherwise",
    ),
)


class Tastes:
    """Which tags are liked by those who choose each organizer and category.

    Args:
        s: The crowd.
        topics: Of the same instant.
    """

    def __init__(self, s: Snapshot, topics: Topics) -> None:
        self.s = s
        self.topics = topics

    @cached_property
    def tags(self) -> Ints:
        """The tags that count, ascending."""
        liked = count(self.s.data.interests.tag, self.s.data.n_tags)
        most = np.argsort(-liked, kind="stable")[:MOST_TAGS]
        return np.sort(most[liked[most] > 0]).astype(np.int32)

    @cached_property
    def weights(self) -> Matrix:
        """All tags × those that count: the rarity of each among events."""
        place = np.full(self.s.data.n_tags, -1, np.int32)
        place[self.tags] = np.arange(len(self.tags), dtype=np.int32)
        return scale_rows(incidence(place, len(self.tags)), self.topics.idf)

    @cached_property
    def lifts(self) -> dict[str, tuple[Dense, Groups]]:
        """Name to a table of tags by groups, and the groups; the last one is of none."""
        s = self.s
        fond = np.flatnonzero(np.diff(s.interests.indptr))
        some = fond[:: -(-len(fond) // MOST_PEOPLE) or 1]
        likes = ones((s.interests[some] @ ones(self.weights.copy())).tocsr())
        acts = (ones(s.registered[some]) + ones(s.engagement[some])).tocsr()
        groups = {
            "tags.organizer_lift": s.organizers,
            "tags.category_lift": self.topics.categories,
        }
        return {name: (_lift(likes, acts, of), of) for name, of in groups.items()}

    def fill(self, sheet: Sheet, p: Pairs, who: Rows) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the persons and of columns of the crowd.
            who: Their rows, in the order of ``p.users``.
        """
        likes = who.interests @ self.weights
        total = row_sums(likes)
        share = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
        likes = scale_rows(likes, share)
        for name, (lift, groups) in self.lifts.items():
            p.of_groups(likes @ lift, groups.of_column, sheet[name])


def _lift(likes: Matrix, acts: Matrix, groups: Groups) -> Dense:
    """Log of how over-represented tags are among the acts on groups of events.

    Args:
        likes: People × tags: 1 where somebody likes the tag.
        acts: The same people × all events.
        groups: Of the events.

    Returns:
        Shape (number of tags, groups.size + 1); 0 where nothing is known.
    """
    number = row_sums(acts)
    site = ((likes.T @ number) / max(float(number.sum()), 1.0))[:, None]
    in_groups = (acts @ groups.members).tocsr()
    together = (likes.T.tocsr() @ in_groups).toarray()
    whole = count(in_groups.indices, groups.size, in_groups.data)
    weight = strength(together, whole, site, site * (1 - site))
    known = np.maximum(site, np.float32(1e-9))
    lift = np.log(drawn(together, whole, known, weight) / known)
    return np.pad(lift, ((0, 0), (0, 1))).astype(np.float32)
