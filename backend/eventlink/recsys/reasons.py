"""Why an event was recommended: the model's largest positive contribution, put into words.

What does not live here: the contributions (``recsys.models``). A reason is stored as a code with
at most one argument, ``interest_tag:17``, and becomes a sentence when it is read, in the reader's
language.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property

import numpy as np
from scipy import sparse

from eventlink.recsys.dataset import Ints
from eventlink.recsys.features import EVENTS, NAMES, PAIRS
from eventlink.recsys.matrices import Dense, Matrix
from eventlink.recsys.persons import Persons
from eventlink.recsys.snapshot import Snapshot


@dataclass(frozen=True)
class Reason:
    """One thing that may be said."""

    code: str
    features: tuple[str, ...]
    """Patterns of the features whose contributions speak for it."""
    when: str | None
    """It may be said where this feature is positive; None: always."""
    text: Mapping[str, str]
    """Language to sentence."""


REASONS = (
    Reason(
        "followed_organizer",
        ("organizer.follows*", "organizer.known*", "newcomer[*]organizer.follows"),
        "organizer.follows",
        {
            "en": "You follow {organizer}",
            "ro": "Urmărești {organizer}",
        },
    ),
    Reason(
        "attended_organizer",
        (
            "organizer.went*",
            "organizer.known*",
            "organizer.share_of_history",
            "series.*",
            "venue.*",
            "event.next_for_user",
            "event.siblings_taken",
        ),
        "organizer.went",
        {
            "en": "You have been to events of {organizer}",
            "ro": "Ai fost la evenimente organizate de {organizer}",
        },
    ),
    Reason(
        "engaged_organizer",
        ("organizer.engaged", "organizer.favorites", "event.own_*"),
        "organizer.engaged",
        {
            "en": "You looked at events of {organizer}",
            "ro": "Te-ai uitat la evenimente ale {organizer}",
        },
    ),
    Reason(
        "searched",
        ("tags.intent", "category.intent"),
        "tags.intent",
        {"en": "You searched for this lately", "ro": "Ai căutat asta de curând"},
    ),
    Reason(
        "interest_tag",
        ("tags.interests", "newcomer[*]tags.interests"),
        "tags.interests",
        {"en": "You like {tag}", "ro": "Îți place {tag}"},
    ),
    Reason(
        "similar_to_past",
        ("tags.history", "tags.engaged", "habits.*"),
        "tags.history",
        {
            "en": "Similar to events you went to",
            "ro": "Seamănă cu evenimente la care ai fost",
        },
    ),
    Reason(
        "favorite_category",
        ("category.share", "category.engaged"),
        "category.share",
        {"en": "You often choose {category}", "ro": "Alegi des {category}"},
    ),
    Reason(
        "people_like_you",
        ("people.*",),
        "people.going",
        {
            "en": "People you go to events with are going",
            "ro": "Merg oameni cu care ai mai fost la evenimente",
        },
    ),
    Reason(
        "shared_tastes",
        ("tags.*_lift", "newcomer[*]tags.*_lift"),
        "tags.organizer_lift",
        {
            "en": "Popular with people who like what you like",
            "ro": "Popular printre cei cărora le place ce îți place ție",
        },
    ),
    Reason(
        "nearby",
        ("place.*", "newcomer[*]place.*"),
        "place.has_distance",
        {"en": "{km} km from you", "ro": "La {km} km de tine"},
    ),
    Reason(
        "soon",
        ("time.ahead", "time.within_*", "time.closeness"),
        "time.within_3d",
        {"en": "Starts soon", "ro": "Începe în curând"},
    ),
    Reason(
        "new",
        ("time.age", "time.freshness", "time.younger_*", "event.newest_of_organizer"),
        "time.younger_48h",
        {"en": "Just announced", "ro": "Abia anunțat"},
    ),
    Reason(
        "explored",
        (),  # nothing speaks for it: it was drawn
        None,
        {"en": "Something new to discover", "ro": "Ceva nou de descoperit"},
    ),
    Reason(
        "popular",
        (
            "event.*",
            "organizer.registrations*",
            "organizer.first_day*",
            "organizer.mean_registrations",
            "organizer.followers",
            "forecast.*",
            "newcomer[*]event.*",
            "newcomer[*]organizer.registrations*",
        ),
        None,
        {"en": "Popular right now", "ro": "Popular în acest moment"},
    ),
)
"""In order of precedence among equals. The last may always be said."""

CODES = tuple(reason.code for reason in REASONS)
EXPLORED = CODES.index("explored")
LANGUAGES = ("en", "ro")


class Explainer:
    """Finds the reason of each recommended pair.

    Args:
        s: The instant of the ranking.
    """

    def __init__(self, s: Snapshot) -> None:
        self.s = s
        self.speaks_for = np.array(
            [[any(fnmatch(name, p) for p in r.features) for r in REASONS] for name in NAMES],
            dtype=np.float32,
        )
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
        """Choose for each pair the reason whose features contribute most, of those that hold.

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


def render(reason: str, language: str, names: Mapping[str, str]) -> str:
    """Put a stored reason into words.

    Args:
        reason: ``code`` or ``code:argument``, as in ``user_recommendations.reason``.
        language: ``en`` or ``ro``; any other reads as ``en``.
        names: What may fill gaps: ``organizer``, ``category``, ``tag`` and ``km``, as far as
            the reason needs them.

    Returns:
        A sentence without full stop; for an unknown code or a missing name, that of ``popular``.
    """
    code = reason.partition(":")[0]
    chosen = REASONS[CODES.index(code)] if code in CODES else REASONS[-1]
    tongue = language if language in LANGUAGES else "en"
    try:
        return chosen.text[tongue].format_map(names)
    except KeyError:
        return REASONS[-1].text[tongue]
