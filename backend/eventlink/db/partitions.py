"""A generation's partition: made, shown to readers and dropped without anybody noticing.

What does not live here: what is written into it (``db.recommendations``).
"""

import time

import structlog
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from eventlink.errors import PublishRefusedError

log = structlog.get_logger()

LOCK_TIMEOUT = "2s"
LOCK_ATTEMPTS = 30
LONGEST_READ = 5.0
"""Seconds that publishing waits for those who were reading when a generation was attached."""

PARTITION_PREFIX = "recommendation_lists_g"
PARTITIONS = text(
    "SELECT relname, inhparent IS NOT NULL, coalesce(inhdetachpending, false)"
    "  FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid"
    f" WHERE relkind = 'r' AND relname ~ '^{PARTITION_PREFIX}[0-9]+(_shards)?$'"
    "   AND pg_table_is_visible(pg_class.oid)"
    " ORDER BY inhdetachpending DESC NULLS LAST, pg_class.oid"
)
"""Names of partitions, and of the tables of shards that a killed recompute left; whether attached,
and whether a DETACH was begun and not ended. Such a one comes first: no other can be detached
before."""

READERS = text(
    "SELECT virtualtransaction FROM pg_locks"
    " WHERE relation = 'recommendation_lists'::regclass AND granted AND pid <> pg_backend_pid()"
    "   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Who has the rankings locked: everybody who plans a statement on them or runs it."""

FORGET_CACHED = text(
    "ALTER TABLE ONLY recommendation_lists ALTER COLUMN generation SET STATISTICS -1"
)
"""Changes nothing, and has every session read anew what it cached of the table."""


def partition_of(generation: int) -> str:
    """Name the partition of a generation."""
    return f"{PARTITION_PREFIX}{generation}"


def shards_of(generation: int) -> str:
    """Name the table of the shards that are filled; dropped with the generation."""
    return f"{partition_of(generation)}_shards"


def create(conn: Connection, generation: int) -> None:
    """Make the table of a generation, which is no partition yet.

    Args:
        conn: Inside a transaction.
        generation: Its number.
    """
    partition = partition_of(generation)
    conn.execute(
        text(
            f"CREATE TABLE {partition} (LIKE recommendation_lists INCLUDING DEFAULTS,"
            f" CONSTRAINT {partition}_generation CHECK (generation = {generation}))"
        )
    )


def attach(conn: Connection, generation: int) -> None:
    """Attach a partition, and drop from it whoever was erased while it was made.

    The lock is one that readers do not notice and that whoever deletes users waits for. So a
    deletion either is seen by our DELETE, or its trigger sees the partition.

    Args:
        conn: Inside the transaction in which it was filled.
        generation: Its number.

    Raises:
        PublishRefusedError: Somebody keeps the table locked.
    """
    _lock(conn, "SHARE ROW EXCLUSIVE")
    partition = partition_of(generation)
    conn.execute(
        text(
            f"ALTER TABLE recommendation_lists ATTACH PARTITION {partition}"
            f" FOR VALUES IN ({generation})"
        )
    )
    conn.execute(
        text(
            f"DELETE FROM {partition} AS list"
            " WHERE NOT EXISTS (SELECT FROM users WHERE users.id = list.user_id)"
        )
    )


def _lock(conn: Connection, mode: str) -> None:
    """Lock in short pieces of waiting, because whoever comes later waits behind us."""
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            with conn.begin_nested():
                conn.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
                conn.execute(text(f"LOCK TABLE ONLY recommendation_lists IN {mode} MODE"))
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
            log.info("waiting for a lock on recommendation_lists", attempt=attempt)
            time.sleep(0.5)
        else:
            return
    raise PublishRefusedError(
        "somebody keeps recommendation_lists locked; nothing was published; find the session with"
        " SELECT pg_blocking_pids(pid), * FROM pg_stat_activity, end it, and run again"
    )


def await_readers(conn: Connection) -> None:
    """Wait until whoever reads looks into a partition that was just attached.

    A statement is planned first and takes its snapshot after. One planned before the attaching
    that takes its snapshot after the flip would look for the new generation in the old partitions
    and find an empty ranking. It holds its lock all the while, so it can be waited for.

    That is not enough. A session caches the list of partitions, and if the attaching is announced
    while it is reading that list, it caches the list it has read all the same, and goes by it until
    the next announcement. So once all who may have read the old list are done, another one is made,
    and whoever planned by a cached list is waited for in turn.

    Args:
        conn: Outside a transaction, after the attaching was committed.

    Raises:
        PublishRefusedError: Somebody keeps the table locked.
    """
    _await_current_readers(conn)
    with conn.begin():
        _lock(conn, "SHARE UPDATE EXCLUSIVE")
        conn.execute(FORGET_CACHED)
    _await_current_readers(conn)


def _await_current_readers(conn: Connection) -> None:
    deadline = time.monotonic() + LONGEST_READ
    with conn.begin():
        older = set(conn.execute(READERS).scalars())
        while older and time.monotonic() < deadline:
            time.sleep(0.002)
            older &= set(conn.execute(READERS).scalars())


def drop_others(conn: Connection, kept: list[int]) -> list[int]:
    """Drop the tables of all generations but some.

    Args:
        conn: In autocommit, which DETACH CONCURRENTLY needs.
        kept: Numbers of generations.

    Returns:
        Numbers of those that somebody reads for so long that they stay until the next time.
    """
    read: list[int] = []
    conn.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    for table, attached, pending in conn.execute(PARTITIONS).all():
        generation = int(table.removeprefix(PARTITION_PREFIX).removesuffix("_shards"))
        if generation in (*kept, *read):
            continue
        try:
            if attached:
                how = "FINALIZE" if pending else "CONCURRENTLY"
                conn.execute(
                    text(f"ALTER TABLE recommendation_lists DETACH PARTITION {table} {how}")
                )
            conn.execute(text(f"DROP TABLE {table}"))
        except OperationalError as error:
            log.warning("an old generation is still read", table=table, error=str(error.orig))
            read.append(generation)
    conn.execute(text("RESET lock_timeout"))
    return read
