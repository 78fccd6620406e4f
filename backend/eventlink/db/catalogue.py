"""Reading users' served rankings with what a person wants to see of each event.

What does not live here: whether a ranking is fresh, and what to do if not.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from eventlink.db.accounts import RANKABLE
from eventlink.db.events import readable
from eventlink.db.served import MAY_BE_SHOWN, SEATS

SERVED = f"""
    SELECT row_number() OVER (ORDER BY served.rank), served.event_id, served.score, served.reason,
           event.title, event.category, event.city, {readable("event.start_time")},
           owner.full_name, event.owner_id, tag.name, served.model_version, served.generated_at
      FROM user_recommendations AS served
      JOIN events AS event ON event.id = served.event_id
      LEFT JOIN users AS owner ON owner.id = event.owner_id
      LEFT JOIN tags AS tag ON served.reason = 'interest_tag:' || tag.id
      {SEATS}
     WHERE served.user_id = %(user_id)s AND {MAY_BE_SHOWN}
     ORDER BY served.rank LIMIT %(top)s
"""

# In turn one with a long past, one with a short past, one without.
SAMPLE = text(
    f"""
    SELECT id
      FROM (SELECT id, past, row_number() OVER (PARTITION BY past ORDER BY md5(id::text)) AS place
              FROM (SELECT id, least(2, (SELECT count(*) FROM registrations AS r
                                          WHERE r.user_id = users.id) / 3) AS past
                      FROM users WHERE {RANKABLE}) AS students) AS placed
     ORDER BY place, past DESC
     LIMIT :count
    """
)


@dataclass(frozen=True)
class ServedEvent:
    """One recommended event."""

    rank: int
    event_id: int
    score: float
    reason: str
    title: str | None
    category: str | None
    city: str | None
    start_time: datetime
    organizer: str | None
    organizer_id: int | None
    tag: str | None
    model_version: str
    generated_at: datetime


@dataclass(frozen=True)
class Person:
    """Whose ranking it is."""

    user_id: int
    name: str | None
    city: str | None
    language: str | None
    interests: list[str]
    registrations: int
    is_rankable: bool
    """Whether rankings are made for them."""


PERSON = text(
    f"""
    SELECT id, full_name, city, language,
           ARRAY(SELECT tags.name
                   FROM user_interest_tags AS listed JOIN tags ON tags.id = listed.tag_id
                  WHERE listed.user_id = users.id ORDER BY tags.name) AS interests,
           (SELECT count(*) FROM registrations
             WHERE user_id = users.id AND unregistered_at IS NULL) AS registrations,
           {RANKABLE} AS is_rankable
      FROM users WHERE id = :user_id
    """
)


def person(conn: Connection, user_id: int) -> Person | None:
    """Return who a user is, or None."""
    row = conn.execute(PERSON, {"user_id": user_id}).one_or_none()
    return None if row is None else Person(*row)


def served_events(conn: Connection, user_id: int, top: int, now: datetime) -> list[ServedEvent]:
    """Return what may be shown of a user's stored ranking, best first; empty where nothing may.

    Args:
        conn: An open connection.
        user_id: Whose.
        top: At most so many.
        now: The instant.
    """
    values = {"user_id": user_id, "top": top, "now": now}
    return [ServedEvent(*row) for row in conn.exec_driver_sql(SERVED, values)]


def sample_users(conn: Connection, count: int) -> list[int]:
    """Return some active students, with long, short and no pasts in turn; always the same."""
    return list(conn.execute(SAMPLE, {"count": count}).scalars())
