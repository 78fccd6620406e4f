"""Registrations: seats given and taken back, who was there, favourites.

What does not live here: who may see an event (``services.events``).
"""

from datetime import datetime

from sqlalchemy import Connection

from eventlink.db import events, registrations
from eventlink.db.accounts import Account
from eventlink.db.registrations import Attendee
from eventlink.errors import ConflictError, NotFoundError
from eventlink.services.events import require_own, require_visible


def register(conn: Connection, user: Account, event_id: int, now: datetime) -> bool:
    """Give a user a seat.

    The event is locked meanwhile, so that no more seats are given than there are.

    Args:
        conn: Inside a transaction.
        user: Who wants to go.
        event_id: Where.
        now: The instant.

    Returns:
        Whether it is a new registration; False where the user had a seat.

    Raises:
        ConflictError: The event is full, has started, or is not published.
        NotFoundError: There is no such event, or not for this user.
    """
    event = require_visible(conn, user, event_id, now, lock=True)
    if not event.is_public:
        raise ConflictError("the event is not public; nobody can register for it")
    if event.start_time <= now:
        raise ConflictError("the event has started; nobody can register any more")
    if registrations.is_registered(conn, user.id, event_id):
        return False
    if event.max_seats is not None and events.seats_taken(conn, event_id) >= event.max_seats:
        raise ConflictError("all seats are taken")
    registrations.register(conn, user.id, event_id, now)
    return True


def unregister(conn: Connection, user: Account, event_id: int, now: datetime) -> None:
    """Take a user's seat back; one without a seat is fine.

    Whoever has a seat may give it back even where the event is public no longer.

    Raises:
        ConflictError: The event has started.
        NotFoundError: There is no such event, or not for this user.
    """
    if not registrations.is_registered(conn, user.id, event_id):
        require_visible(conn, user, event_id, now)
        return
    event = events.seating(conn, event_id, now)
    if event is not None and event.start_time <= now:
        raise ConflictError("the event has started; its registrations remain")
    registrations.unregister(conn, user.id, event_id, now)


def attendees(
    conn: Connection, owner: Account, event_id: int, limit: int, offset: int, now: datetime
) -> tuple[int, list[Attendee]]:
    """Return how many are registered for one's own event, and a page of who.

    Raises:
        NotAllowedError: The event is somebody else's.
        NotFoundError: There is no such event, or not for this user.
    """
    require_own(conn, owner, event_id, now)
    return registrations.attendees(conn, event_id, limit, offset)


def attend(
    conn: Connection,
    owner: Account,
    event_id: int,
    user_id: int,
    attended: bool | None,
    now: datetime,
) -> None:
    """Store whether a registered user came to one's own event; None takes it back.

    Raises:
        ConflictError: The event has not started.
        NotAllowedError: The event is somebody else's.
        NotFoundError: There is no such event, or the user is not registered.
    """
    event = require_own(conn, owner, event_id, now)
    if event.start_time > now:
        raise ConflictError("the event has not started; nobody was there yet")
    if not registrations.attend(conn, user_id, event_id, attended=attended):
        raise NotFoundError(f"user {user_id} is not registered for event {event_id}")


def remember(conn: Connection, user: Account, event_id: int, now: datetime) -> None:
    """Make an event a user's favourite.

    Raises:
        NotFoundError: There is no such event, or not for this user.
    """
    require_visible(conn, user, event_id, now)
    registrations.remember(conn, user.id, event_id, now)
