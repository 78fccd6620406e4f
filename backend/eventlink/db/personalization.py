"""What recommendations led to, summed by user: impressions, clicks, registrations.

What does not live here: rates and their intervals (``services.personalization``).

The statement returns sums and sums of products over users, which is all that a ratio's interval
needs; no row a user leaves the database.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, text

from eventlink.db.session import NO_TIMEOUTS_IN_THIS_TRANSACTION

GUARDRAIL_LOCK = 1163282514  # "EVGR"

UNATTRIBUTED = text(
    """
    SELECT count(*) FROM event_interactions
     WHERE interaction_type = 'impression' AND request_id IS NULL
       AND occurred_at >= :since AND occurred_at < :until
    """
)

# A list is known by the hash of its request_id: a tenth of the memory, and two of ten million lists
# fall together with a chance of one to 400,000. An anonymous list has no user, so the list itself
# is the unit. Clicks and impressions are of the same user, lest somebody else's copy of a
# request_id counts.
OUTCOMES = text(
    """
    WITH shown AS MATERIALIZED (
        SELECT hashtextextended(request_id, 0) AS list, event_id, user_id,
               min(occurred_at) FILTER (WHERE interaction_type = 'impression') AS shown_at,
               min(source) FILTER (WHERE interaction_type = 'impression') AS source,
               min(model_version) FILTER (WHERE interaction_type = 'impression') AS model_version,
               bool_or(arm = 'control') FILTER (WHERE interaction_type = 'impression'
                                                  AND experiment = :experiment) AS in_control,
               bool_or(interaction_type = 'click') AS clicked
          FROM event_interactions
         WHERE interaction_type IN ('impression', 'click') AND request_id IS NOT NULL
           AND occurred_at >= :since AND occurred_at < :until
         GROUP BY list, event_id, user_id
        HAVING bool_or(interaction_type = 'impression')
    ), credited AS (
        SELECT DISTINCT ON (made.id) shown.list, shown.event_id, shown.user_id
          FROM registrations AS made
          JOIN shown ON shown.user_id = made.user_id AND shown.event_id = made.event_id
                    AND shown.shown_at BETWEEN made.registered_at - :window AND made.registered_at
         WHERE made.registered_at >= :since AND made.registered_at < :until
         ORDER BY made.id, shown.shown_at DESC, shown.list
    ), registered AS (
        SELECT DISTINCT list, event_id, user_id FROM credited
    ), cells AS (
        SELECT coalesce('user ' || shown.user_id, 'list ' || shown.list) AS unit,
               (shown_at AT TIME ZONE 'UTC')::date AS day, source, model_version,
               in_control, count(*)::float8 AS n,
               count(*) FILTER (WHERE clicked)::float8 AS c,
               count(registered.event_id)::float8 AS r
          FROM shown
          LEFT JOIN registered ON registered.list = shown.list
                              AND registered.event_id = shown.event_id
                              AND registered.user_id = shown.user_id
         GROUP BY 1, 2, 3, 4, 5
    ), units AS (
        SELECT grouping(day, source, model_version, in_control) AS slice,
               unit, day, source, model_version, in_control,
               sum(n) AS n, sum(c) AS c, sum(r) AS r
          FROM cells
         GROUP BY GROUPING SETS ((unit), (unit, day), (unit, source), (unit, model_version),
                                 (unit, in_control))
    )
    SELECT slice, day, source, model_version,
           CASE in_control WHEN true THEN 'control' WHEN false THEN 'treatment' END AS arm,
           count(*), sum(n), sum(c), sum(r),
           sum(n * n), sum(n * c), sum(c * c), sum(n * r), sum(r * r)
      FROM units
     GROUP BY slice, day, source, model_version, in_control
     ORDER BY slice, day, source, model_version, arm
    """
)
SLICES = {
    0b1111: "total",
    0b0111: "day",
    0b1011: "source",
    0b1101: "model_version",
    0b1110: "arm",
}
"""``grouping()`` sets the bit of a column that is summed over."""


@dataclass(frozen=True)
class Sums:
    """Sums over users, where n are a user's impressions, c clicks and r registrations."""

    users: int
    n: float
    c: float
    r: float
    nn: float
    nc: float
    cc: float
    nr: float
    rr: float


NOTHING = Sums(0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Outcomes:
    """What was shown in a span of time, and what it led to."""

    total: Sums
    by_day: dict[date, Sums]
    """UTC days that have impressions."""
    by_source: dict[str | None, Sums]
    """None: the list was not made by this server, or before it wrote this down."""
    by_model_version: dict[str | None, Sums]
    by_arm: dict[str | None, Sums]
    """None: no part of the experiment."""
    unattributed_impressions: int
    """Those without ``request_id``; not among the others."""


def outcomes(
    conn: Connection, since: datetime, until: datetime, window: timedelta, experiment: str
) -> Outcomes:
    """Sum up what the impressions of a span of time led to within it.

    Args:
        conn: Inside a transaction.
        since: Its beginning.
        until: Its end, not included.
        window: How long after an impression a registration is credited to it.
        experiment: The one whose arms are told apart.
    """
    # Else a million impressions are sorted on disk, and compiling takes longer than it saves.
    conn.execute(text("SET LOCAL work_mem = '128MB'"))
    conn.execute(text("SET LOCAL jit = off"))
    span = {"since": since, "until": until}
    found: dict[str, dict[Any, Sums]] = {name: {} for name in SLICES.values()}
    asked = {**span, "window": window, "experiment": experiment}
    for slice_, day, source, model_version, arm, *sums in conn.execute(OUTCOMES, asked):
        keys = {
            "total": None,
            "day": day,
            "source": source,
            "model_version": model_version,
            "arm": arm,
        }
        name = SLICES[slice_]
        found[name][keys[name]] = Sums(*sums)
    return Outcomes(
        total=found["total"].get(None, NOTHING),
        by_day=found["day"],
        by_source=found["source"],
        by_model_version=found["model_version"],
        by_arm=found["arm"],
        unattributed_impressions=conn.execute(UNATTRIBUTED, span).scalar_one(),
    )


def may_count(conn: Connection) -> bool:
    """Tell whether no other guardrail counts now; if so, nobody limits how long this one takes.

    Args:
        conn: Inside a transaction; others wait for their turn until it ends.
    """
    conn.execute(NO_TIMEOUTS_IN_THIS_TRANSACTION)
    mine: bool = conn.execute(select(func.pg_try_advisory_xact_lock(GUARDRAIL_LOCK))).scalar_one()
    return mine
