"""Reading one user's recommendations for an answer: the stored list, the heuristic, the events.

What does not live here: which of the two is served (``services.recommendations``).

All statements are for psycopg. Eligibility is checked at every read: published, to come, a seat
left, not registered, no hidden tag, organizer not blocked.
"""

from eventlink.db.accounts import RANKABLE
from eventlink.db.events import readable


def _on_one_line(statement: str) -> str:
    """Make a statement short: psycopg parses one of more than 4,096 characters at every call."""
    return " ".join(statement.split())


SEATS = """
CROSS JOIN LATERAL (
    SELECT event.max_seats - count(*) AS seats_left FROM registrations AS taken
     WHERE event.max_seats IS NOT NULL AND taken.event_id = event.id
       AND taken.unregistered_at IS NULL) AS seats
"""
# The user's own rows are read once. Most hide nothing, which is told before tags are looked up.
MAY_BE_SHOWN = """
event.status = 'published' AND event.deleted_at IS NULL
AND (event.publish_at > %(now)s) IS NOT TRUE AND event.start_time > %(now)s
AND (seats.seats_left > 0) IS NOT FALSE
AND event.id <> ALL (ARRAY(SELECT event_id FROM registrations
                            WHERE user_id = %(user_id)s AND unregistered_at IS NULL))
AND (event.owner_id = ANY (ARRAY(SELECT organizer_id FROM user_blocked_organizers
                                  WHERE user_id = %(user_id)s))) IS NOT TRUE
AND (NOT EXISTS (SELECT FROM user_hidden_tags WHERE user_id = %(user_id)s)
     OR NOT EXISTS (SELECT FROM event_tags AS had JOIN user_hidden_tags AS hidden USING (tag_id)
                     WHERE had.event_id = event.id AND hidden.user_id = %(user_id)s))
"""

READER = f"""
SELECT language, {RANKABLE} AS is_rankable FROM users
 WHERE id = %(user_id)s AND is_active AND token_version = %(token_version)s
"""

# The view user_recommendations in other words: unnest keeps the order, so that reading stops with
# the last item wanted, and one partition is touched.
STORED = f"""
WITH served AS MATERIALIZED (
    SELECT reader.language, reader.is_rankable, model.id AS model_id,
           coalesce(later.model_version, made.model_version) AS model_version,
           coalesce(later.generated_at, made.generated_at) AS generated_at,
           date_part('epoch', coalesce(later.generated_at, made.generated_at)) AS generated_epoch,
           made.reason_names,
           coalesce(later.event_ids, list.event_ids) AS event_ids,
           coalesce(later.scores, list.scores) AS scores,
           later.reasons, list.reason_codes, list.reason_args
      FROM ({READER}) AS reader
      LEFT JOIN (recommendation_serving AS serving
                 JOIN recommendation_generations AS made USING (generation)) ON true
      LEFT JOIN recommendation_overlay AS later ON later.user_id = %(user_id)s
           AND (later.generated_at < made.generated_at) IS NOT TRUE
      LEFT JOIN recommendation_lists AS list ON later.user_id IS NULL
           AND list.generation = (SELECT generation FROM recommendation_serving)
           AND list.user_id = %(user_id)s
      LEFT JOIN recommender_models AS model
             ON model.model_version = coalesce(later.model_version, made.model_version))
SELECT served.language, served.is_rankable, served.model_id, served.model_version,
       served.generated_epoch, item.event_id, item.version, item.seats_left, item.score, item.reason
  FROM served LEFT JOIN LATERAL (
    SELECT event.id AS event_id, event.xmin AS version, seats.seats_left, item.score,
           coalesce(item.reason, served.reason_names[item.code]
                    || CASE item.arg WHEN 0 THEN '' ELSE ':' || item.arg END, 'popular') AS reason
      FROM unnest(served.event_ids, served.scores, served.reasons, served.reason_codes,
                  served.reason_args) WITH ORDINALITY
           AS item (event_id, score, reason, code, arg, place)
      JOIN events AS event ON event.id = item.event_id
      {SEATS}
     WHERE served.is_rankable AND served.generated_at >= %(oldest)s
       AND abs(item.score) < 'Infinity' AND {MAY_BE_SHOWN}
     ORDER BY item.place LIMIT %(limit)s) AS item ON true
"""
"""The reader's language, whether they are rankable, and the stored list not older than ``oldest``.

Gives no row for a user who is not there, not active, or whose tokens were taken back, and one with
nulls where there is nothing to show: also for who was a student until lately, whatever is stored.
``generated_epoch`` is in seconds, which are read faster than an instant. ``version`` differs
between any two states of an event. What a damaged list has without a score that JSON can write is
passed over.
"""

DRAWN = """
SELECT event_id, propensity FROM recommendation_explorations
 WHERE user_id = %(user_id)s AND generated_at = %(generated_at)s
"""
"""The chance of each event that was drawn for a stored list; no row for any other event."""

SOONEST = 1000
LATEST_REGISTRATIONS = 5000
MOST_POPULAR = 300
EVENTS_OF_KNOWN = 300
PAST_EVENTS = 300
"""Bounds of what the heuristic looks at, so that its cost does not grow with the site."""

# Popularity is velocity: registrations of the last week, those of the last day four times. The
# latest are found by id, the order in which a running site writes them.
HEURISTIC = _on_one_line(f"""
WITH known AS MATERIALIZED (
    SELECT organizer_id, max(weight) AS weight
      FROM (SELECT organizer_id, 3::float8 AS weight FROM user_followed_organizers
             WHERE user_id = %(user_id)s
             UNION ALL
            SELECT past.owner_id, 2
              FROM (SELECT event_id FROM registrations
                     WHERE user_id = %(user_id)s AND unregistered_at IS NULL
                       AND attended IS NOT FALSE
                     ORDER BY id DESC LIMIT {PAST_EVENTS}) AS own
              JOIN events AS past ON past.id = own.event_id
             WHERE past.start_time <= %(now)s AND past.owner_id IS NOT NULL) AS either
     GROUP BY organizer_id
), popular AS MATERIALIZED (
    SELECT event_id, count(*) + 3 * count(*) FILTER (
               WHERE registered_at > %(now)s - interval '1 day') AS velocity
      FROM (SELECT event_id, registered_at, unregistered_at FROM registrations
             ORDER BY id DESC LIMIT {LATEST_REGISTRATIONS}) AS latest
     WHERE registered_at > %(now)s - interval '7 days' AND unregistered_at IS NULL
     GROUP BY event_id ORDER BY velocity DESC, event_id LIMIT {MOST_POPULAR}
), candidate AS MATERIALIZED (
    (SELECT id FROM events
      WHERE status = 'published' AND deleted_at IS NULL AND start_time > %(now)s
      ORDER BY start_time LIMIT {SOONEST})
     UNION
    SELECT event_id FROM popular
     UNION
    (SELECT theirs.id FROM known JOIN events AS theirs ON theirs.owner_id = known.organizer_id
      WHERE theirs.status = 'published' AND theirs.deleted_at IS NULL
        AND theirs.start_time > %(now)s
      ORDER BY theirs.start_time LIMIT {EVENTS_OF_KNOWN})
), term AS MATERIALIZED (
    SELECT candidate.id, coalesce(known.weight, 0) AS organizer, least(liked.count, 3) AS tags,
           liked.tag_id, 0.3 * ln(1 + coalesce(popular.velocity, 0)) AS popular,
           exp(-least(days.ahead, 99) / 7) AS soon, days.ahead <= 3 AS is_soon,
           (lower(btrim(event.city)) = home.city)::int AS city
      FROM candidate
      JOIN events AS event ON event.id = candidate.id
      LEFT JOIN known ON known.organizer_id = event.owner_id
      LEFT JOIN popular ON popular.event_id = event.id
      LEFT JOIN (SELECT lower(btrim(city)) AS city FROM users
                  WHERE id = %(user_id)s) AS home ON true
     CROSS JOIN LATERAL (
         SELECT count(*) AS count, min(tag_id) AS tag_id FROM event_tags
          WHERE event_id = candidate.id
            AND tag_id IN (SELECT tag_id FROM user_interest_tags
                            WHERE user_id = %(user_id)s)) AS liked
     CROSS JOIN LATERAL (
         SELECT extract(epoch FROM least(event.start_time, '9998-12-31Z') - %(now)s)::float8
                / 86400 AS ahead) AS days
     WHERE event.start_time > %(now)s AND event.id <> ALL (%(but)s)
), ranked AS (
    SELECT id, (organizer + tags + popular + soon + coalesce(city, 0))::float4 AS score,
           CASE WHEN organizer > 0 AND organizer >= greatest(tags, popular, soon)
                THEN CASE organizer WHEN 3 THEN 'followed_organizer' ELSE 'attended_organizer' END
                WHEN tags > 0 AND tags >= greatest(popular, soon) THEN 'interest_tag:' || tag_id
                WHEN is_soon AND soon > popular THEN 'soon'
                ELSE 'popular' END AS reason
      FROM term ORDER BY score DESC, id OFFSET 0)
SELECT event.id, event.xmin, seats.seats_left, ranked.score, ranked.reason
  FROM ranked JOIN events AS event ON event.id = ranked.id
  {SEATS}
 WHERE {MAY_BE_SHOWN}
 ORDER BY ranked.score DESC, ranked.id LIMIT %(limit)s
""")
"""What the heuristic shows: followed and known organizers, liked tags, city, popularity, soon.

Gives ``event_id, version, seats_left, score, reason`` like ``STORED``, but for the events in
``but``.
"""

EVENTS = f"""
SELECT event.id, event.xmin, event.title, event.category, event.city, event.venue,
       {readable("event.start_time")}, {readable("event.end_time")}, event.max_seats,
       event.owner_id, owner.full_name,
       (SELECT coalesce(json_agg(json_build_object('id', tags.id, 'name', tags.name)
                                 ORDER BY tags.name), '[]')
          FROM event_tags AS had JOIN tags ON tags.id = had.tag_id WHERE had.event_id = event.id)
  FROM events AS event LEFT JOIN users AS owner ON owner.id = event.owner_id
 WHERE event.id = ANY (%(event_ids)s)
"""
"""What is shown of some events, each with its version."""
