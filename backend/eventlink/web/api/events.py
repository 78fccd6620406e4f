"""Routes of the catalogue: events, tags, organizers.

What does not live here: seats and favourites (``web.api.registrations``).
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints

from eventlink.db import events as stored
from eventlink.db.events import (
    EventDetail,
    ListedEvent,
    Scope,
    Search,
    Sort,
    UsedTag,
)
from eventlink.db.events import Organizer as OrganizerPage
from eventlink.services import events
from eventlink.web.errors import answers
from eventlink.web.fields import (
    NO_NUL,
    NOT_BLANK,
    Body,
    Count,
    Id,
    IdQuery,
    Instant,
    Latitude,
    Limit,
    Longitude,
    Name,
    Offset,
    Prose,
    absent,
)
from eventlink.web.requests import ANONYMOUS_TOO, MaybeUser, Now, Organizer, Transaction

router = APIRouter(tags=["events"], responses=answers(503))

TagName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=NOT_BLANK),
]
Tags = Annotated[list[TagName], Field(max_length=20, examples=[["jazz", "open air"]])]
Text = Annotated[str, Query(max_length=200, pattern=NO_NUL)]


class Draft(Body):
    """A new event."""

    title: Name = Field(examples=["Jazz in the park"])
    description: Prose | None = Field(default=None, examples=["Bring a blanket."])
    category: Name | None = Field(default=None, examples=["music"])
    city: Name | None = Field(default=None, examples=["Cluj-Napoca"])
    venue: Name | None = Field(default=None, examples=["Parcul Central"])
    lat: Latitude | None = Field(default=None, examples=[46.77])
    lon: Longitude | None = Field(default=None, examples=[23.58])
    start_time: Instant = Field(examples=["2030-06-21T19:00:00+03:00"])
    end_time: Instant | None = Field(default=None, examples=["2030-06-21T22:00:00+03:00"])
    max_seats: Count | None = Field(default=None, examples=[120])
    tags: Tags = Field(default=[])


class EventChange(Body):
    """What changes; what is left out stays, and null forgets."""

    title: Name = Field(default_factory=absent)
    description: Prose | None = None
    category: Name | None = None
    city: Name | None = None
    venue: Name | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    start_time: Instant = Field(default_factory=absent)
    end_time: Instant | None = None
    max_seats: Count | None = Field(default=None, description="Not fewer than are taken.")
    tags: Tags = Field(default_factory=absent)


@dataclass(frozen=True)
class Events:
    """A page of events, and how many there are in all."""

    total: int
    items: list[ListedEvent]


@router.get("/events", responses=answers(401), openapi_extra=ANONYMOUS_TOO)
def find(
    conn: Transaction,
    reader: MaybeUser,
    now: Now,
    q: Annotated[Text | None, Query(description="Words that must all occur.")] = None,
    tag: Annotated[Text | None, Query(description="A tag's name.")] = None,
    category: Text | None = None,
    city: Text | None = None,
    organizer: IdQuery | None = None,
    since: Annotated[
        Instant | None, Query(alias="from", description="Starts then or later; else: from now.")
    ] = None,
    until: Annotated[Instant | None, Query(alias="to", description="Starts earlier.")] = None,
    free_seats: Annotated[bool | None, Query(description="Whether there is a seat left.")] = None,
    sort: Annotated[
        Sort, Query(description="`recommended` is by my ranking, then by time.")
    ] = Sort.TIME,
    limit: Limit = 20,
    offset: Offset = 0,
) -> Events:
    """List public events to come, but none that I never want to be shown."""
    search = Search(
        now,
        reader.id if reader else None,
        q=q,
        tag=tag,
        category=category,
        city=city,
        organizer=organizer,
        since=since or now,
        until=until,
        free_seats=free_seats,
        sort=events.order_for(reader, sort),
        limit=limit,
        offset=offset,
    )
    return Events(*stored.find(conn, search))


@router.post("/events", status_code=201, responses=answers(400, 401, 403))
def create(
    draft: Draft, owner: Organizer, conn: Transaction, now: Now, response: Response
) -> EventDetail:
    """Make an event of mine, as a draft."""
    made = events.create(conn, owner, draft.model_dump(exclude={"tags"}), draft.tags, now)
    response.headers["Location"] = f"/api/events/{made.id}"
    return made


@router.get("/events/{event_id}", responses=answers(401, 404), openapi_extra=ANONYMOUS_TOO)
def show(event_id: Id, reader: MaybeUser, conn: Transaction, now: Now) -> EventDetail:
    """Show an event."""
    return events.show(conn, event_id, reader, now)


@router.patch("/events/{event_id}", responses=answers(400, 401, 403, 404, 409))
def change(
    event_id: Id, change: EventChange, owner: Organizer, conn: Transaction, now: Now
) -> EventDetail:
    """Change an event of mine."""
    return events.change(conn, owner, event_id, change.model_dump(exclude_unset=True), now)


@router.delete("/events/{event_id}", status_code=204, responses=answers(401, 403, 404))
def delete(event_id: Id, owner: Organizer, conn: Transaction, now: Now) -> None:
    """Delete an event of mine; only I and administrators see it from now on."""
    events.delete(conn, owner, event_id, now)


@router.post("/events/{event_id}/publish", responses=answers(401, 403, 404, 409))
def publish(event_id: Id, owner: Organizer, conn: Transaction, now: Now) -> EventDetail:
    """Make a draft of mine public."""
    return events.publish(conn, owner, event_id, now)


@router.post("/events/{event_id}/cancel", responses=answers(401, 403, 404, 409))
def cancel(event_id: Id, owner: Organizer, conn: Transaction, now: Now) -> EventDetail:
    """Call an event of mine off."""
    return events.cancel(conn, owner, event_id, now)


@router.get("/profile/events", responses=answers(401, 403))
def own(
    owner: Organizer, conn: Transaction, now: Now, limit: Limit = 20, offset: Offset = 0
) -> Events:
    """List my events, drafts and cancelled ones too."""
    search = Search(now, owner.id, Scope.OWN, limit=limit, offset=offset)
    return Events(*stored.find(conn, search))


@router.get("/tags")
def tags(
    conn: Transaction,
    now: Now,
    q: Annotated[Text | None, Query(description="A part of the name.")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> list[UsedTag]:
    """List tags, those of most events to come first."""
    return stored.tags(conn, q, now, limit, offset)


@router.get("/organizers/{organizer_id}", responses=answers(401, 404), openapi_extra=ANONYMOUS_TOO)
def organizer(organizer_id: Id, reader: MaybeUser, conn: Transaction, now: Now) -> OrganizerPage:
    """Show an organizer."""
    return events.organizer(conn, organizer_id, reader, now)
