"""Attempts: one run of a job by one worker. Only the live one may end the job, or publish.

What does not live here: the queue as its users see it (``db.jobs``), and running (``worker``).

A worker that was frozen or cut off, and comes back, does not know that its job was taken over. So
every statement below names the attempt that it speaks for, by worker and number, and does nothing
if that is not the live one any more: a fencing token (M. Kleppmann, Designing Data-Intensive
Applications, chapter 8).
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, event, text

from eventlink.db.session import engine
from eventlink.errors import AttemptLostError


@dataclass(frozen=True)
class Attempt:
    """Which job, by which worker, for the how manieth time."""

    job_id: int
    worker_id: int
    number: int
    """Attempts that ended before it."""


@dataclass(frozen=True)
class RetryLimits:
    """How often and when a job is tried again."""

    most_attempts: int
    backoff: float
    """Seconds until the second attempt; twice as long until each later one."""
    longest_backoff: float
    """Seconds."""


@dataclass(frozen=True)
class Requeued:
    """A job that an attempt left, and what became of it: ``todo``, ``failed`` or ``aborted``."""

    job_id: int
    type: str
    status: str


_THIS_ONE = "id = :job_id AND worker_id = :worker_id AND attempts = :number"
_LIVE = (
    "SELECT id, abort_requested FROM procrastinate_jobs"
    f" WHERE {_THIS_ONE} AND status = 'doing' FOR UPDATE"
)


def finish(conn: Connection, attempt: Attempt, status: str, *, delete: bool) -> bool:
    """End a job.

    Args:
        conn: Inside a transaction.
        attempt: Who says so.
        status: ``succeeded``, ``failed`` or ``aborted``. One that fails while it is to be
            cancelled was aborted.
        delete: Leave no row.

    Returns:
        Whether the attempt was the live one; if not, nothing is changed.
    """
    statement = text(
        f"WITH live AS ({_LIVE})"
        " SELECT procrastinate_finish_job_v1(id, cast("
        "        CASE WHEN abort_requested AND :status = 'failed' THEN 'aborted' ELSE :status END"
        "        AS procrastinate_job_status), :delete) FROM live"
    )
    values = {**asdict(attempt), "status": status, "delete": delete}
    return bool(conn.execute(statement, values).all())


def publish(conn: Connection, attempt: Attempt) -> None:
    """End a job as succeeded in the very transaction that publishes what it made.

    So a job publishes once: its worker, killed a moment later, leaves nothing to take over.

    Args:
        conn: Inside the publishing transaction.
        attempt: Who publishes.

    Raises:
        AttemptLostError: The attempt is not the live one, or is to be cancelled.
    """
    live = conn.execute(text(_LIVE), asdict(attempt)).one_or_none()
    if live is None or live.abort_requested:
        raise _lost(attempt)
    finish(conn, attempt, "succeeded", delete=False)


def has_succeeded(conn: Connection, attempt: Attempt) -> bool:
    """Tell whether it was this attempt that ended its job, as succeeded."""
    ended = {**asdict(attempt), "number": attempt.number + 1}
    statement = text(
        f"SELECT id FROM procrastinate_jobs WHERE {_THIS_ONE} AND status = 'succeeded'"
    )
    return conn.execute(statement, ended).one_or_none() is not None


_REQUEUE = (
    "UPDATE procrastinate_jobs AS job"
    "   SET status = (CASE WHEN abort_requested THEN 'aborted'"
    "                      WHEN attempts + 1 >= :most_attempts THEN 'failed'"
    "                      ELSE 'todo' END)::procrastinate_job_status,"
    "       abort_requested = false, attempts = attempts + 1,"
    "       scheduled_at = now() + interval '1 second'"
    "                    * least(:longest_backoff, :backoff * 2.0 ^ attempts),"
    # A job with the same lock may have been queued meanwhile, and only one of them can wait.
    "       queueing_lock = NULL"
)
_OUTCOME = " RETURNING id, task_name, status::text"


def requeue(conn: Connection, attempt: Attempt, limits: RetryLimits) -> Requeued | None:
    """Give a job back to the queue; after its last attempt it fails.

    Args:
        conn: Inside a transaction.
        attempt: Who gives it back.
        limits: How often and when it is tried again.

    Returns:
        What became of it, or None if the attempt is not the live one.
    """
    statement = text(f"{_REQUEUE} WHERE {_THIS_ONE} AND status = 'doing' {_OUTCOME}")
    row = conn.execute(statement, asdict(attempt) | asdict(limits)).one_or_none()
    return None if row is None else Requeued(*row)


def requeue_lost(
    conn: Connection, worker_id: int, held: Collection[int], limits: RetryLimits
) -> list[Requeued]:
    """Give back the jobs that the database says a worker has, and that it does not run.

    They come from a connection that broke between a commit and the answer to it.

    Args:
        conn: Inside a transaction.
        worker_id: Whose; it must not be fetching a job meanwhile.
        held: Ids of the jobs that it does run.
        limits: How often and when they are tried again.
    """
    lost = "worker_id = :worker_id AND status = 'doing' AND id <> ALL(cast(:held AS bigint[]))"
    values = {"worker_id": worker_id, "held": list(held), **asdict(limits)}
    rows = conn.execute(text(f"{_REQUEUE} WHERE {lost} {_OUTCOME}"), values)
    return [Requeued(*row) for row in rows]


_STALLED = (
    "status = 'doing' AND NOT EXISTS (SELECT FROM procrastinate_workers AS worker"
    "  WHERE worker.id = job.worker_id"
    "    AND last_heartbeat >= now() - :patience * interval '1 second')"
)


def stalled_jobs(conn: Connection, patience: float) -> list[int]:
    """Return the ids of running jobs whose worker has not been heard for ``patience`` seconds."""
    statement = text(f"SELECT id FROM procrastinate_jobs AS job WHERE {_STALLED} ORDER BY id")
    return list(conn.execute(statement, {"patience": patience}).scalars())


def take_over(
    conn: Connection, job_id: int, patience: float, limits: RetryLimits
) -> Requeued | None:
    """Give the job of a worker that is gone back to the queue.

    Args:
        conn: Inside a transaction.
        job_id: One of ``stalled_jobs``; looked at again, for its worker may have come back.
        patience: As there.
        limits: How often and when it is tried again.

    Returns:
        What became of it, or None if it is not stalled any more.
    """
    statement = text(f"{_REQUEUE} WHERE id = :job_id AND {_STALLED} {_OUTCOME}")
    values = {"job_id": job_id, "patience": patience, **asdict(limits)}
    row = conn.execute(statement, values).one_or_none()
    return None if row is None else Requeued(*row)


def beat(conn: Connection, worker_id: int) -> None:
    """Tell that a worker lives, also one that others took for dead and forgot."""
    statement = text(
        "INSERT INTO procrastinate_workers (id, last_heartbeat) OVERRIDING SYSTEM VALUE"
        " VALUES (:worker_id, now()) ON CONFLICT (id) DO UPDATE SET last_heartbeat = now()"
    )
    conn.execute(statement, {"worker_id": worker_id})


def forget_workers(conn: Connection, patience: float) -> None:
    """Delete the heartbeats of workers that are gone and have no job left to take over."""
    statement = text(
        "DELETE FROM procrastinate_workers AS worker"
        " WHERE last_heartbeat < now() - :patience * interval '1 second' AND NOT EXISTS"
        "       (SELECT FROM procrastinate_jobs WHERE worker_id = worker.id AND status = 'doing')"
    )
    conn.execute(statement, {"patience": patience})


def record_progress(conn: Connection, attempt: Attempt, phase: str, done: float) -> None:
    """Store how far a job is.

    Args:
        conn: Inside a transaction.
        attempt: Who runs it.
        phase: What it does now.
        done: Share of the phase that is done, 0 to 1.

    Raises:
        AttemptLostError: The attempt is not the live one.
    """
    statement = text(
        f"WITH live AS ({_LIVE})"
        " INSERT INTO job_progress (job_id, phase, done, updated_at)"
        " SELECT id, :phase, :done, now() FROM live"
        " ON CONFLICT (job_id) DO UPDATE SET phase = excluded.phase, done = excluded.done,"
        "    error = NULL, updated_at = now() RETURNING job_id"
    )
    values = {**asdict(attempt), "phase": phase, "done": done}
    if conn.execute(statement, values).one_or_none() is None:
        raise _lost(attempt)


def record_error(conn: Connection, job_id: int, error: str) -> None:
    """Store why the last attempt at a job failed, beside how far it was."""
    statement = text(
        "INSERT INTO job_progress (job_id, error, updated_at)"
        " SELECT id, :error, now() FROM procrastinate_jobs WHERE id = :job_id"
        " ON CONFLICT (job_id) DO UPDATE SET error = excluded.error, updated_at = now()"
    )
    conn.execute(statement, {"job_id": job_id, "error": error})


def name_sessions(attempt: Attempt) -> None:
    """Name this process's sessions by job and attempt, so that a later attempt can end them."""

    def name(session: Any, _record: object) -> None:
        session.execute(
            "SELECT set_config('application_name', %s, false)",
            [f"{_sessions(attempt)}{attempt.number}"],
        )
        session.commit()

    event.listen(engine(), "connect", name)


def end_earlier_sessions(conn: Connection, attempt: Attempt) -> None:
    """End what earlier attempts at a job still have open: they hold locks, and may be frozen.

    Args:
        conn: Inside a transaction.
        attempt: The live one.

    Raises:
        AttemptLostError: It is not the live one.
    """
    if conn.execute(text(_LIVE), asdict(attempt)).one_or_none() is None:
        raise _lost(attempt)
    statement = text(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(application_name, :name)"
        "   AND application_name <> :own"
    )
    name = _sessions(attempt)
    conn.execute(statement, {"name": name, "own": f"{name}{attempt.number}"})


def _sessions(attempt: Attempt) -> str:
    return f"eventlink job {attempt.job_id} attempt "


def _lost(attempt: Attempt) -> AttemptLostError:
    return AttemptLostError(
        f"job {attempt.job_id} was cancelled, or another worker took it over; this attempt at it"
        " changes nothing any more"
    )
