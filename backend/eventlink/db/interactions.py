"""Storing interactions, one statement a batch, which judges each; and forgetting old ones.

What does not live here: what can be judged without the database (``services.interactions``).
"""

from datetime import datetime

from sqlalchemy import Connection, func, select, text

FORGET_LOCK = 0x45564647  # "EVFG"

COLUMNS = """number integer, user_id bigint, type text, event_id bigint, occurred_at timestamptz,
request_id text, position smallint, dwell_seconds real, client_id text, meta jsonb, source text,
model_id bigint, experiment text, arm text"""

# Whoever has no token and speaks for a user may not know whether that user is still there. Somebody
# else's draft is as unknown as an event that does not exist. Rows are written in the order of their
# client ids, as everybody writes them who might wait for one of them.
STORE = f"""
WITH actor AS MATERIALIZED (
    SELECT id FROM users
     WHERE id = %(user_id)s AND is_active AND token_version = %(token_version)s
), sent AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(interactions)s) AS sent ({COLUMNS})
), judged AS MATERIALIZED (
    SELECT sent.*, model.model_version, CASE
           WHEN %(user_id)s IS NULL AND sent.user_id IS NOT NULL AND NOT EXISTS (
                SELECT FROM users WHERE id = sent.user_id AND is_active)
                THEN 'stale_request_id'
           WHEN earlier.user_id <> sent.user_id
                OR earlier.user_id IS NOT NULL AND sent.user_id IS NULL THEN 'client_id_taken'
           WHEN sent.type = 'register' AND NOT EXISTS (
                SELECT FROM registrations AS r WHERE r.event_id = sent.event_id
                   AND r.user_id = %(user_id)s AND r.unregistered_at IS NULL)
                THEN 'not_registered'
           WHEN sent.type = 'unregister' AND NOT EXISTS (
                SELECT FROM registrations AS r
                 WHERE r.event_id = sent.event_id AND r.user_id = %(user_id)s
                HAVING bool_and(r.unregistered_at IS NOT NULL))
                THEN 'not_unregistered'
           WHEN sent.type = 'favorite' AND NOT EXISTS (
                SELECT FROM favorite_events AS f
                 WHERE f.event_id = sent.event_id AND f.user_id = %(user_id)s)
                THEN 'not_favorite'
           WHEN sent.type NOT IN ('register', 'unregister', 'favorite')
                AND sent.event_id IS NOT NULL AND (
                    event.id IS NULL OR (event.owner_id = %(user_id)s) IS NOT TRUE AND (
                        event.status <> 'published' OR event.deleted_at IS NOT NULL
                        OR event.publish_at > %(now)s))
                THEN 'unknown_event'
           END AS refusal
      FROM sent
      LEFT JOIN events AS event ON event.id = sent.event_id
      LEFT JOIN recommender_models AS model ON model.id = sent.model_id
      LEFT JOIN event_interactions AS earlier ON earlier.client_id = sent.client_id
), kept AS (
    INSERT INTO event_interactions (user_id, event_id, interaction_type, occurred_at, position,
        request_id, dwell_seconds, client_id, meta, source, model_version,
        experiment, arm)
    SELECT user_id, event_id, type, occurred_at, position, request_id, dwell_seconds, client_id,
           meta, source, model_version, experiment, arm
      FROM judged
     WHERE refusal IS NULL AND (%(user_id)s IS NULL OR EXISTS (SELECT FROM actor))
     ORDER BY client_id, number
        ON CONFLICT (client_id) WHERE client_id IS NOT NULL DO NOTHING
    RETURNING interaction_type, dwell_seconds
)
SELECT EXISTS (SELECT FROM actor) AS is_valid, (SELECT count(*) FROM kept) AS accepted,
       EXISTS (SELECT FROM kept
                WHERE interaction_type = ANY (%(meaningful)s)
                   OR interaction_type = 'dwell' AND dwell_seconds >= %(long_dwell)s) AS matters,
       (SELECT coalesce(json_agg(json_build_array(number, refusal) ORDER BY number), '[]')
          FROM judged WHERE refusal IS NOT NULL) AS refused
"""
"""Judges and stores a batch, for psycopg; nothing is stored for a user who is not valid.

``user_id`` is whose token came; null if none did. ``interactions`` is a JSON array of objects with
the names of ``COLUMNS``, of which ``number`` names one in ``refused``. Each has a ``user_id``: the
same; or without a token null, or that of the list whose ``request_id`` it carries. What is neither
refused nor counted in ``accepted`` was there already.
"""
STORE = " ".join(STORE.split())

# All are looked at, in the order of the key: what an import brought is older than its neighbours.
# What somebody else deletes just now is not waited for, lest they wait for us as well.
FORGET = text(
    """
    WITH batch AS MATERIALIZED (
        SELECT id, occurred_at FROM event_interactions
         WHERE id > :after ORDER BY id LIMIT :size
    ), old AS MATERIALIZED (
        SELECT id FROM event_interactions
         WHERE id IN (SELECT id FROM batch WHERE occurred_at < :before)
           FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM event_interactions WHERE id IN (SELECT id FROM old) RETURNING id
    )
    SELECT max(id), (SELECT count(*) FROM gone) FROM batch
    """
)


def may_forget(conn: Connection) -> bool:
    """Tell whether no other worker deletes old interactions now.

    Args:
        conn: Inside a transaction; others may not until it ends.
    """
    mine: bool = conn.execute(select(func.pg_try_advisory_xact_lock(FORGET_LOCK))).scalar_one()
    return mine


def forget(
    conn: Connection, before: datetime, after: int | None, size: int
) -> tuple[int | None, int]:
    """Look at a batch of interactions, and delete the old ones among them.

    Args:
        conn: Inside a transaction.
        before: Since when they are kept.
        after: The last id of the batch before; None for the first one.
        size: At most so many are looked at.

    Returns:
        The last id, None where no more are there; and how many were deleted.
    """
    smallest = -(2**63)
    asked = {"before": before, "after": smallest if after is None else after, "size": size}
    last, deleted = conn.execute(FORGET, asked).one()
    return last, deleted
