"""The queue as a worker uses it: Procrastinate's, fenced, and deaf to a server that is away.

What does not live here: what jobs do (``handlers``), and SQL (``db.attempts``).

Procrastinate's worker ends a job by its id alone, gives up for good when a heartbeat or a fetch
meets a database that restarts, and never misses a job that the database gave it in an answer that
got lost. Its JobManager is the seam at which all of this is mended.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import psycopg
import structlog
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager, NotificationCallback
from procrastinate.periodic import MAX_DELAY
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from eventlink.db import attempts
from eventlink.db.attempts import Attempt
from eventlink.db.jobs import REFRESH, leave_out, was_missed
from eventlink.db.refusals import in_a_line
from eventlink.db.session import libpq_url, transaction
from eventlink.errors import DatabaseUnreachableError
from eventlink.services.jobs import retry_limits
from eventlink.worker.timing import RECONNECT_EVERY, Timing

log = structlog.get_logger()

Answer = TypeVar("Answer")

OUTAGES = (
    ConnectorException,
    DatabaseUnreachableError,
    OperationalError,
    InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
"""What a database that is away, or comes back, looks like."""

TROUBLES = (*OUTAGES, DBAPIError, psycopg.Error)
"""That, and a statement that the database refuses: what the loops of a worker outlive."""


def connector() -> PsycopgConnector:
    """Return Procrastinate's way to the database: a small pool, for fetching takes a millisecond.

    A server that falls silent is given up after 20 seconds, not after the system's 15 minutes.
    """
    return PsycopgConnector(
        conninfo=libpq_url(),
        min_size=1,
        max_size=3,
        timeout=2.0,
        reconnect_timeout=1.0,  # it waits longer and longer; whoever asks next begins anew
        kwargs={
            "application_name": "eventlink worker",
            "connect_timeout": 10,
            "tcp_user_timeout": 20_000,
        },
    )


def attempt_of(job: Job) -> Attempt:
    """Return the attempt that a job, as it was fetched, is."""
    assert job.id is not None  # noqa: S101 (only a job that was never queued has none)
    assert job.worker_id is not None  # noqa: S101 (whoever fetches a job signs it)
    return Attempt(job.id, job.worker_id, job.attempts)


async def in_transaction(function: Callable[[Connection], Answer]) -> Answer:
    """Run a function of a connection in a transaction, in another thread."""

    def run() -> Answer:
        with transaction() as conn:
            return function(conn)

    return await asyncio.to_thread(run)


def warn(error: Exception) -> None:
    """Log that the database is away, or refuses a statement; Procrastinate has one error for both.

    Args:
        error: One of ``TROUBLES``.
    """
    inner = error.__cause__ if isinstance(error, ConnectorException) else None
    cause = inner if isinstance(inner, Exception) else error
    away = isinstance(cause, OUTAGES)
    log.warning(
        "the database is away" if away else "the database refuses a statement",
        error=in_a_line(cause),
    )


class FencedManager(JobManager):
    """Procrastinate's manager, with every statement about a job bound to the live attempt.

    Args:
        connector: Procrastinate's.
        timing: Of the worker.
    """

    def __init__(self, connector: PsycopgConnector, timing: Timing) -> None:
        super().__init__(connector)
        self.timing = timing
        self.last_outage = float("-inf")
        """When the database was last away, by the event loop's clock."""
        self._held: dict[int, set[int]] = {}
        """The jobs that each of our workers runs."""
        self._unsure: set[int] = set()
        """Workers that may have other jobs by the database's word."""

    @property
    def worker_ids(self) -> list[int]:
        """The workers of this process that are registered."""
        return list(self._held)

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:
        """Leave the dead to ``services.jobs.rescue_jobs``, which takes their jobs first."""
        del seconds_since_heartbeat
        return []

    async def register_worker(self) -> int:
        """Register a worker, and remember it."""
        worker_id = await super().register_worker()
        self._held[worker_id] = set()
        return worker_id

    async def unregister_worker(self, worker_id: int) -> None:
        """Forget a worker; without a database its heartbeat just grows old."""
        self._held.pop(worker_id, None)
        try:
            await super().unregister_worker(worker_id)
        except TROUBLES as error:
            self.note_outage(error)

    async def update_heartbeat(self, worker_id: int) -> None:
        """Tell that a worker lives; go on without a database."""
        try:
            await self.beat(worker_id)
        except TROUBLES as error:
            self.note_outage(error)

    async def beat(self, worker_id: int) -> None:
        """Tell that a worker lives, unless it has signed off meanwhile."""

        def tell(conn: Connection) -> None:
            if worker_id in self._held:
                attempts.beat(conn, worker_id)

        await in_transaction(tell)

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """Fetch a job; None also without a database."""
        try:
            if worker_id in self._unsure:
                await self._compare(worker_id)
            job = await super().fetch_job(queues, worker_id)
        except TROUBLES as error:
            self._unsure.add(worker_id)
            self.note_outage(error)
            await asyncio.sleep(RECONNECT_EVERY)
            return None
        if job is not None and job.id is not None:
            self._held[worker_id].add(job.id)
        return job

    async def _compare(self, worker_id: int) -> None:
        """After an outage: be registered, and give back what an answer that got lost gave us."""
        await self.beat(worker_id)
        lost = await in_transaction(
            partial(
                attempts.requeue_lost,
                worker_id=worker_id,
                held=self._held[worker_id],
                limits=retry_limits(0),
            )
        )
        self._unsure.discard(worker_id)
        for job in lost:
            log.warning("job requeued", job_id=job.job_id, job_type=job.type, status=job.status)

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """End a job, if this attempt is the live one."""
        attempt = attempt_of(job)

        def finish(conn: Connection) -> str:
            if attempts.finish(conn, attempt, status.value, delete=delete_job):
                return status.value
            return "succeeded" if attempts.has_succeeded(conn, attempt) else "refused"

        await self._end(job, finish)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Give a job back, if this attempt is the live one: after a while, or at ``retry_at``."""
        del priority, queue, lock
        attempt = attempt_of(job)
        limits = retry_limits(self.timing.backoff)
        if retry_at is not None:
            limits = replace(limits, backoff=0)

        def retry(conn: Connection) -> str:
            requeued = attempts.requeue(conn, attempt, limits)
            if requeued is not None:
                return "requeued" if requeued.status == "todo" else requeued.status
            return "succeeded" if attempts.has_succeeded(conn, attempt) else "refused"

        await self._end(job, retry)

    async def _end(self, job: Job, how: Callable[[Connection], str]) -> None:
        attempt = attempt_of(job)
        tell = log.bind(job_id=job.id, job_type=job.task_name, attempt=attempt.number + 1)
        try:
            outcome = await in_transaction(how)
        except TROUBLES as error:
            self._unsure.add(attempt.worker_id)
            self.note_outage(error)
            tell.warning("job left to be requeued", error=in_a_line(error))
        else:
            if outcome == "refused":
                tell.warning("attempt refused: the job was taken over, or cancelled")
            elif job.task_name != REFRESH or outcome != "succeeded":  # there are many
                tell.info(f"job {outcome}")
        finally:
            self._held.get(attempt.worker_id, set()).discard(attempt.job_id)

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """Listen for new jobs, again after every outage."""
        while True:
            try:
                await super().listen_for_jobs(on_notification=on_notification, queues=queues)
            except TROUBLES as error:
                self.note_outage(error)
            await asyncio.sleep(RECONNECT_EVERY)

    async def defer_periodic_job(
        self, job: Job, periodic_id: str, defer_timestamp: int
    ) -> int | None:
        """Queue a scheduled job once, unless one is queued or running; wait out an outage."""
        while True:
            try:
                return await self._defer_once(job, periodic_id, defer_timestamp)
            except TROUBLES as error:
                self.note_outage(error)
            await asyncio.sleep(RECONNECT_EVERY)

    async def _defer_once(self, job: Job, periodic_id: str, defer_timestamp: int) -> int | None:
        due: dict[str, Any] = {
            "type_": job.task_name,
            "schedule": periodic_id,
            "at": defer_timestamp,
        }
        # Procrastinate makes up for what is a few minutes late, whatever was before.
        late = time.time() - defer_timestamp > MAX_DELAY
        if not late or await in_transaction(partial(was_missed, **due)):
            try:
                return await super().defer_periodic_job(job, periodic_id, defer_timestamp)
            except UniqueViolation:
                log.info("already queued or running", job_type=job.task_name)
        # Or the next worker that starts would find it due, hours later.
        await in_transaction(partial(leave_out, **due))
        return None

    def note_outage(self, error: Exception) -> None:
        """Remember that the database was away a moment ago, or of no use."""
        now = asyncio.get_running_loop().time()
        if now - self.last_outage > self.timing.patience:
            warn(error)
        self.last_outage = now
