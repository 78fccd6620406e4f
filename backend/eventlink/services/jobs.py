"""Jobs: queue, look at, try again, cancel, and what keeps the queue healthy.

What does not live here: what a job does, and the process that runs it (``worker``).
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from eventlink.config import settings
from eventlink.db import attempts
from eventlink.db.attempts import RetryLimits
from eventlink.db.jobs import (
    RECOMPUTE,
    Enqueued,
    Heartbeat,
    Job,
    QueueDepth,
    heartbeats,
    prune_jobs,
    queue_depths,
    sweep_refreshes,
)
from eventlink.db.jobs import cancel_job as cancel
from eventlink.db.jobs import enqueue_retrain as enqueue
from eventlink.db.jobs import list_jobs as listed
from eventlink.db.session import transaction
from eventlink.errors import (
    ConflictError,
    DatabaseUnreachableError,
    InvalidOptionError,
    NotFoundError,
)
from eventlink.recsys.options import FOLDS, Activate, TrainOptions, require_folds

log = structlog.get_logger()

KEPT = timedelta(days=14)
"""How long a job that ended can be looked at: two weeks of nights. Millions of ended jobs make the
queue slow."""
LATE = timedelta(seconds=1)
"""A refresh that is later than this was not woken: waking and starting take milliseconds."""

MOST_ATTEMPTS = 5
"""A job that failed so often, or killed so many workers, is poison."""
LONGEST_BACKOFF = 600.0
"""Seconds. A nightly job should still be done by the morning."""


def usual_options(**asked: Any) -> TrainOptions:
    """Return the options of a recompute: what is asked for, else what the site's settings say.

    Commands show them as their defaults, so that no cron line need repeat them.

    Args:
        asked: By the names of ``TrainOptions``.

    Raises:
        InvalidOptionError: A value lies outside its range.
    """
    return TrainOptions(**settings().options_of_lists | asked)


@dataclass(frozen=True)
class Retrain:
    """What a recompute job does; its payload."""

    options: TrainOptions = field(default_factory=usual_options)
    skip_training: bool = False
    folds: int = FOLDS
    activate: Activate = Activate.IF_BETTER

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InvalidOptionError: A value lies outside its range.
        """
        require_folds(self.folds)

    def to_payload(self) -> dict[str, Any]:
        """Return what ``from_payload`` reads."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> "Retrain":
        """Read a payload; what it leaves out is as the site's settings say, else the default.

        Raises:
            InvalidOptionError: It is not of this version, or a value lies outside its range.
        """
        try:
            options = usual_options(**payload.get("options", {}))
            activate = Activate(payload.get("activate", Activate.IF_BETTER))
            return cls(**payload | {"options": options, "activate": activate})
        except (TypeError, ValueError) as error:
            raise InvalidOptionError(
                f"this version cannot read the job's payload: {error}; queue the job again"
            ) from error


def enqueue_retrain(conn: Connection, retrain: Retrain) -> Enqueued:
    """Queue a recompute unless one is queued or running.

    Args:
        conn: Inside a transaction; if it is rolled back, there is no job.
        retrain: What to do.
    """
    enqueued = enqueue(conn, retrain.to_payload())
    if enqueued.created:
        log.info("job queued", job_id=enqueued.job_id, job_type=RECOMPUTE)
    return enqueued


def list_jobs(
    conn: Connection,
    limit: int,
    before: int | None = None,
    status: str | None = None,
    type_: str | None = None,
) -> list[Job]:
    """Return jobs, the newest first.

    Args:
        conn: An open connection.
        limit: At most so many.
        before: Only jobs with a smaller id, to go on where a list ended.
        status: Only those of that status.
        type_: Only those of that type.
    """
    return listed(conn, limit, before, status=status, type_=type_)


def get_job(conn: Connection, job_id: int) -> Job:
    """Return a job.

    Raises:
        NotFoundError: There is none with that id.
    """
    found = listed(conn, 1, job_id=job_id)
    if not found:
        raise NotFoundError(f"there is no job {job_id}; jobs that ended are kept {KEPT.days} days")
    return found[0]


def retry_job(conn: Connection, job_id: int) -> Enqueued:
    """Queue a job like one that failed or was cancelled, unless one is queued or running.

    Args:
        conn: Inside a transaction.
        job_id: The job to repeat; it stays as it is.

    Raises:
        NotFoundError: There is none with that id.
        ConflictError: It did not fail.
    """
    job = get_job(conn, job_id)
    if job.status not in {"failed", "cancelled"}:
        raise ConflictError(f"job {job_id} is {job.status}; only a failed one can be tried again")
    if job.type != RECOMPUTE:
        raise ConflictError(f"job {job_id} needs no retry: users who are due are refreshed anyway")
    return enqueue_retrain(conn, Retrain.from_payload(job.payload.get("request", {})))


def cancel_job(conn: Connection, job_id: int) -> None:
    """Cancel a queued job, or make the worker stop a running one.

    Args:
        conn: Inside a transaction.
        job_id: Which.

    Raises:
        NotFoundError: There is none with that id.
        ConflictError: It has ended.
    """
    if not cancel(conn, job_id):
        job = get_job(conn, job_id)
        raise ConflictError(
            f"job {job_id} is {job.status}; only queued and running jobs can be cancelled"
        )
    log.info("job cancelled", job_id=job_id)


@dataclass(frozen=True)
class QueueStatus:
    """How the queue does."""

    queues: list[QueueDepth]
    workers: list[Heartbeat]


def queue_status(conn: Connection) -> QueueStatus:
    """Return what waits and runs, and the workers' heartbeats."""
    return QueueStatus(queue_depths(conn), heartbeats(conn))


def rescue_jobs(patience: float, backoff: float) -> None:
    """Give the jobs of workers that are gone back to the queue, each in a transaction of its own.

    Args:
        patience: Seconds without a heartbeat after which a worker is gone.
        backoff: Seconds until a job's second attempt.
    """
    with transaction() as conn:
        stalled = attempts.stalled_jobs(conn, patience)
    for job_id in stalled:
        try:
            _rescue(job_id, patience, backoff)
        except (DBAPIError, DatabaseUnreachableError) as error:
            # One job that cannot be rescued must not keep the others from it.
            log.exception("job not rescued", job_id=job_id, error=str(error))
    with transaction() as conn:
        attempts.forget_workers(conn, patience)


def _rescue(job_id: int, patience: float, backoff: float) -> None:
    with transaction() as conn:
        rescued = attempts.take_over(conn, job_id, patience, retry_limits(backoff))
        if rescued is None:
            return
        attempts.record_error(conn, job_id, f"its worker was not heard for {patience:g} seconds")
    log.warning("job rescued", job_id=job_id, job_type=rescued.type, status=rescued.status)


def retry_limits(backoff: float) -> RetryLimits:
    """Return how often and when a job is tried again.

    Args:
        backoff: Seconds until the second attempt.
    """
    return RetryLimits(MOST_ATTEMPTS, backoff, LONGEST_BACKOFF)


def sweep() -> None:
    """Start a refresh if somebody's is late, because a wake was lost or its worker died."""
    with transaction() as conn:
        if sweep_refreshes(conn, LATE):
            log.info("late refreshes found")


def prune(now: datetime) -> None:
    """Delete jobs that ended long ago."""
    while True:
        with transaction() as conn:
            if not prune_jobs(conn, now - KEPT):
                return
