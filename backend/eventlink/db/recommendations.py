"""Publishing rankings: a new generation beside the serving one, then one pointer flipped.

What does not live here: how rankings are made (``recsys.ranking``) and when (``services``), and how
a partition appears and goes without being noticed (``db.partitions``).

A generation is a partition of ``recommendation_lists``: made, filled by COPY FREEZE and attached in
one transaction, pointed at in the next. A reader sees the old generation or the new one and nothing
between. Killed anywhere, the old one goes on serving; ``clean_up`` removes the remains.

Where several machines rank, the table is made first, each shard is filled in a transaction of its
own, and then all is checked and attached as before. A partition of partitions, one a shard, would
cost every reader: with 16 of them a stored list takes 0.9 ms to select, and 0.3 ms without.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select, text

from eventlink.db.accounts import RANKABLE
from eventlink.db.binary_copy import HEADER, TRAILER, encode_lists
from eventlink.db.keys import Ids, Keys
from eventlink.db.partitions import (
    attach,
    await_readers,
    create,
    drop_others,
    partition_of,
    shards_of,
)
from eventlink.db.session import NO_TIMEOUTS, USUAL_TIMEOUTS, autocommit, driver
from eventlink.db.tables import (
    RecommendationGeneration,
    RecommendationOverlay,
    RecommendationServing,
)
from eventlink.errors import PublishRefusedError, RecomputeRunningError
from eventlink.recsys.dataset import Ints
from eventlink.recsys.ranking import Rankings
from eventlink.recsys.reasons import CODES

RECOMPUTE_LOCK = 0x45564C4B  # "EVLK"
KEEPALIVES = text(
    "SELECT set_config('tcp_keepalives_idle', '30', false),"
    " set_config('tcp_keepalives_interval', '10', false),"
    " set_config('tcp_keepalives_count', '3', false)"
)
"""A machine that dies says no goodbye; the server notices after a minute, and not after hours."""
LEAST_SHARE = 0.98
"""A generation that has less than this share of the users served now is not published."""


@dataclass(frozen=True)
class Lists:
    """Rankings with the indices turned into ids, as a generation stores them."""

    rankings: Rankings
    columns: Ints
    """``Snapshot.columns``."""
    keys: Keys


@contextmanager
def recompute_lock(conn: Connection) -> Iterator[None]:
    """Hold the lock that lets one recompute run at a time; the server frees it if we die.

    Args:
        conn: A connection outside a transaction; it holds the lock.

    Raises:
        RecomputeRunningError: Another process holds it.
    """
    taken = conn.execute(select(func.pg_try_advisory_lock(RECOMPUTE_LOCK))).scalar_one()
    conn.commit()
    if not taken:
        raise RecomputeRunningError(
            "another recompute, or an import that replaces everything, is running on this"
            " database; wait for it to end"
        )
    # Set for requests, they would end a COPY that lasts as long as the ranking, or this
    # connection, which only holds the lock while the model is trained.
    conn.execute(NO_TIMEOUTS)
    conn.execute(KEEPALIVES)
    conn.commit()
    try:
        yield
    finally:
        if not (conn.invalidated or driver(conn).closed):  # else the server has freed the lock
            conn.rollback()
            conn.execute(USUAL_TIMEOUTS)
            conn.execute(select(func.pg_advisory_unlock(RECOMPUTE_LOCK)))
            conn.commit()


def keep_recomputes_out(conn: Connection) -> None:
    """Let none begin until the transaction ends: what it reads would not be what it ranks.

    Raises:
        RecomputeRunningError: One is running.
    """
    if not conn.execute(select(func.pg_try_advisory_xact_lock(RECOMPUTE_LOCK))).scalar_one():
        raise RecomputeRunningError(
            "a recompute is running on this database, and would publish rankings of what is"
            " replaced; wait for it to end"
        )


def build_generation(
    conn: Connection,
    model_version: str,
    generated_at: datetime,
    lists: Iterable[Lists],
    meta: dict[str, Any] | None = None,
) -> int:
    """Write a generation into a partition of its own that nobody points at yet, and check it.

    Args:
        conn: Outside a transaction; one is made and committed.
        model_version: What made the rankings.
        generated_at: When what they know was read.
        lists: Blocks of rankings; consumed while the COPY goes on.
        meta: What is told of the rankings, for ``db.serving.generation_meta``.

    Returns:
        The generation's number. Every later statement of anybody sees its rows.

    Raises:
        PublishRefusedError: A score is not a number, too many users are missing, or somebody
            keeps the table locked.
    """
    with conn.begin():
        generation = _create(conn, model_version, generated_at, meta or {})
        _copy(conn, generation, lists, "FORMAT binary, FREEZE")
        _check_and_attach(conn, generation)
    await_readers(conn)
    return generation


def begin_generation(
    conn: Connection, model_version: str, generated_at: datetime, meta: dict[str, Any]
) -> int:
    """Make the table of a generation that several processes will fill, a shard at a time.

    Args:
        conn: Outside a transaction; one is made and committed.
        model_version: What made the rankings.
        generated_at: When what they know was read.
        meta: What is told of the rankings.

    Returns:
        The generation's number, for ``fill_shard`` and ``finish_generation``.
    """
    with conn.begin():
        generation = _create(conn, model_version, generated_at, meta)
        conn.execute(text(f"CREATE TABLE {shards_of(generation)} (shard integer PRIMARY KEY)"))
    return generation


def fill_shard(conn: Connection, generation: int, shard: int, lists: Iterable[Lists]) -> bool:
    """Write a shard's rankings, unless that was done before: all of them or none, and once.

    The shard's row in a table beside the generation is written first and committed with the
    rankings. Whoever does the same work again waits there for who began before: for the commit,
    after which there is nothing left to do, or for the server to notice that it is gone.

    Args:
        conn: Outside a transaction; one is made and committed.
        generation: Begun, and not yet finished.
        shard: Its number.
        lists: Blocks of rankings, consumed while the COPY goes on; left alone if there is nothing
            to do.

    Returns:
        Whether it was written now.

    Raises:
        PublishRefusedError: A score is not a number.
    """
    conn.execute(NO_TIMEOUTS)
    conn.execute(KEEPALIVES)
    conn.commit()
    with conn.begin():
        taken = conn.execute(
            text(f"INSERT INTO {shards_of(generation)} VALUES (:shard) ON CONFLICT DO NOTHING"),
            {"shard": shard},
        )
        if not taken.rowcount:
            return False
        _copy(conn, generation, lists, "FORMAT binary")
    return True


def finish_generation(conn: Connection, generation: int) -> int:
    """Check a generation whose shards are all filled, and show it to readers.

    Args:
        conn: Outside a transaction; one is made and committed.
        generation: Begun by ``begin_generation``.

    Returns:
        How many users it has. Every later statement of anybody sees its rows.

    Raises:
        PublishRefusedError: Too many users are missing, or somebody keeps the table locked.
    """
    with conn.begin():
        conn.execute(text(f"DROP TABLE {shards_of(generation)}"))
        count = _check_and_attach(conn, generation)
    await_readers(conn)
    return count


def _create(
    conn: Connection, model_version: str, generated_at: datetime, meta: dict[str, Any]
) -> int:
    generation = conn.execute(
        insert(RecommendationGeneration)
        .values(
            model_version=model_version,
            generated_at=generated_at,
            reason_names=list(CODES),
            meta=meta,
        )
        .returning(RecommendationGeneration.generation)
    ).scalar_one()
    create(conn, generation)
    return generation


def _copy(conn: Connection, generation: int, lists: Iterable[Lists], how: str) -> None:
    with (
        driver(conn).cursor() as cursor,
        cursor.copy(f"COPY {partition_of(generation)} FROM STDIN ({how})") as copy,
    ):
        copy.write(HEADER)
        for part in lists:
            copy.write(_encode(generation, part))
        copy.write(TRAILER)


def _check_and_attach(conn: Connection, generation: int) -> int:
    """Return how many users a filled generation has, once it may be pointed at."""
    partition = partition_of(generation)
    conn.execute(text(f"ALTER TABLE {partition} ADD PRIMARY KEY (generation, user_id)"))
    count: int = conn.execute(text(f"SELECT count(*) FROM {partition}")).scalar_one()
    _require_users(conn, partition, count)
    conn.execute(
        text("UPDATE recommendation_generations SET user_count = :n WHERE generation = :g"),
        {"n": count, "g": generation},
    )
    conn.execute(text(f"ANALYZE {partition}"))
    attach(conn, generation)
    return count


# A model may rank many times before it is found to do harm: what a rollback goes back to are the
# last rankings of another model, and the last ones where there are none.
SERVE = text(
    """
    INSERT INTO recommendation_serving AS was (only_row, generation) VALUES (true, :generation)
        ON CONFLICT (only_row) DO UPDATE
       SET generation = excluded.generation,
           previous_generation = (
               SELECT CASE WHEN new.model_version = made.model_version
                            AND before.model_version <> made.model_version
                           THEN before.generation ELSE made.generation END
                 FROM recommendation_generations AS made
                 JOIN recommendation_generations AS new ON new.generation = excluded.generation
                 LEFT JOIN recommendation_generations AS before
                        ON before.generation = was.previous_generation
                WHERE made.generation = was.generation)
    """
)


def serve_generation(conn: Connection, generation: int) -> None:
    """Point readers at a generation.

    Args:
        conn: Inside a transaction, which the caller commits: model and rankings change together.
        generation: Made by ``build_generation``.
    """
    conn.execute(SERVE, {"generation": generation})


def clean_up() -> None:
    """Drop every generation that neither serves nor is kept for a rollback, and hidden refreshes.

    Also what a killed recompute left behind. To be called with the recompute lock held. A table
    that somebody reads for long is left for the next time.
    """
    with autocommit() as conn:
        serving = conn.execute(
            select(RecommendationServing.generation, RecommendationServing.previous_generation)
        ).all()
        kept = [number for row in serving for number in row if number is not None]
        kept += drop_others(conn, kept)
        old = RecommendationGeneration.generation.not_in(kept)
        conn.execute(delete(RecommendationGeneration).where(old))
        made = select(RecommendationGeneration.generated_at).join(
            RecommendationServing,
            RecommendationServing.generation == RecommendationGeneration.generation,
        )
        hidden = RecommendationOverlay.generated_at < made.scalar_subquery()
        conn.execute(delete(RecommendationOverlay).where(hidden))


def event_ids(lists: Lists) -> Ids:
    """Turn columns into event ids, shape (n, length); those of empty places mean nothing."""
    of_column = np.append(lists.keys.events[lists.columns], 0)
    return of_column[lists.rankings.columns]


def reason_arguments(lists: Lists) -> Ids:
    """Turn arguments of reasons into what is stored: a tag's id, kilometres, or 0 for none."""
    found = lists.rankings.arguments.astype(np.int64)
    is_tag = (lists.rankings.reasons == CODES.index("interest_tag")) & (found >= 0)
    found[is_tag] = lists.keys.tags[found[is_tag]]
    return np.maximum(found, 0)


def _encode(generation: int, lists: Lists) -> bytes:
    require_finite(lists)
    ranked = lists.rankings
    return encode_lists(
        generation,
        lists.keys.users[ranked.users],
        (ranked.columns >= 0).sum(axis=1),
        event_ids(lists),
        ranked.scores,
        ranked.reasons + 1,
        reason_arguments(lists),
    )


def require_finite(lists: Lists) -> None:
    """Refuse scores that are not numbers; nothing of them may be written."""
    if not np.isfinite(lists.rankings.scores).all():
        raise PublishRefusedError(
            "a score is not a finite number; nothing was published; train again, or activate an"
            " earlier model and use --skip-training"
        )


def _require_users(conn: Connection, partition: str, count: int) -> None:
    """Refuse a generation that lost users whom the serving one has."""
    lost, before = conn.execute(
        text(
            "SELECT count(*) FILTER (WHERE new.user_id IS NULL), count(*)"
            "  FROM recommendation_serving AS serving"
            "  JOIN recommendation_lists AS old ON old.generation = serving.generation"
            f"  JOIN users ON users.id = old.user_id AND {RANKABLE}"
            f" LEFT JOIN {partition} AS new ON new.user_id = old.user_id"
        )
    ).one()
    if before - lost < LEAST_SHARE * before:
        raise PublishRefusedError(
            f"{lost} of the {before} users served now are missing from the new rankings of"
            f" {count}; nothing was published; check that users are not deactivated by mistake"
        )
