"""Tastes: whether people with a user's interests or language choose an event, or its like.

What does not live here: the tags of the event itself (``topics``).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eventlink.recsys.dataset import Bools, Ints
from eventlink.recsys.features.about import About, Sheet
from eventlink.recsys.features.topics import Topics
from eventlink.recsys.matrices import (
    Dense,
    Matrix,
    count,
    incidence,
    ones,
    product,
    row_sums,
    scale_rows,
)
from eventlink.recsys.persons import Rows
from eventlink.recsys.shrinkage import strength
from eventlink.recsys.snapshot import Pairs, Snapshot

MOST_TAGS = 1024
"""Those liked by most; others are not counted, which bounds memory."""
SAMPLE_TRAITS = 64
"""Tags that tell how far lifts are to be smoothed."""
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
    About(
        "tastes",
        ("language.organizer_lift", "language.event_lift"),
        "log of how over-represented U's language is among those who register for or engage with"
        " O's events, with E",
        "Events do not say in what language they are held; who comes does",
    ),
)


@dataclass(frozen=True)
class Lift:
    """How over-represented traits of people are among those who choose things."""

    table: Dense
    """Logs, shape (number of traits, number of things + 1); the last one is of nothing."""
    thing: Ints
    """For each column, what it is or belongs to."""


class Tastes:
    """What is liked and read by those who choose each organizer, category and event.

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
    def n_languages(self) -> int:
        """How many languages are read."""
        return int(self.s.language.max(initial=-1)) + 1

    @cached_property
    def lifts(self) -> dict[str, Lift]:
        """Name of a feature to what it reads."""
        s, organizers, categories = self.s, self.s.organizers, self.topics.categories
        fond, reading = _some(np.diff(s.interests.indptr) > 0), _some(s.members & (s.language >= 0))
        likes = s.interests[fond] @ ones(self.weights.copy())
        reads = incidence(s.language[reading], self.n_languages)
        each = np.arange(s.n_columns, dtype=np.int32)
        return {
            "tags.organizer_lift": self._lift(
                fond, likes, organizers.members, organizers.of_column
            ),
            "tags.category_lift": self._lift(fond, likes, categories.members, categories.of_column),
            "language.organizer_lift": self._lift(
                reading, reads, organizers.members, organizers.of_column
            ),
            "language.event_lift": self._lift(reading, reads, s.to_columns, each),
        }

    def _lift(self, people: Ints, traits: Matrix, members: Matrix, thing: Ints) -> Lift:
        """Count who chooses what.

        Args:
            people: Indices of users.
            traits: These people × traits: 1 where somebody has it.
            members: All events × things: 1 where the event is one, or belongs to it.
            thing: For each column, its thing.
        """
        acts = (ones(self.s.registered[people]) + ones(self.s.engagement[people])).tocsr()
        number = row_sums(acts)
        site = ((traits.T @ number) / max(float(number.sum()), 1.0))[:, None]
        chosen = (acts @ members).tocsr()
        together = (traits.T.tocsr() @ chosen).toarray()
        whole = count(chosen.indices, chosen.shape[1], chosen.data).astype(np.float32)
        some = slice(None, None, -(-len(site) // SAMPLE_TRAITS) or 1)
        weight = strength(together[some], whole, site[some], site[some] * (1 - site[some]))
        known = np.maximum(site, np.float32(1e-9))
        lift = np.log((together + weight * known) / ((whole + weight) * known))
        return Lift(np.pad(lift, ((0, 0), (0, 1))), thing)

    def fill(self, sheet: Sheet, p: Pairs, who: Rows) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the persons and of columns of the crowd.
            who: Their rows, in the order of ``p.users``.
        """
        likes = product(who.interests, self.weights)
        total = row_sums(likes)
        share = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
        traits = {
            "tags": scale_rows(likes, share),
            "language": incidence(_known(who.language, self.n_languages), self.n_languages),
        }
        for name, lift in self.lifts.items():
            of_users = traits[name.partition(".")[0]] @ lift.table
            p.of_groups(of_users, lift.thing, sheet[name])


def _some(which: Bools) -> Ints:
    """Sample users evenly of those who have said something."""
    people = np.flatnonzero(which).astype(np.int32)
    return people[:: -(-len(people) // MOST_PEOPLE) or 1]


def _known(language: Ints, number: int) -> Ints:
    """Take a language that nobody of the crowd reads for none."""
    return np.where(language < number, language, np.int32(-1))
