"""Show: a user's served ranking with its reasons in words.

What does not live here: layout (``cli.show``).
"""

from dataclasses import dataclass
from datetime import datetime

from eventlink.db.catalogue import Person, ServedEvent, person, sample_users, served_events
from eventlink.db.session import require_migrations, transaction
from eventlink.errors import UnknownUserError
from eventlink.recsys.reasons import render
from eventlink.services.experiments import Arm, arm_of


@dataclass(frozen=True)
class Shown:
    """A person and what they are shown."""

    person: Person
    events: list[tuple[ServedEvent, str]]
    """Each with its reason as a sentence."""
    arm: Arm | None
    """In control, the heuristic answers in the ranking's place."""


def show_rankings(
    user_ids: list[int], sample: int, top: int, now: datetime, language: str | None = None
) -> list[Shown]:
    """Read users' served rankings.

    Args:
        user_ids: Whose.
        sample: How many more users to choose.
        top: Events for each.
        now: When; what has started by then, say, is not shown.
        language: Of the reasons; each user's own if None.

    Raises:
        UnknownUserError: There is no such user.
    """
    with transaction() as conn:
        require_migrations(conn)
        shown = []
        for user_id in [*user_ids, *sample_users(conn, sample)]:
            who = person(conn, user_id)
            if who is None:
                raise UnknownUserError(
                    f"user {user_id} does not exist; some who do: eventlink show --sample 3"
                )
            tongue = language or who.language or "en"
            events = served_events(conn, user_id, top, now) if who.is_rankable else []
            said = [(event, _reason(event, tongue)) for event in events]
            shown.append(Shown(who, said, arm_of(user_id, is_rankable=who.is_rankable)))
    return shown


def _reason(event: ServedEvent, language: str) -> str:
    names = {
        "organizer": event.organizer or (event.organizer_id and f"#{event.organizer_id}"),
        "category": event.category,
        "tag": event.tag,
        "km": event.reason.partition(":")[2],
    }
    return render(event.reason, language, {key: str(v) for key, v in names.items() if v})
