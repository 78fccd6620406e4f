"""What users say they like and never want: tags and organizers; and all that is stored of a user.

What does not live here: who they are (``db.accounts``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Connection, text

IS_ORGANIZER = "(role <> 'student' OR EXISTS (SELECT FROM events WHERE owner_id = users.id))"
"""Whether a row of ``users`` is an organizer: by role, or by having held something."""


@dataclass(frozen=True)
class Tag:
    """A topic."""

    id: int
    name: str


@dataclass(frozen=True)
class NamedOrganizer:
    """Whoever holds an event."""

    id: int
    name: str | None


class Liking(Enum):
    """A list that a user keeps, of tags or of organizers."""

    INTEREST = "user_interest_tags"
    HIDDEN = "user_hidden_tags"
    FOLLOWED = "user_followed_organizers"
    BLOCKED = "user_blocked_organizers"

    @property
    def of_tags(self) -> bool:
        """Whether it lists tags, and not organizers."""
        return self in {Liking.INTEREST, Liking.HIDDEN}

    @property
    def column(self) -> str:
        """The column that says what is liked or not."""
        return "tag_id" if self.of_tags else "organizer_id"

    @property
    def opposite(self) -> "Liking":
        """The list that what is on this one cannot be on."""
        return OPPOSITES[self]


OPPOSITES = {
    Liking.INTEREST: Liking.HIDDEN,
    Liking.HIDDEN: Liking.INTEREST,
    Liking.FOLLOWED: Liking.BLOCKED,
    Liking.BLOCKED: Liking.FOLLOWED,
}

PERSONAL = {
    "profile": """
        SELECT id, email, full_name, role, city, lat, lon, language, is_active, created_at
          FROM users WHERE id = :user_id
    """,
    "interest_tags": """
        SELECT listed.tag_id, tags.name, listed.created_at
          FROM user_interest_tags AS listed JOIN tags ON tags.id = listed.tag_id
         WHERE listed.user_id = :user_id ORDER BY listed.tag_id
    """,
    "hidden_tags": """
        SELECT listed.tag_id, tags.name, listed.created_at
          FROM user_hidden_tags AS listed JOIN tags ON tags.id = listed.tag_id
         WHERE listed.user_id = :user_id ORDER BY listed.tag_id
    """,
    "followed_organizers": """
        SELECT organizer_id, created_at FROM user_followed_organizers
         WHERE user_id = :user_id ORDER BY organizer_id
    """,
    "blocked_organizers": """
        SELECT organizer_id, created_at FROM user_blocked_organizers
         WHERE user_id = :user_id ORDER BY organizer_id
    """,
    "registrations": """
        SELECT event_id, registered_at, unregistered_at, attended FROM registrations
         WHERE user_id = :user_id ORDER BY id
    """,
    "favorites": """
        SELECT event_id, created_at FROM favorite_events
         WHERE user_id = :user_id ORDER BY event_id
    """,
    "interactions": """
        SELECT event_id, interaction_type, occurred_at, position, request_id, dwell_seconds, meta,
               source, model_version, experiment, arm
          FROM event_interactions WHERE user_id = :user_id ORDER BY id
    """,
    "recommendations": """
        SELECT event_id, score, rank, reason, model_version, generated_at
          FROM user_recommendations WHERE user_id = :user_id ORDER BY rank
    """,
    "events": """
        SELECT id, title, description, category, city, venue, lat, lon, start_time, end_time,
               max_seats, status, publish_at, created_at, updated_at, deleted_at
          FROM events WHERE owner_id = :user_id ORDER BY id
    """,
}
"""All that is stored of a user, by what it is."""


def liked_tags(conn: Connection, user_id: int, liking: Liking) -> list[Tag]:
    """Return the tags on one of a user's lists, by name."""
    found = conn.execute(
        text(
            f"SELECT tags.id, tags.name FROM {liking.value} AS listed"
            " JOIN tags ON tags.id = listed.tag_id"
            " WHERE listed.user_id = :user_id ORDER BY tags.name"
        ),
        {"user_id": user_id},
    )
    return [Tag(*row) for row in found]


def liked_organizers(conn: Connection, user_id: int, liking: Liking) -> list[NamedOrganizer]:
    """Return the organizers on one of a user's lists, by name."""
    found = conn.execute(
        text(
            f"SELECT users.id, users.full_name FROM {liking.value} AS listed"
            " JOIN users ON users.id = listed.organizer_id"
            " WHERE listed.user_id = :user_id ORDER BY users.full_name, users.id"
        ),
        {"user_id": user_id},
    )
    return [NamedOrganizer(*row) for row in found]


def lock_lists(conn: Connection, user_id: int) -> None:
    """Keep others from changing a user's lists until the commit."""
    conn.execute(
        text("SELECT FROM users WHERE id = :user_id FOR NO KEY UPDATE"), {"user_id": user_id}
    )


def existing(conn: Connection, liking: Liking, ids: Sequence[int]) -> list[int]:
    """Return those of some ids that a list may hold, locked so that they stay until the commit."""
    condition = "true" if liking.of_tags else f"is_active AND {IS_ORGANIZER}"
    table = "tags" if liking.of_tags else "users"
    found = conn.execute(
        text(
            f"SELECT id FROM {table} WHERE id = ANY(:ids) AND {condition} ORDER BY id FOR KEY SHARE"
        ),
        {"ids": list(ids)},
    )
    return list(found.scalars())


def add(conn: Connection, user_id: int, liking: Liking, ids: Sequence[int]) -> None:
    """Put existing things on a user's list; those on it stay as they are."""
    conn.execute(
        text(
            f"INSERT INTO {liking.value} (user_id, {liking.column})"
            " SELECT :user_id, unnest(CAST(:ids AS bigint[])) ON CONFLICT DO NOTHING"
        ),
        {"user_id": user_id, "ids": list(ids)},
    )


def remove(conn: Connection, user_id: int, liking: Liking, ids: Sequence[int]) -> None:
    """Take things off a user's list."""
    conn.execute(
        text(
            f"DELETE FROM {liking.value} WHERE user_id = :user_id AND {liking.column} = ANY(:ids)"
        ),
        {"user_id": user_id, "ids": list(ids)},
    )


def keep(conn: Connection, user_id: int, liking: Liking, ids: Sequence[int]) -> None:
    """Take everything else off a user's list."""
    conn.execute(
        text(
            f"DELETE FROM {liking.value}"
            f" WHERE user_id = :user_id AND {liking.column} <> ALL(CAST(:ids AS bigint[]))"
        ),
        {"user_id": user_id, "ids": list(ids)},
    )


def length(conn: Connection, user_id: int, liking: Liking) -> int:
    """Count the things on a user's list."""
    counted: int = conn.execute(
        text(f"SELECT count(*) FROM {liking.value} WHERE user_id = :user_id"), {"user_id": user_id}
    ).scalar_one()
    return counted


def personal_data(conn: Connection, user_id: int) -> dict[str, list[dict[str, Any]]]:
    """Return all that is stored of a user, by what it is, as JSON; secrets left out."""
    return {
        name: conn.execute(
            text(f"SELECT coalesce(jsonb_agg(to_jsonb(row)), '[]') FROM ({query}) AS row"),
            {"user_id": user_id},
        ).scalar_one()
        for name, query in PERSONAL.items()
    }
