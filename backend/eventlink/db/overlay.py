"""The overlay: rankings of single users that are newer than the serving generation's.

What does not live here: generations (``db.recommendations``) and how rankings are made.
"""

from collections.abc import Iterable
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, TextClause, text

from eventlink.db.keys import Ids
from eventlink.db.recommendations import Lists, event_ids, reason_arguments, require_finite
from eventlink.recsys.matrices import Dense
from eventlink.recsys.reasons import CODES

# All lists stand one after the other, in arrays that are converted once. Who is being erased is
# left out, and not waited for.
STORE_REFRESHED = text(
    """
    WITH given AS MATERIALIZED (
        SELECT CAST(:event_ids AS bigint[]) AS event_ids, CAST(:scores AS real[]) AS scores,
               CAST(:reasons AS text[]) AS reasons)
    INSERT INTO recommendation_overlay AS old
           (user_id, model_version, generated_at, event_ids, scores, reasons)
    SELECT users.id, :model_version, :generated_at, given.event_ids[list.first : list.last],
           given.scores[list.first : list.last], given.reasons[list.first : list.last]
      FROM unnest(CAST(:users AS bigint[]), CAST(:first AS integer[]), CAST(:last AS integer[]))
           AS list (user_id, first, last)
      JOIN users ON users.id = list.user_id
     CROSS JOIN given
     ORDER BY users.id
       FOR KEY SHARE OF users SKIP LOCKED
        ON CONFLICT (user_id) DO UPDATE
       SET model_version = excluded.model_version, generated_at = excluded.generated_at,
           event_ids = excluded.event_ids, scores = excluded.scores, reasons = excluded.reasons
     WHERE old.generated_at <= excluded.generated_at
    """
)


LAST_SCORES = text(
    """
    SELECT array_agg(user_id), array_agg(coalesce(scores[:length], 0))
      FROM recommendation_serving JOIN recommendation_lists USING (generation)
    """
)

LATER_LAST_SCORES = text(
    """
    SELECT array_agg(user_id), array_agg(coalesce(later.scores[:length], 0))
      FROM recommendation_serving
      JOIN recommendation_generations AS made USING (generation)
      JOIN recommendation_overlay AS later ON later.generated_at >= made.generated_at
    """
)

ENTER_LOCK = text("SELECT pg_advisory_xact_lock(1163283021)")  # "EVLM"

# An event goes before the first that has a lower score, and a list keeps its length and its date:
# the rest of it is as old as it was. Who is being erased is left out, and not waited for.
ENTER = text(
    """
    WITH held AS (
        SELECT one.user_id, one.score, one.reason,
               coalesce(later.generated_at, made.generated_at) AS generated_at,
               coalesce(later.event_ids, list.event_ids) AS event_ids,
               coalesce(later.scores, list.scores) AS scores,
               coalesce(later.reasons, ARRAY(
                   SELECT made.reason_names[said.code]
                          || CASE said.arg WHEN 0 THEN '' ELSE ':' || said.arg END
                     FROM unnest(list.reason_codes, list.reason_args)
                          WITH ORDINALITY AS said (code, arg, place)
                    ORDER BY said.place)) AS reasons
          FROM unnest(CAST(:users AS bigint[]), CAST(:scores AS real[]), CAST(:reasons AS text[]))
               AS one (user_id, score, reason)
          JOIN users ON users.id = one.user_id
         CROSS JOIN recommendation_serving AS serving
          JOIN recommendation_generations AS made ON made.generation = serving.generation
          LEFT JOIN recommendation_overlay AS later
                 ON later.user_id = one.user_id AND later.generated_at >= made.generated_at
          LEFT JOIN recommendation_lists AS list
                 ON list.generation = (SELECT generation FROM recommendation_serving)
                AND list.user_id = one.user_id AND later.user_id IS NULL
         WHERE coalesce(later.model_version, made.model_version) = :model_version
           AND coalesce(later.user_id, list.user_id) IS NOT NULL
           FOR KEY SHARE OF users SKIP LOCKED),
    placed AS (
        SELECT *, (SELECT count(*) FROM unnest(event_ids, scores) AS item (event_id, score)
                    WHERE item.score > held.score
                       OR item.score = held.score AND item.event_id < :event_id) AS before
          FROM held WHERE :event_id <> ALL (event_ids))
    INSERT INTO recommendation_overlay AS old
           (user_id, model_version, generated_at, event_ids, scores, reasons)
    SELECT user_id, :model_version, generated_at,
           (event_ids[1 : before] || CAST(:event_id AS bigint)
            || event_ids[before + 1 : ])[1 : CAST(:length AS integer)],
           (scores[1 : before] || score || scores[before + 1 : ])[1 : CAST(:length AS integer)],
           (reasons[1 : before] || reason || reasons[before + 1 : ])[1 : CAST(:length AS integer)]
      FROM placed WHERE before < :length
     ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE
       SET model_version = excluded.model_version, generated_at = excluded.generated_at,
           event_ids = excluded.event_ids, scores = excluded.scores, reasons = excluded.reasons
     WHERE old.generated_at <= excluded.generated_at
    """
)


def store_refreshed(
    conn: Connection, model_version: str, generated_at: datetime, lists: Lists
) -> None:
    """Rewrite the rankings of a few users, over those of the serving generation.

    Args:
        conn: Inside a transaction.
        model_version: What made the rankings.
        generated_at: When what they know was read.
        lists: The rankings.

    Raises:
        PublishRefusedError: A score is not a number.
    """
    require_finite(lists)
    ranked = lists.rankings
    shown = ranked.columns >= 0
    last = np.cumsum(shown.sum(axis=1))
    reasons = zip(
        ranked.reasons[shown].tolist(), reason_arguments(lists)[shown].tolist(), strict=True
    )
    conn.execute(
        STORE_REFRESHED,
        {
            "users": lists.keys.users[ranked.users].tolist(),
            "first": (last - shown.sum(axis=1) + 1).tolist(),
            "last": last.tolist(),
            "event_ids": _literal(event_ids(lists)[shown].tolist()),
            "scores": _literal(ranked.scores[shown].tolist()),
            "reasons": _literal(CODES[code] + (f":{arg}" if arg else "") for code, arg in reasons),
            "model_version": model_version,
            "generated_at": generated_at,
        },
    )


def last_scores(conn: Connection, length: int) -> tuple[Ids, Dense]:
    """Return for everybody with a ranking of the serving generation the score at its last place.

    Args:
        conn: An open connection.
        length: Number of places.

    Returns:
        Ids of users, and for each the score; 0 where the ranking is shorter.
    """
    return _ends(conn, LAST_SCORES, length)


def later_last_scores(conn: Connection, length: int) -> tuple[Ids, Dense]:
    """Return the same for everybody with a ranking that is newer than the generation.

    Args:
        conn: An open connection.
        length: Number of places.
    """
    return _ends(conn, LATER_LAST_SCORES, length)


def _ends(conn: Connection, statement: TextClause, length: int) -> tuple[Ids, Dense]:
    users, scores = conn.execute(statement, {"length": length}).one()
    return np.array(users or [], np.int64), np.array(scores or [], np.float32)


def enter_events(conn: Connection, model_version: str, lists: Lists, length: int) -> None:
    """Merge events into the rankings that are served, each where its score puts it.

    Args:
        conn: Inside a transaction.
        model_version: What made the scores; rankings of another model are left alone.
        lists: For each user the events that enter, in any order.
        length: The most events that a ranking has.

    Raises:
        PublishRefusedError: A score is not a number.
    """
    require_finite(lists)
    conn.execute(ENTER_LOCK)  # two at once would each write what the other one has not seen
    ranked, ids, arguments = lists.rankings, event_ids(lists), reason_arguments(lists)
    shown = ranked.columns >= 0
    users = lists.keys.users[ranked.users]
    for event_id in np.unique(ids[shown]).tolist():
        found = np.nonzero(shown & (ids == event_id))
        said = zip(ranked.reasons[found].tolist(), arguments[found].tolist(), strict=True)
        conn.execute(
            ENTER,
            {
                "users": users[found[0]].tolist(),
                "scores": ranked.scores[found].tolist(),
                "reasons": [CODES[code] + (f":{arg}" if arg else "") for code, arg in said],
                "event_id": event_id,
                "model_version": model_version,
                "length": length,
            },
        )


def _literal(values: Iterable[object]) -> str:
    """Write an array as PostgreSQL reads it; the driver would look for quotes in each element."""
    return f"{{{','.join(map(str, values))}}}"
