"""The overlay: rankings of single users that are newer than the serving generation's.

What does not live here: generations (``db.recommendations``) and how rankings are made.
"""

import numpy as np
from sqlalchemy import Connection, text

from eventlink.db.recommendations import Lists, event_ids, reason_arguments, require_finite
from eventlink.recsys.reasons import CODES

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
          JOIN recommendation_generations AS made USING (generation)
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
