"""Events as a platform shows them and their organizers change them; tags; organizers' pages.

What does not live here: who goes (``db.registrations``) and who may see or change what
(``services.events``).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, insert, text, update

from eventlink.db.profile import IS_ORGANIZER, Tag
from eventlink.db.tables import Event


class Sort(Enum):
    """What comes first in a list of events."""

    RECOMMENDED = "recommended"
    TIME = "time"
    POPULAR = "popular"


class Scope(Enum):
    """Which events a list is made of."""

    PUBLIC = "public"
    FAVORITES = "favorites"
    """The public ones among the reader's favourites."""
    OWN = "own"
    """The reader's own, of every status, but not deleted ones."""


@dataclass(frozen=True)
class Search:
    """What a list of events is to hold. None asks for nothing."""

    now: datetime
    reader: int | None = None
    scope: Scope = Scope.PUBLIC
    q: str | None = None
    """Words, each of which is part of the title, place, category, description or a tag."""
    tag: str | None = None
    category: str | None = None
    city: str | None = None
    organizer: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    free_seats: bool | None = None
    sort: Sort = Sort.TIME
    limit: int = 20
    offset: int = 0


@dataclass(frozen=True)
class ListedEvent:
    """An event in a list, and how the reader stands to it."""

    id: int
    title: str | None
    category: str | None
    city: str | None
    venue: str | None
    start_time: datetime
    end_time: datetime | None
    status: str
    organizer_id: int | None
    organizer: str | None
    max_seats: int | None
    seats_taken: int
    tags: list[Tag]
    is_registered: bool
    is_favorite: bool


@dataclass(frozen=True)
class EventDetail(ListedEvent):
    """An event with all that is known of it."""

    description: str | None
    lat: float | None
    lon: float | None
    favorites: int
    publish_at: datetime | None
    created_at: datetime | None
    updated_at: datetime
    deleted_at: datetime | None


Kind = TypeVar("Kind", bound=ListedEvent)


@dataclass(frozen=True)
class Seating:
    """What decides whether an event may be changed or entered."""

    id: int
    owner_id: int | None
    status: str
    start_time: datetime
    end_time: datetime | None
    lat: float | None
    lon: float | None
    max_seats: int | None
    is_public: bool
    is_deleted: bool


@dataclass(frozen=True)
class UsedTag:
    """A topic, and how many events to come have it."""

    id: int
    name: str
    events: int


@dataclass(frozen=True)
class Organizer:
    """Whoever holds events, and how the reader stands to them."""

    id: int
    name: str | None
    events: int
    """To come."""
    followers: int
    is_followed: bool
    is_blocked: bool


def readable(column: str) -> str:
    """SQL for an instant that Python can hold; an infinite one becomes a far one."""
    return (
        f"CASE WHEN {column} IS NOT NULL"
        f" THEN least(greatest({column}, '0002-01-01Z'), '9998-12-31Z') END"
    )


IS_PUBLIC = """(event.status = 'published' AND event.deleted_at IS NULL
                AND (event.publish_at IS NULL OR event.publish_at <= :now))"""
TAKEN = """(SELECT count(*) FROM registrations
             WHERE event_id = event.id AND unregistered_at IS NULL)"""
LISTED = f"""
    event.id, event.title, event.category, event.city, event.venue,
    {readable("event.start_time")} AS start_time, {readable("event.end_time")} AS end_time,
    event.status, event.owner_id AS organizer_id, owner.full_name AS organizer,
    event.max_seats, {TAKEN} AS seats_taken,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('id', tags.id, 'name', tags.name)
                               ORDER BY tags.name), '[]')
       FROM event_tags AS had JOIN tags ON tags.id = had.tag_id
      WHERE had.event_id = event.id) AS tags,
    EXISTS (SELECT FROM registrations WHERE event_id = event.id
               AND user_id = CAST(:reader AS bigint) AND unregistered_at IS NULL) AS is_registered,
    EXISTS (SELECT FROM favorite_events WHERE event_id = event.id
               AND user_id = CAST(:reader AS bigint)) AS is_favorite
"""
DETAIL = text(
    f"""
    SELECT {LISTED}, event.description, event.lat, event.lon,
           (SELECT count(*) FROM favorite_events WHERE event_id = event.id) AS favorites,
           {readable("event.publish_at")} AS publish_at,
           {readable("event.created_at")} AS created_at,
           {readable("event.updated_at")} AS updated_at,
           {readable("event.deleted_at")} AS deleted_at, {IS_PUBLIC} AS is_public
      FROM events AS event LEFT JOIN users AS owner ON owner.id = event.owner_id
     WHERE event.id = :event_id
    """
)

SCOPES = {
    # What a reader never wants to be shown is left out, but not the reader's own.
    Scope.PUBLIC: f"""{IS_PUBLIC} AND (
        CAST(:reader AS bigint) IS NULL OR event.owner_id = :reader OR NOT EXISTS (
            SELECT FROM user_blocked_organizers
             WHERE user_id = :reader AND organizer_id = event.owner_id)
        AND NOT EXISTS (
            SELECT FROM user_hidden_tags AS hidden JOIN event_tags AS had USING (tag_id)
             WHERE hidden.user_id = :reader AND had.event_id = event.id))""",
    Scope.FAVORITES: f"""{IS_PUBLIC} AND EXISTS (
        SELECT FROM favorite_events WHERE event_id = event.id AND user_id = :reader)""",
    Scope.OWN: "event.owner_id = :reader AND event.deleted_at IS NULL",
}
FILTERS = {
    "q": """lower(concat_ws(' ', event.title, event.venue, event.city, event.category,
                            event.description,
                            (SELECT string_agg(tags.name, ' ')
                               FROM event_tags AS had JOIN tags ON tags.id = had.tag_id
                              WHERE had.event_id = event.id)))
            LIKE ALL (ARRAY(SELECT '%' || lower(word) || '%'
                              FROM unnest(CAST(:q AS text[])) AS word))""",
    "tag": """EXISTS (SELECT FROM event_tags AS had JOIN tags ON tags.id = had.tag_id
                       WHERE had.event_id = event.id AND lower(tags.name) = lower(:tag))""",
    "category": "lower(event.category) = lower(:category)",
    "city": "lower(btrim(event.city)) = lower(btrim(:city))",
    "organizer": "event.owner_id = :organizer",
    "since": "event.start_time >= :since",
    "until": "event.start_time < :until",
    "free_seats": f"(event.max_seats IS NULL OR event.max_seats > {TAKEN}) = :free_seats",
}
FIRST = {
    Sort.TIME: "0",
    Sort.POPULAR: f"-{TAKEN}",
    Sort.RECOMMENDED: "ranked.rank",
}
"""What a list is sorted by, smallest first; then by time."""
# The reader's ranking is read once, not once an event.
RANKED = """
    LEFT JOIN (SELECT event_id, rank FROM user_recommendations
                WHERE user_id = CAST(:reader AS bigint)) AS ranked ON ranked.event_id = event.id
"""

SEATING = f"""
    SELECT id, owner_id, status, {readable("start_time")}, {readable("end_time")}, lat, lon,
           max_seats, {IS_PUBLIC}, deleted_at IS NOT NULL
      FROM events AS event WHERE id = :event_id
"""
SEATS_TAKEN = text(
    "SELECT count(*) FROM registrations WHERE event_id = :event_id AND unregistered_at IS NULL"
)
TOUCH = text("UPDATE events SET updated_at = now() WHERE id = :event_id")
# The table refuses a name twice, but not two spellings of it, so new ones are made one by one.
TAGS_LOCK = 0x45564C54  # "EVLT"
LOCK_NEW_TAGS = text(
    f"""
    SELECT pg_advisory_xact_lock({TAGS_LOCK})
     WHERE EXISTS (SELECT FROM unnest(CAST(:names AS text[])) AS wanted (name)
                    WHERE NOT EXISTS (SELECT FROM tags
                                       WHERE lower(tags.name) = lower(wanted.name)))
    """
)
# Of several spellings the first; one statement does not see what it inserts itself.
MAKE_TAGS = text(
    """
    INSERT INTO tags (name)
    SELECT DISTINCT ON (lower(name)) name
      FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS wanted (name, place)
     WHERE NOT EXISTS (SELECT FROM tags WHERE lower(tags.name) = lower(wanted.name))
     ORDER BY lower(name), place
        ON CONFLICT (name) DO NOTHING
    """
)
FIND_TAGS = text(
    """
    SELECT min(id) FROM tags
     WHERE lower(name) IN (SELECT lower(name) FROM unnest(CAST(:names AS text[])) AS name)
     GROUP BY lower(name)
    """
)
DROP_EVENT_TAGS = text(
    "DELETE FROM event_tags WHERE event_id = :event_id AND tag_id <> ALL(CAST(:ids AS bigint[]))"
)
ADD_EVENT_TAGS = text(
    """
    INSERT INTO event_tags (event_id, tag_id)
    SELECT :event_id, unnest(CAST(:ids AS bigint[])) ON CONFLICT DO NOTHING
    """
)
TAGS = text(
    f"""
    SELECT tags.id, tags.name, count(event.id)
      FROM tags
      LEFT JOIN event_tags AS had ON had.tag_id = tags.id
      LEFT JOIN events AS event
             ON event.id = had.event_id AND event.start_time > :now AND {IS_PUBLIC}
     WHERE CAST(:q AS text) IS NULL OR strpos(lower(tags.name), lower(:q)) > 0
     GROUP BY tags.id
     ORDER BY count(event.id) DESC, tags.name LIMIT :limit OFFSET :offset
    """
)
ORGANIZER = text(
    f"""
    SELECT id, full_name,
           (SELECT count(*) FROM events AS event
             WHERE owner_id = users.id AND start_time > :now AND {IS_PUBLIC}),
           (SELECT count(*) FROM user_followed_organizers WHERE organizer_id = users.id),
           EXISTS (SELECT FROM user_followed_organizers
                    WHERE organizer_id = users.id AND user_id = CAST(:reader AS bigint)),
           EXISTS (SELECT FROM user_blocked_organizers
                    WHERE organizer_id = users.id AND user_id = CAST(:reader AS bigint))
      FROM users WHERE id = :organizer_id AND is_active AND {IS_ORGANIZER}
    """
)


def find(conn: Connection, search: Search) -> tuple[int, list[ListedEvent]]:
    """Return how many events a search matches, and a page of them in order."""
    values = {field.name: getattr(search, field.name) for field in fields(search)}
    if search.q is not None:
        values["q"] = [re.sub(r"([\\%_])", r"\\\1", word) for word in search.q.split()]
    conditions = [SCOPES[search.scope]]
    conditions += [sql for name, sql in FILTERS.items() if values[name] is not None]
    recommended = search.sort is Sort.RECOMMENDED
    query = f"""
    WITH matching AS MATERIALIZED (
        SELECT event.id, event.start_time, {FIRST[search.sort]} AS first
          FROM events AS event {RANKED if recommended else ""}
         WHERE {" AND ".join(conditions)}
    ), page AS (
        SELECT id, row_number() OVER (ORDER BY first, start_time, id) AS place
          FROM matching ORDER BY place LIMIT :limit OFFSET :offset
    )
    SELECT counted.total, {LISTED}
      FROM (SELECT count(*) AS total FROM matching) AS counted
      LEFT JOIN page ON true
      LEFT JOIN events AS event ON event.id = page.id
      LEFT JOIN users AS owner ON owner.id = event.owner_id
     ORDER BY page.place
    """
    rows = conn.execute(text(query), values).mappings().all()
    return rows[0]["total"], [_event(ListedEvent, row) for row in rows if row["id"] is not None]


def detail(
    conn: Connection, event_id: int, reader: int | None, now: datetime
) -> tuple[EventDetail, bool] | None:
    """Return an event and whether everybody may see it; None where there is none."""
    asked = {"event_id": event_id, "reader": reader, "now": now}
    row = conn.execute(DETAIL, asked).mappings().one_or_none()
    return None if row is None else (_event(EventDetail, row), row["is_public"])


def _event(kind: type[Kind], row: RowMapping) -> Kind:
    values = {field.name: row[field.name] for field in fields(kind)}
    return kind(**values | {"tags": [Tag(**tag) for tag in row["tags"]]})


def seating(
    conn: Connection, event_id: int, now: datetime, *, lock: bool = False
) -> Seating | None:
    """Return what decides about an event, or None where there is none.

    Args:
        conn: Inside a transaction.
        event_id: The event.
        now: The instant.
        lock: Keep it as it is until the commit, so that seats are given one by one. That does not
            hold up those who only refer to the event.
    """
    query = text(f"{SEATING} FOR NO KEY UPDATE" if lock else SEATING)
    row = conn.execute(query, {"event_id": event_id, "now": now}).one_or_none()
    return None if row is None else Seating(*row)


def seats_taken(conn: Connection, event_id: int) -> int:
    """Count the current registrations of an event."""
    counted: int = conn.execute(SEATS_TAKEN, {"event_id": event_id}).scalar_one()
    return counted


def create(conn: Connection, values: dict[str, Any]) -> int:
    """Store a new event and return its id."""
    made: int = conn.execute(insert(Event).values(**values).returning(Event.id)).scalar_one()
    return made


def change(conn: Connection, event_id: int, changes: dict[str, Any]) -> None:
    """Store changes of an event's columns; none is fine."""
    if changes:
        conn.execute(update(Event).where(Event.id == event_id).values(**changes))


def set_tags(conn: Connection, event_id: int, names: Sequence[str]) -> None:
    """Make an event's tags just these, in any case of letters; new ones are made."""
    named = {"names": list(names)}
    conn.execute(LOCK_NEW_TAGS, named)
    conn.execute(MAKE_TAGS, named)
    ids = list(conn.execute(FIND_TAGS, named).scalars())
    values = {"event_id": event_id, "ids": ids}
    changed = conn.execute(DROP_EVENT_TAGS, values).rowcount
    changed += conn.execute(ADD_EVENT_TAGS, values).rowcount
    if changed:
        conn.execute(TOUCH, {"event_id": event_id})


def tags(conn: Connection, q: str | None, now: datetime, limit: int, offset: int) -> list[UsedTag]:
    """Return topics, those of most events to come first.

    Args:
        conn: An open connection.
        q: A part of the name; all if None.
        now: The instant.
        limit: At most so many.
        offset: Leave out so many first.
    """
    asked = {"q": q, "now": now, "limit": limit, "offset": offset}
    return [UsedTag(*row) for row in conn.execute(TAGS, asked)]


def organizer(
    conn: Connection, organizer_id: int, reader: int | None, now: datetime
) -> Organizer | None:
    """Return an organizer's page for a reader, or None."""
    asked = {"organizer_id": organizer_id, "reader": reader, "now": now}
    row = conn.execute(ORGANIZER, asked).one_or_none()
    return None if row is None else Organizer(*row)
