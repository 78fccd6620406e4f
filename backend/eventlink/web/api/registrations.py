"""Routes of seats, attendance and favourites.

What does not live here: the events themselves (``web.api.events``).
"""

from dataclasses import dataclass

from fastapi import APIRouter, Response

from eventlink.db import events as catalogue
from eventlink.db import registrations as stored
from eventlink.db.events import Scope, Search
from eventlink.db.registrations import Attendee, OwnRegistration
from eventlink.services import registrations
from eventlink.web.api.events import Events
from eventlink.web.errors import answers
from eventlink.web.fields import Body, Id, Limit, Offset
from eventlink.web.refresh import refreshes_ranking
from eventlink.web.requests import CurrentUser, Now, Organizer, Transaction

router = APIRouter(tags=["registrations"], responses=answers(401, 503))


@dataclass(frozen=True)
class Seat:
    """A user's seat at an event."""

    event_id: int
    is_registered: bool


@dataclass(frozen=True)
class OwnRegistrations:
    """A page of a user's registrations, and how many there are in all."""

    total: int
    items: list[OwnRegistration]


@dataclass(frozen=True)
class Attendees:
    """A page of an event's registrations, and how many there are in all."""

    total: int
    items: list[Attendee]


class Attendance(Body):
    """Whether somebody came; null where that is not known."""

    attended: bool | None


@router.put(
    "/events/{event_id}/registration",
    responses={201: {"model": Seat, "description": "Registered now"}, **answers(404, 409)},
    dependencies=[refreshes_ranking],
)
def register(
    event_id: Id, user: CurrentUser, conn: Transaction, now: Now, response: Response
) -> Seat:
    """Take a seat at an event. Who has one keeps it."""
    if registrations.register(conn, user, event_id, now):
        response.status_code = 201
    return Seat(event_id, is_registered=True)


@router.delete(
    "/events/{event_id}/registration",
    status_code=204,
    responses=answers(404, 409),
    dependencies=[refreshes_ranking],
)
def unregister(event_id: Id, user: CurrentUser, conn: Transaction, now: Now) -> None:
    """Give my seat back."""
    registrations.unregister(conn, user, event_id, now)


@router.get("/registrations")
def own(
    user: CurrentUser, conn: Transaction, limit: Limit = 20, offset: Offset = 0
) -> OwnRegistrations:
    """List where I am registered, the latest event first; those called off too."""
    return OwnRegistrations(*stored.own_registrations(conn, user.id, limit, offset))


@router.get("/events/{event_id}/registrations", responses=answers(403, 404))
def attendees(
    event_id: Id,
    owner: Organizer,
    conn: Transaction,
    now: Now,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Attendees:
    """List who is registered for an event of mine."""
    return Attendees(*registrations.attendees(conn, owner, event_id, limit, offset, now))


@router.put(
    "/events/{event_id}/registrations/{user_id}/attendance",
    status_code=204,
    responses=answers(400, 403, 404, 409),
)
def attend(
    event_id: Id, user_id: Id, body: Attendance, owner: Organizer, conn: Transaction, now: Now
) -> None:
    """Note whether somebody came to an event of mine."""
    registrations.attend(conn, owner, event_id, user_id, body.attended, now)


@router.get("/favorites")
def favorites(
    user: CurrentUser, conn: Transaction, now: Now, limit: Limit = 20, offset: Offset = 0
) -> Events:
    """List the public events among my favourites, the earliest first."""
    search = Search(now, user.id, Scope.FAVORITES, limit=limit, offset=offset)
    return Events(*catalogue.find(conn, search))


@router.put(
    "/events/{event_id}/favorite",
    status_code=204,
    responses=answers(404),
    dependencies=[refreshes_ranking],
)
def remember(event_id: Id, user: CurrentUser, conn: Transaction, now: Now) -> None:
    """Make an event a favourite of mine."""
    registrations.remember(conn, user, event_id, now)


@router.delete("/events/{event_id}/favorite", status_code=204, dependencies=[refreshes_ranking])
def forget(event_id: Id, user: CurrentUser, conn: Transaction) -> None:
    """Make an event a favourite of mine no longer."""
    stored.forget(conn, user.id, event_id)
