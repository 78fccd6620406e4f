"""The job queue as its users see it: enqueue, wake, list, cancel, count, prune.

What does not live here: running jobs and taking over those of dead workers (``db.attempts``), and
what a job does (``worker``). The tables are Procrastinate's, https://procrastinate.readthedocs.io.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

RECOMPUTE = "recompute_recommendations_ml"
REFRESH = "refresh_user_recommendations_ml"
"""The types of jobs, which are Procrastinate's task names."""
TRAINING_QUEUE, REFRESH_QUEUE = "training", "refresh"
"""Apart, so that a training never holds up a refresh."""

ENDED = ("succeeded", "failed", "cancelled", "aborted")
PRUNED_AT_ONCE = 1000
"""Rows of one DELETE, so that none locks or waits for long."""

WAKE_REFRESH = f"""
INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, scheduled_at)
SELECT '{REFRESH_QUEUE}', '{REFRESH}',
       concat_ws(' ', '{REFRESH}', extract(epoch FROM starts)::bigint), starts
  FROM (SELECT CASE WHEN %(due_at)s::timestamptz > now()
                    THEN date_trunc('second', %(due_at)s::timestamptz) + interval '1 second' END
       ) AS wake (starts)
    ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
"""
"""Makes sure that a refresh job starts once ``due_at`` is past. For psycopg; what it returns does
not matter.

Run it in a transaction of its own, after the one that marked the user has committed: then a job
that is already queued, and so blocks the insert, starts later than the commit and sees the mark. A
job that runs already does not block. A second's marks share the job that starts at its end.
"""


@dataclass(frozen=True)
class Enqueued:
    """The job that was queued, or the one that was there already."""

    job_id: int
    created: bool


@dataclass(frozen=True)
class Job:
    """A job and what became of it so far."""

    job_id: int
    type: str
    status: str
    """``queued``, ``running``, ``succeeded``, ``failed`` or ``cancelled``."""
    payload: dict[str, Any]
    attempts: int
    """Runs that have ended."""
    cancelling: bool
    queued_at: datetime | None
    starts_at: datetime | None
    """Not before; None is at once."""
    started_at: datetime | None
    """Of the last run."""
    ended_at: datetime | None
    phase: str | None
    done: float | None
    """Share of the phase, 0 to 1."""
    error: str | None
    """Why the last run failed."""


@dataclass(frozen=True)
class QueueDepth:
    """What waits and runs in a queue."""

    queue: str
    waiting: int
    """Jobs that could start now."""
    later: int
    """Jobs that start later: a retry, a refresh not due yet."""
    running: int
    oldest_waiting_seconds: float | None
    """Age of the oldest job that could start now."""


@dataclass(frozen=True)
class Heartbeat:
    """A worker's queue, as one process has a heartbeat for each."""

    worker_id: int
    seconds_ago: float
    job_id: int | None
    """What it runs."""


_ENQUEUE_RETRAIN = text(
    "INSERT INTO procrastinate_jobs (queue_name, task_name, args)"
    f" VALUES ('{TRAINING_QUEUE}', '{RECOMPUTE}', cast(:args AS jsonb))"
    " ON CONFLICT (task_name)"
    f"      WHERE task_name = '{RECOMPUTE}' AND status IN ('todo', 'doing') DO NOTHING"
    " RETURNING id"
)
_QUEUED_RETRAIN = text(
    "SELECT id FROM procrastinate_jobs"
    f" WHERE task_name = '{RECOMPUTE}' AND status IN ('todo', 'doing')"
)


def enqueue_retrain(conn: Connection, payload: dict[str, Any]) -> Enqueued:
    """Queue a recompute unless one is queued or running; a unique index decides who is first.

    Args:
        conn: Inside a transaction; if it is rolled back, there is no job.
        payload: What the job's handler gets.
    """
    args = {"args": json.dumps({"request": payload})}
    while True:  # until neither the other job ends between the two statements nor we are first
        job_id = conn.execute(_ENQUEUE_RETRAIN, args).scalar_one_or_none()
        if job_id is not None:
            return Enqueued(job_id, created=True)
        job_id = conn.execute(_QUEUED_RETRAIN).scalar_one_or_none()
        if job_id is not None:
            return Enqueued(job_id, created=False)


_LEAVE_OUT = text(
    "INSERT INTO procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)"
    " VALUES (:type, :schedule, :at) ON CONFLICT DO NOTHING"
)


def leave_out(conn: Connection, type_: str, schedule: str, at: int) -> None:
    """Take a scheduled job for queued that is not to be.

    Args:
        conn: Inside a transaction.
        type_: Of the job.
        schedule: Procrastinate's name of it.
        at: When the job was due, seconds since 1970-01-01 UTC.
    """
    conn.execute(_LEAVE_OUT, {"type": type_, "schedule": schedule, "at": at})


_WAS_MISSED = text(
    "SELECT coalesce(max(defer_timestamp) < :at, false) FROM procrastinate_periodic_defers"
    " WHERE task_name = :type AND periodic_id = :schedule"
)


def was_missed(conn: Connection, type_: str, schedule: str, at: int) -> bool:
    """Tell whether a schedule was kept before an instant, and neither then nor since.

    It is not where it is new, or was moved to an earlier hour.

    Args:
        conn: Inside a transaction.
        type_: Of the job.
        schedule: Procrastinate's name of it.
        at: When the job was due, seconds since 1970-01-01 UTC.
    """
    args = {"type": type_, "schedule": schedule, "at": at}
    missed: bool = conn.execute(_WAS_MISSED, args).scalar_one()
    return missed


def wake_refresh(conn: Connection, due_at: datetime | None) -> None:
    """Make sure that a refresh job starts once ``due_at`` is past; see ``WAKE_REFRESH``.

    Args:
        conn: In a transaction of its own, begun after the mark was committed.
        due_at: When the marked user is due; None is at once.
    """
    conn.exec_driver_sql(WAKE_REFRESH, {"due_at": due_at})


_LATE = text(
    "SELECT EXISTS (SELECT FROM recommendation_refreshes"
    " WHERE due_at < now() - :patience AND coalesce(claimed_until <= now(), true))"
)


def sweep_refreshes(conn: Connection, patience: timedelta) -> bool:
    """Wake a refresh if a mark is late: a wake was lost, or whoever had claimed it died.

    Args:
        conn: Inside a transaction.
        patience: What a mark may be late.

    Returns:
        Whether a mark was late.
    """
    late: bool = conn.execute(_LATE, {"patience": patience}).scalar_one()
    if late:
        wake_refresh(conn, None)
    return late


_STATUS = (
    "CASE status WHEN 'todo' THEN 'queued' WHEN 'doing' THEN 'running'"
    " WHEN 'aborted' THEN 'cancelled' ELSE status::text END"
)
_JOBS = text(
    f"SELECT job.id, job.task_name, {_STATUS}, job.args, job.attempts,"
    "       job.abort_requested AND job.status = 'doing',"
    "       event.queued_at, job.scheduled_at, event.started_at, event.ended_at,"
    # The last share that a job tells is from before it publishes, which ends it.
    "       progress.phase,"
    "       CASE WHEN job.status = 'succeeded' AND progress.phase IS NOT NULL"
    "            THEN 1 ELSE progress.done END,"
    "       progress.error"
    "  FROM (SELECT * FROM procrastinate_jobs"
    "         WHERE id < coalesce(:before, 9223372036854775807)"
    "           AND (cast(:job_id AS bigint) IS NULL OR id = :job_id)"
    f"          AND (cast(:status AS text) IS NULL OR {_STATUS} = :status)"
    "           AND (cast(:type AS text) IS NULL OR task_name = :type)"
    "         ORDER BY id DESC LIMIT :limit) AS job"
    "  LEFT JOIN LATERAL"
    "       (SELECT min(at) FILTER (WHERE type = 'deferred') AS queued_at,"
    "               max(at) FILTER (WHERE type = 'started') AS started_at,"
    "               max(at) FILTER (WHERE type::text = job.status::text) AS ended_at"
    "          FROM procrastinate_events WHERE job_id = job.id) AS event ON true"
    "  LEFT JOIN job_progress AS progress ON progress.job_id = job.id"
    " ORDER BY job.id DESC"
)


def list_jobs(
    conn: Connection,
    limit: int,
    before: int | None = None,
    job_id: int | None = None,
    status: str | None = None,
    type_: str | None = None,
) -> list[Job]:
    """Return jobs, the newest first.

    Args:
        conn: An open connection.
        limit: At most so many.
        before: Only jobs with a smaller id, to go on where a list ended.
        job_id: Only this one.
        status: Only those of that status.
        type_: Only those of that type.
    """
    values = {
        "limit": limit,
        "before": before,
        "job_id": job_id,
        "status": status,
        "type": type_,
    }
    return [Job(*row) for row in conn.execute(_JOBS, values)]


def cancel_job(conn: Connection, job_id: int) -> bool:
    """Cancel a queued job, or ask the worker to stop a running one.

    Args:
        conn: Inside a transaction.
        job_id: Which.

    Returns:
        Whether it was queued or running.
    """
    cancel = text("SELECT procrastinate_cancel_job_v1(:job_id, true, false)")
    return conn.execute(cancel, {"job_id": job_id}).scalar_one() is not None


_DEPTHS = text(
    "SELECT queue_name,"
    "       count(*) FILTER (WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now()),"
    "       count(*) FILTER (WHERE status = 'todo' AND scheduled_at > now()),"
    "       count(*) FILTER (WHERE status = 'doing'),"
    "       extract(epoch FROM now() - min(greatest(scheduled_at, queued.at))"
    "          FILTER (WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now()))::float"
    "  FROM procrastinate_jobs AS job"
    "  LEFT JOIN LATERAL (SELECT min(at) AS at FROM procrastinate_events"
    "                      WHERE job_id = job.id AND type = 'deferred') AS queued ON true"
    " WHERE status IN ('todo', 'doing') GROUP BY queue_name"
)


def queue_depths(conn: Connection) -> list[QueueDepth]:
    """Return what waits and runs, for each queue, also an empty one."""
    found = {row[0]: QueueDepth(*row) for row in conn.execute(_DEPTHS)}
    empty = {queue: QueueDepth(queue, 0, 0, 0, None) for queue in (TRAINING_QUEUE, REFRESH_QUEUE)}
    return list((empty | found).values())


_HEARTBEATS = text(
    "SELECT worker.id, extract(epoch FROM now() - last_heartbeat)::float, min(job.id)"
    "  FROM procrastinate_workers AS worker"
    "  LEFT JOIN procrastinate_jobs AS job ON job.worker_id = worker.id AND status = 'doing'"
    " GROUP BY worker.id ORDER BY worker.id"
)


def heartbeats(conn: Connection) -> list[Heartbeat]:
    """Return the workers' heartbeats, also the last ones of workers that just died."""
    return [Heartbeat(*row) for row in conn.execute(_HEARTBEATS)]


_PRUNE = text(
    "DELETE FROM procrastinate_jobs WHERE id IN ("
    "   SELECT id FROM procrastinate_jobs AS job WHERE status::text = ANY(:ended)"
    "      AND NOT EXISTS (SELECT FROM procrastinate_events"
    "                       WHERE job_id = job.id AND at >= :before)"
    "    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)"
)
_PRUNE_PROGRESS = text(
    "DELETE FROM job_progress AS progress"
    " WHERE NOT EXISTS (SELECT FROM procrastinate_jobs WHERE id = progress.job_id)"
)


def prune_jobs(conn: Connection, before: datetime) -> int:
    """Delete some of the jobs that ended long ago, as a queue that is never emptied grows slow.

    Args:
        conn: Inside a transaction.
        before: Jobs to which nothing has happened since.

    Returns:
        How many were deleted; to be called again until there are none.
    """
    values = {"ended": list(ENDED), "before": before, "limit": PRUNED_AT_ONCE}
    deleted = conn.execute(_PRUNE, values).rowcount
    conn.execute(_PRUNE_PROGRESS)
    return deleted
