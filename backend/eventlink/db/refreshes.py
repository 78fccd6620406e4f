"""Refresh marks: whose ranking is due, who is at it, and how often it has failed.

What does not live here: the ranking (``services.refresh``) and what is reason for a mark.

There is a row a user. A mark raises its sequence and says when it is due; a claim leases it, in a
transaction of its own, so that whoever marks never waits for a ranking; a clearing takes back only
the marks that the claim has seen. Whoever dies with a claim loses it when the lease is over. All
instants are the server's, also the one that a claim's ranking is dated by, so that the clocks of
web and workers need not agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import args_row
from sqlalchemy import Connection, text

from eventlink.db.session import driver

LEASE_SECONDS = 30
MOST_ATTEMPTS = 5
"""A user whose refresh fails so often in a row is left alone until the next mark."""
FIRST_BACKOFF_SECONDS = 2
"""Waited after a failure; doubled with each one."""

# While a refresh is under way another one is due an interval later; one that has failed waits.
MARK = """
INSERT INTO recommendation_refreshes AS held (user_id, sequence, due_at)
VALUES (%(user_id)s, 1, now())
    ON CONFLICT (user_id) DO UPDATE
   SET sequence = held.sequence + 1,
       due_at = CASE
           WHEN held.claimed_until > now() THEN now() + make_interval(secs => %(min_interval)s)
           WHEN held.attempts > 0 THEN coalesce(held.due_at, now())
           ELSE least(held.due_at,
                      greatest(now(), held.refreshed_at + make_interval(secs => %(min_interval)s)))
       END
RETURNING due_at
"""
"""For psycopg, with the parameters ``user_id`` and ``min_interval`` (seconds); gives ``due_at``."""

# Who acted while the new model ranked has a later ranking by the old one, which goes on serving.
# Who is being erased is left out, and not waited for.
MARK_OVERTAKEN = text(
    """
    INSERT INTO recommendation_refreshes AS held (user_id, sequence, due_at)
    SELECT later.user_id, 1, now()
      FROM recommendation_serving
      JOIN recommendation_generations AS made USING (generation)
      JOIN recommendation_overlay AS later
        ON later.generated_at >= made.generated_at AND later.model_version <> made.model_version
      JOIN users ON users.id = later.user_id
     ORDER BY later.user_id
       FOR KEY SHARE OF users SKIP LOCKED
        ON CONFLICT (user_id) DO UPDATE
       SET sequence = held.sequence + 1, due_at = least(held.due_at, now())
    """
)

DUE = """
    SELECT user_id FROM recommendation_refreshes
     WHERE due_at <= now() AND coalesce(claimed_until <= now(), true) AND attempts {attempts}
     ORDER BY due_at LIMIT {limit} FOR UPDATE SKIP LOCKED
"""
# Materialized, for a plan that looks twice at what is due would lease more than it is asked for.
# now() may be earlier than a claim of another worker that was over before this one came to the
# row; the clock is read with the row locked.
CLAIM = f"""
WITH due AS MATERIALIZED (
    SELECT * FROM ({DUE.format(attempts="= 0", limit="%s")}) AS fresh
     UNION ALL
    SELECT * FROM ({DUE.format(attempts="> 0", limit="1")}) AS failed)
UPDATE recommendation_refreshes AS held
   SET claimed_until = now() + make_interval(secs => {LEASE_SECONDS}),
       due_at = now() + make_interval(secs => {LEASE_SECONDS}),
       attempts = held.attempts + 1
  FROM due
 WHERE held.user_id = due.user_id
RETURNING held.user_id, held.sequence, held.attempts, clock_timestamp()
"""

# In the order of the users, as everybody who locks several of these rows.
HELD = """
    WITH claimed AS (
        SELECT held.user_id, held.sequence = claim.sequence AS unchanged
          FROM recommendation_refreshes AS held
          JOIN unnest(CAST(:users AS bigint[]), CAST(:sequences AS bigint[]))
               AS claim (user_id, sequence) USING (user_id)
         ORDER BY held.user_id FOR UPDATE OF held)
"""

CLEAR = text(
    f"""{HELD}
    UPDATE recommendation_refreshes AS held
       SET due_at = CASE WHEN claimed.unchanged THEN NULL ELSE held.due_at END,
           claimed_until = NULL, refreshed_at = now(), attempts = 0
      FROM claimed WHERE held.user_id = claimed.user_id
    """
)

# Who is given up keeps one attempt: the next mark is tried apart from the others.
FAIL = text(
    f"""{HELD}
    UPDATE recommendation_refreshes AS held
       SET due_at = CASE WHEN held.attempts < {MOST_ATTEMPTS} THEN
               now() + make_interval(secs => {FIRST_BACKOFF_SECONDS} * 2 ^ (held.attempts - 1)) END,
           attempts = CASE WHEN held.attempts < {MOST_ATTEMPTS} THEN held.attempts ELSE 1 END,
           claimed_until = NULL
      FROM claimed WHERE held.user_id = claimed.user_id
    RETURNING held.user_id
    """
)


# An event that was written long before it was committed is seen by the count. Asked before every
# batch, it must not count all that an import has just brought.
STATE = text(
    """
    SELECT (SELECT model_version FROM recommender_models WHERE is_active),
           (SELECT generation FROM recommendation_serving),
           count(*), max(updated_at)
      FROM (SELECT updated_at FROM events WHERE updated_at > :since - interval '10 minutes'
             ORDER BY updated_at DESC LIMIT 1000) AS edited
    """
)


@dataclass(frozen=True)
class State:
    """What a refresh hangs on beside the user; equal where nothing of it has changed."""

    model_version: str | None
    generation: int | None
    edits: int
    """Events changed lately."""
    last_edit: datetime | None

    @property
    def served(self) -> tuple[str | None, int | None]:
        """The active model, and the generation that refreshed rankings are laid over."""
        return self.model_version, self.generation


def state(conn: Connection, since: datetime) -> State:
    """Return the state of model, generation and event catalogue.

    Args:
        conn: An open connection.
        since: States are comparable if this is the same.
    """
    return State(*conn.execute(STATE, {"since": since}).one())


@dataclass(frozen=True)
class Claim:
    """A mark that this process works on."""

    user_id: int
    sequence: int
    """That of the last mark it has seen."""
    attempts: int
    """This one counted."""
    at: datetime
    """When it was made: after every earlier claim of this user, before anything is read for it."""


def mark_for_refresh(conn: Connection, user_id: int, min_interval: float) -> datetime:
    """Mark a user's ranking for a refresh.

    Args:
        conn: Inside the transaction of what the user did.
        user_id: Whose.
        min_interval: Seconds from one refresh of the user to the next.

    Returns:
        When the refresh is due.
    """
    asked = {"user_id": user_id, "min_interval": min_interval}
    due_at: datetime = conn.exec_driver_sql(MARK, asked).scalar_one()
    return due_at


def mark_overtaken(conn: Connection) -> None:
    """Mark everybody who has a ranking that is later than the generation, but by another model.

    New events enter only what the active model has ranked.

    Args:
        conn: Inside the transaction that makes the generation serve, its model active by now.
    """
    conn.execute(MARK_OVERTAKEN)


def claim_due(conn: Connection, size: int) -> list[Claim]:
    """Lease the marks that are due for the longest time.

    Args:
        conn: Inside a short transaction of its own; it may be ``pipelined``.
        size: The most to lease of those never tried; of those that failed before or whose lease
            ran out, one is leased beside them.
    """
    with driver(conn).cursor(row_factory=args_row(Claim)) as cursor:
        return cursor.execute(CLAIM, (size,)).fetchall()


def commit_soon(conn: Connection) -> None:
    """Let the transaction's commit not wait for the disk: lost in a crash, it is done again.

    Args:
        conn: Inside a transaction that only claims, or publishes a refresh and clears its marks.
    """
    conn.execute(text("SET LOCAL synchronous_commit = off"))


def clear(conn: Connection, claims: Sequence[Claim]) -> None:
    """Take back marks that were claimed; one made meanwhile stays due.

    Args:
        conn: Inside the transaction that writes the rankings.
        claims: What was refreshed, or need not be.
    """
    conn.execute(CLEAR, _parameters(claims))


def fail(conn: Connection, claims: Sequence[Claim]) -> None:
    """Put claims back that could not be refreshed, to be tried later; at last give them up.

    Args:
        conn: Inside a transaction.
        claims: What failed.
    """
    conn.execute(FAIL, _parameters(claims))


def _parameters(claims: Sequence[Claim]) -> dict[str, list[int]]:
    return {
        "users": [claim.user_id for claim in claims],
        "sequences": [claim.sequence for claim in claims],
    }
