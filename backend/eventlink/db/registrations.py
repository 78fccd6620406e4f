"""Who goes to which event, who was there, and what users marked to remember.

What does not live here: the events themselves (``db.events``).
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from eventlink.db.events import readable
from eventlink.db.pages import page


@dataclass(frozen=True)
class OwnRegistration:
    """A user's current registration, with what they want to see of the event."""

    event_id: int
    title: str | None
    city: str | None
    venue: str | None
    start_time: datetime
    end_time: datetime | None
    status: str
    registered_at: datetime
    attended: bool | None


@dataclass(frozen=True)
class Attendee:
    """Who is registered for an event, as its organizer sees them."""

    user_id: int
    full_name: str | None
    registered_at: datetime
    attended: bool | None


REGISTER = text(
    """
    INSERT INTO registrations (user_id, event_id, registered_at)
    VALUES (:user_id, :event_id, :now) ON CONFLICT DO NOTHING
    """
)
IS_REGISTERED = text(
    """
    SELECT EXISTS (SELECT FROM registrations WHERE event_id = :event_id AND user_id = :user_id
                                               AND unregistered_at IS NULL)
    """
)
# Not before it was registered, though the clocks of two machines differ.
UNREGISTER = text(
    """
    UPDATE registrations SET unregistered_at = greatest(:now, registered_at)
     WHERE event_id = :event_id AND user_id = :user_id AND unregistered_at IS NULL
    """
)
OWN = f"""
    SELECT event.id AS event_id, event.title, event.city, event.venue,
           {readable("event.start_time")} AS start_time,
           {readable("event.end_time")} AS end_time, event.status,
           {readable("seat.registered_at")}, seat.attended
      FROM registrations AS seat JOIN events AS event ON event.id = seat.event_id
     WHERE seat.user_id = :user_id AND seat.unregistered_at IS NULL AND event.deleted_at IS NULL
"""
ATTENDEES = f"""
    SELECT seat.user_id, users.full_name, {readable("seat.registered_at")} AS registered_at,
           seat.attended
      FROM registrations AS seat JOIN users ON users.id = seat.user_id
     WHERE seat.event_id = :event_id AND seat.unregistered_at IS NULL
"""
ATTEND = text(
    """
    UPDATE registrations SET attended = :attended
     WHERE event_id = :event_id AND user_id = :user_id AND unregistered_at IS NULL
    """
)
REMEMBER = text(
    """
    INSERT INTO favorite_events (user_id, event_id, created_at)
    VALUES (:user_id, :event_id, :now) ON CONFLICT DO NOTHING
    """
)
FORGET = text("DELETE FROM favorite_events WHERE user_id = :user_id AND event_id = :event_id")


def is_registered(conn: Connection, user_id: int, event_id: int) -> bool:
    """Tell whether a user has a seat at an event."""
    asked = {"user_id": user_id, "event_id": event_id}
    return bool(conn.execute(IS_REGISTERED, asked).scalar_one())


def register(conn: Connection, user_id: int, event_id: int, now: datetime) -> None:
    """Give a user a seat; one who has one keeps it."""
    conn.execute(REGISTER, {"user_id": user_id, "event_id": event_id, "now": now})


def unregister(conn: Connection, user_id: int, event_id: int, now: datetime) -> None:
    """Take a user's seat back, and keep that they had it."""
    conn.execute(UNREGISTER, {"user_id": user_id, "event_id": event_id, "now": now})


def own_registrations(
    conn: Connection, user_id: int, limit: int, offset: int
) -> tuple[int, list[OwnRegistration]]:
    """Return how many seats a user has or had, and a page of them, latest event first."""
    order = "start_time DESC, event_id"
    total, rows = page(conn, OWN, order, limit, offset, user_id=user_id)
    return total, [OwnRegistration(*row) for row in rows]


def attendees(
    conn: Connection, event_id: int, limit: int, offset: int
) -> tuple[int, list[Attendee]]:
    """Return how many seats of an event are taken, and a page of who has them, first come first."""
    order = "registered_at, user_id"
    total, rows = page(conn, ATTENDEES, order, limit, offset, event_id=event_id)
    return total, [Attendee(*row) for row in rows]


def attend(conn: Connection, user_id: int, event_id: int, *, attended: bool | None) -> bool:
    """Store whether a user came, and tell whether the user is registered at all."""
    values = {"user_id": user_id, "event_id": event_id, "attended": attended}
    return conn.execute(ATTEND, values).rowcount > 0


def remember(conn: Connection, user_id: int, event_id: int, now: datetime) -> None:
    """Make an event a user's favourite."""
    conn.execute(REMEMBER, {"user_id": user_id, "event_id": event_id, "now": now})


def forget(conn: Connection, user_id: int, event_id: int) -> None:
    """Make an event a user's favourite no longer."""
    conn.execute(FORGET, {"user_id": user_id, "event_id": event_id})
