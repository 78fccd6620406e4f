"""What may be said of why an event was recommended, in the languages it is said in.

What does not live here: what is said of a pair (``recsys.attribution``). A reason is stored as a
code with at most one argument, ``interest_tag:17``, and becomes a sentence when it is read, in the
reader's language; whoever only reads needs none of the ranker's libraries.
"""

from collections.abc import Mapping
from dataclasses import dataclass


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
            "en": "You go to events of {organizer}",
            "ro": "Mergi la evenimente organizate de {organizer}",
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
