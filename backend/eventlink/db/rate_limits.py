"""Token buckets that all processes share: one row a bucket, one upsert a question.

What does not live here: which buckets there are and how large (``services.rate_limits``).

A bucket fills by itself up to its capacity; whoever asks takes some tokens out, or is refused and
takes none. Where rows are locked by a longer transaction the others wait for its end, so ask in a
transaction of its own: one rolled back would also give the tokens back.
"""

from sqlalchemy import Connection

TAKE = """
INSERT INTO rate_limits AS held (bucket, tokens, updated_at)
SELECT %(bucket)s, %(capacity)s::float8 - %(cost)s::float8, clock_timestamp()
 WHERE %(cost)s::float8 <= %(capacity)s::float8
    ON CONFLICT (bucket) DO UPDATE
   SET tokens = least(%(capacity)s::float8, held.tokens + %(per_second)s::float8
                      * greatest(0, extract(epoch FROM clock_timestamp() - held.updated_at)))
                - %(cost)s::float8,
       updated_at = clock_timestamp()
 WHERE least(%(capacity)s::float8, held.tokens + %(per_second)s::float8
             * greatest(0, extract(epoch FROM clock_timestamp() - held.updated_at)))
       >= %(cost)s::float8
RETURNING true
"""
"""Gives a row if the tokens were there. For psycopg; needs ``parameters``."""

FORGET = """
DELETE FROM rate_limits
 WHERE bucket IN (SELECT bucket FROM rate_limits
                   WHERE updated_at < now() - interval '1 day' LIMIT 10000
                     FOR UPDATE SKIP LOCKED)
"""
"""Deletes buckets that nobody asked for a day, which are full again; waits for nobody."""


def parameters(
    bucket: str, capacity: float, per_second: float, cost: float = 1
) -> dict[str, str | float]:
    """Name the parameters of ``TAKE``.

    Args:
        bucket: Who asks for what, for example ``login:192.0.2.7``.
        capacity: Tokens in a full bucket, which is what a new one is.
        per_second: Tokens that it gains.
        cost: Tokens wanted.
    """
    return {"bucket": bucket, "capacity": capacity, "per_second": per_second, "cost": cost}


def allow(
    conn: Connection, bucket: str, capacity: float, per_second: float, cost: float = 1
) -> bool:
    """Take tokens out of a bucket, and tell whether they were there.

    Args:
        conn: Inside a short transaction of its own.
        bucket: Who asks for what, for example ``login:192.0.2.7``.
        capacity: Tokens in a full bucket, which is what a new one is.
        per_second: Tokens that it gains.
        cost: Tokens wanted.
    """
    asked = parameters(bucket, capacity, per_second, cost)
    return conn.exec_driver_sql(TAKE, asked).first() is not None
