"""How the recommender does: figures of the whole, for administrators and for monitoring.

What does not live here: the queue's own figures (``db.jobs``) and what serves (``db.serving``).
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

import psycopg
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from eventlink.db.accounts import RANKABLE
from eventlink.db.session import alembic_config, libpq_url

# Rows of the overlay that a later generation hides are not served.
CACHE = text(
    """
    SELECT made.generated_at, made.user_count,
           (SELECT count(*) FROM recommendation_overlay AS later
             WHERE made.generated_at IS NULL OR later.generated_at >= made.generated_at)
      FROM (SELECT 1) AS always
      LEFT JOIN (recommendation_serving JOIN recommendation_generations AS made
                 USING (generation)) ON true
    """
)

# The plan must see one partition: the generation's number is a parameter and not a join.
COVERAGE = text(
    f"""
    SELECT count(*),
           count(*) FILTER (WHERE list.user_id IS NOT NULL OR later.user_id IS NOT NULL),
           count(*) FILTER (WHERE list.user_id IS NOT NULL AND :generated_at > :fresh_after
                               OR later.generated_at > :fresh_after)
      FROM users AS student
      LEFT JOIN (SELECT user_id FROM recommendation_lists WHERE generation = :generation) AS list
             ON list.user_id = student.id
      LEFT JOIN recommendation_overlay AS later ON later.user_id = student.id
     WHERE {RANKABLE}
    """
)

MARKS = text(
    """
    SELECT count(*), min(due_at), count(*) FILTER (WHERE due_at <= now()),
           greatest(extract(epoch FROM now() - min(due_at)), 0)::float8
      FROM recommendation_refreshes WHERE due_at IS NOT NULL
    """
)


@dataclass(frozen=True)
class Cache:
    """The stored rankings."""

    generated_at: datetime | None
    """When what the serving generation knows was read; None before the first recompute."""
    lists: int
    """Users whom that generation ranked."""
    refreshed_lists: int
    """Users whose ranking was refreshed since."""


@dataclass(frozen=True)
class Coverage:
    """Who would be served a stored ranking."""

    active_students: int
    with_list: int
    with_fresh_list: int


@dataclass(frozen=True)
class Marks:
    """Users who wait for a refresh."""

    waiting: int
    oldest_due_at: datetime | None
    due: int
    """Those whose time has come."""
    lag_seconds: float
    """How late the oldest is; 0 if none is."""


def cache_figures(conn: Connection) -> Cache:
    """Return the figures of the stored rankings, without counting a row a user."""
    generated_at, lists, refreshed = conn.execute(CACHE).one()
    return Cache(generated_at, lists or 0, refreshed)


def coverage(
    conn: Connection, generation: int | None, generated_at: datetime | None, fresh_after: datetime
) -> Coverage:
    """Count who would be served a stored ranking; takes a second for a million users.

    Args:
        conn: Inside a transaction.
        generation: The one that serves.
        generated_at: When it was made.
        fresh_after: What was made then or before is stale.
    """
    values = {
        "generation": -1 if generation is None else generation,
        "generated_at": generated_at or datetime.min.replace(tzinfo=fresh_after.tzinfo),
        "fresh_after": fresh_after,
    }
    return Coverage(*conn.execute(COVERAGE, values).one())


def refresh_marks(conn: Connection) -> Marks:
    """Return how many users wait for a refresh, and for how long."""
    count, oldest, due, lag = conn.execute(MARKS).one()
    return Marks(count, oldest, due, lag or 0.0)


@cache
def wanted_migration() -> str:
    """Return the migration that this version's tables are at."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None  # noqa: S101 (there are migrations)
    return head


async def current_migration() -> str | None:
    """Ask the database, on a connection of its own, at which migration it is.

    A pool's connection would have to be waited for when all are busy, which is no reason to be
    taken for dead.

    Returns:
        None if it was never migrated.

    Raises:
        psycopg.Error: It does not answer.
    """
    async with await psycopg.AsyncConnection.connect(
        libpq_url(),
        autocommit=True,
        application_name="eventlink readiness",
        connect_timeout=2,
        tcp_user_timeout=5000,  # milliseconds; a server that vanished is not waited for
    ) as conn:
        try:
            row = await (await conn.execute("SELECT version_num FROM alembic_version")).fetchone()
        except psycopg.errors.UndefinedTable:
            return None
        return None if row is None else str(row[0])
