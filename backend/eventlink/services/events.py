"""Events: who may see them, and what their organizers may make of them.

What does not live here: seats (``services.registrations``).

A draft is public from its publication to its cancellation or deletion; before and after, it exists
only for its organizer and for administrators.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from eventlink.db import events
from eventlink.db.accounts import Account
from eventlink.db.events import EventDetail, Organizer, Seating, Sort
from eventlink.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from eventlink.services.experiments import Arm, arm_of


def show(conn: Connection, event_id: int, reader: Account | None, now: datetime) -> EventDetail:
    """Return an event to a reader, who may be anonymous.

    Raises:
        NotFoundError: There is no such event, or not for this reader.
    """
    found = events.detail(conn, event_id, reader.id if reader else None, now)
    if found is None:
        raise _missing(event_id)
    event, is_public = found
    if not is_public and not _owns(reader, event.organizer_id):
        raise _missing(event_id)
    return event


def order_for(reader: Account | None, sort: Sort) -> Sort:
    """Return what a reader's list is sorted by: by no ranking where the heuristic answers them."""
    if sort is not Sort.RECOMMENDED or reader is None:
        return sort
    arm = arm_of(reader.id, is_rankable=reader.is_rankable)
    return Sort.TIME if arm is Arm.CONTROL or not reader.is_rankable else sort


def create(
    conn: Connection, owner: Account, values: dict[str, Any], tags: list[str], now: datetime
) -> EventDetail:
    """Store a draft.

    Args:
        conn: Inside a transaction.
        owner: Whose event.
        values: Columns of ``events``.
        tags: Names of topics; those that do not exist are made.
        now: The instant.

    Raises:
        InvalidRequestError: It ends before it begins, or lies nowhere.
    """
    _require_sense(values)
    event_id = events.create(conn, {**values, "owner_id": owner.id, "created_at": now})
    events.set_tags(conn, event_id, tags)
    return show(conn, event_id, owner, now)


def change(
    conn: Connection, owner: Account, event_id: int, changes: dict[str, Any], now: datetime
) -> EventDetail:
    """Change a draft or a published event.

    Args:
        conn: Inside a transaction.
        owner: Who asks.
        event_id: The event.
        changes: Columns of ``events``, and perhaps ``tags``, their names.
        now: The instant.

    Raises:
        ConflictError: The event does not allow the change any more.
        InvalidRequestError: It would end before it begins, or lie nowhere.
        NotAllowedError: It is somebody else's.
        NotFoundError: There is no such event, or not for this user.
    """
    event = require_own(conn, owner, event_id, now, lock=True)
    if event.is_deleted or event.status == "cancelled":
        raise ConflictError("the event is cancelled or deleted and cannot change any more")
    _require_sense(
        {name: getattr(event, name) for name in ("start_time", "end_time", "lat", "lon")} | changes
    )
    start_time = changes.get("start_time", event.start_time)
    if event.status == "published" and start_time != event.start_time:
        if event.start_time <= now:
            raise ConflictError("the event has started; its start cannot change any more")
        _require_future(start_time, now)
    seats = changes.get("max_seats")
    if seats is not None and seats < (taken := events.seats_taken(conn, event_id)):
        raise ConflictError(f"{taken} seats are taken; there cannot be fewer")
    changes = dict(changes)
    tags = changes.pop("tags", None)
    events.change(conn, event_id, changes)
    if tags is not None:
        events.set_tags(conn, event_id, tags)
    return show(conn, event_id, owner, now)


def publish(conn: Connection, owner: Account, event_id: int, now: datetime) -> EventDetail:
    """Make a draft public; a published event stays as it is.

    Raises:
        ConflictError: It is cancelled or deleted, or its start is over.
        NotAllowedError: It is somebody else's.
        NotFoundError: There is no such event, or not for this user.
    """
    event = require_own(conn, owner, event_id, now, lock=True)
    if event.is_deleted or event.status == "cancelled":
        raise ConflictError("the event is cancelled or deleted; make a new one")
    if not event.is_public:
        _require_future(event.start_time, now)
        # Whatever learns from the past takes this as the instant since when it is known.
        events.change(conn, event_id, {"status": "published", "publish_at": now})
    return show(conn, event_id, owner, now)


def cancel(conn: Connection, owner: Account, event_id: int, now: datetime) -> EventDetail:
    """Call an event off; a cancelled one stays as it is. Registrations are kept.

    Raises:
        ConflictError: It has started, or is deleted.
        NotAllowedError: It is somebody else's.
        NotFoundError: There is no such event, or not for this user.
    """
    event = require_own(conn, owner, event_id, now, lock=True)
    if event.is_deleted:
        raise ConflictError("the event is deleted")
    if event.status != "cancelled":
        if event.status == "published" and event.start_time <= now:
            raise ConflictError("the event has started and cannot be cancelled any more")
        events.change(conn, event_id, {"status": "cancelled"})
    return show(conn, event_id, owner, now)


def delete(conn: Connection, owner: Account, event_id: int, now: datetime) -> None:
    """Take an event off every list, for good; its row remains as history.

    Raises:
        NotAllowedError: It is somebody else's.
        NotFoundError: There is no such event, or not for this user.
    """
    if not require_own(conn, owner, event_id, now, lock=True).is_deleted:
        events.change(conn, event_id, {"deleted_at": now})


def organizer(
    conn: Connection, organizer_id: int, reader: Account | None, now: datetime
) -> Organizer:
    """Return an organizer's page.

    Raises:
        NotFoundError: There is no such organizer.
    """
    found = events.organizer(conn, organizer_id, reader.id if reader else None, now)
    if found is None:
        raise NotFoundError(f"organizer {organizer_id} does not exist")
    return found


def require_visible(
    conn: Connection, reader: Account, event_id: int, now: datetime, *, lock: bool = False
) -> Seating:
    """Return what decides about an event that a reader may see.

    Args:
        conn: Inside a transaction.
        reader: Who asks.
        event_id: The event.
        now: The instant.
        lock: Keep it as it is until the commit.

    Raises:
        NotFoundError: There is no such event, or not for this user.
    """
    event = events.seating(conn, event_id, now, lock=lock)
    if event is None or not (event.is_public or _owns(reader, event.owner_id)):
        raise _missing(event_id)
    return event


def require_own(
    conn: Connection, owner: Account, event_id: int, now: datetime, *, lock: bool = False
) -> Seating:
    """Return what decides about an event that a user holds, or manages as an administrator.

    Args:
        conn: Inside a transaction.
        owner: Who asks.
        event_id: The event.
        now: The instant.
        lock: Keep it as it is until the commit.

    Raises:
        NotAllowedError: It is somebody else's.
        NotFoundError: There is no such event, or not for this user.
    """
    event = require_visible(conn, owner, event_id, now, lock=lock)
    if not _owns(owner, event.owner_id):
        raise NotAllowedError("only the event's organizer may do this")
    return event


def _owns(user: Account | None, owner_id: int | None) -> bool:
    return user is not None and (user.role == "admin" or user.id == owner_id)


def _missing(event_id: int) -> NotFoundError:
    return NotFoundError(f"event {event_id} does not exist, or is not public")


def _require_future(start_time: datetime, now: datetime) -> None:
    if start_time <= now:
        raise ConflictError("the start is over; set start_time to one to come")


def _require_sense(values: dict[str, Any]) -> None:
    end_time = values.get("end_time")
    if end_time is not None and end_time <= values["start_time"]:
        raise InvalidRequestError("end_time must come after start_time")
    if (values.get("lat") is None) != (values.get("lon") is None):
        raise InvalidRequestError("lat and lon go together; give both, or neither")
