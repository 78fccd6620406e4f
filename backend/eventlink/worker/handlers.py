"""What each type of job does, and the boundary at which a job's errors end.

What does not live here: the use cases themselves (``services``), and the queue (``queue``).
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import structlog
from procrastinate import App, JobContext, RetryDecision
from procrastinate.exceptions import JobAborted
from procrastinate.job_context import AbortReason
from procrastinate.jobs import Job
from procrastinate.middleware import AsyncCallNext
from procrastinate.retry import BaseRetryStrategy
from procrastinate.worker import Worker

from eventlink.db import attempts
from eventlink.db.jobs import RECOMPUTE, REFRESH, REFRESH_QUEUE, TRAINING_QUEUE
from eventlink.db.refusals import in_a_line, refusal
from eventlink.errors import AttemptLostError, DatabaseUnreachableError, EventLinkError
from eventlink.services.jobs import MOST_ATTEMPTS
from eventlink.worker.queue import OUTAGES, TROUBLES, attempt_of, in_transaction, warn
from eventlink.worker.timing import CATCH_UP_EVERY, LOAD_LOOK_EVERY, RECONNECT_EVERY
from eventlink.worker.training import COMMAND, TrainingError, train

log = structlog.get_logger()

LONGEST_REFRESH_BACKOFF = 60.0
"""Seconds that a refresh which keeps failing waits: each failure leaves a row to look at."""


class RefreshesDue(Protocol):
    """Who re-ranks the users that are due; ``services.refresh.Refresher``."""

    def refresh_due(self, now: datetime) -> int:
        """Re-rank some of the users who are due and return how many; 0 if none is left."""

    def catch_up(self, now: datetime) -> bool:
        """Do a piece of what there is to do though nobody is due; tell whether there is more."""


class HandedBackError(Exception):
    """The worker stops, and gives a job back that another one can begin again at once."""


class Recompute:
    """The handler of ``recompute_recommendations_ml``.

    Args:
        command: What to start for a training.
    """

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self._command = command

    async def run(
        self, context: JobContext, request: dict[str, Any] | None = None, timestamp: int = 0
    ) -> None:
        """Train and publish in a child process, and store how far it is.

        Args:
            context: Procrastinate's.
            request: The payload; None is the usual recompute.
            timestamp: When a scheduled job was due.
        """
        del timestamp
        attempt = attempt_of(context.job)

        async def store(phase: str, done: float) -> None:
            record = partial(attempts.record_progress, attempt=attempt, phase=phase, done=done)
            try:
                await in_transaction(record)
            except TROUBLES as error:
                log.warning("progress not stored", error=in_a_line(error))
            except AttemptLostError:
                # Once it has published, its job has ended; it only tidies up.
                if not await in_transaction(partial(attempts.has_succeeded, attempt=attempt)):
                    raise

        result = await train(attempt, request or {}, store, self._command)
        log.info("recomputed", **result)


class Refresh:
    """The handler of ``refresh_user_recommendations_ml``, in one thread that keeps all warm.

    Args:
        make: Makes what re-ranks, in that thread, when the first job comes; it is given what is set
            when re-ranking is to stop.
    """

    def __init__(self, make: Callable[[threading.Event], RefreshesDue]) -> None:
        self._make = make
        self._refresher: RefreshesDue | None = None
        self._thread = ThreadPoolExecutor(1, "refresh")
        self._stop = threading.Event()
        self._failures = 0

    def stop(self) -> None:
        """Stop after the batch that is being re-ranked."""
        self._stop.set()

    async def run(self, context: JobContext) -> None:
        """Re-rank until nobody is due.

        Raises:
            HandedBackError: Told to stop before that.
        """
        del context
        drain = self._in_thread(self._drain)
        try:
            drained = await asyncio.shield(drain)
        except asyncio.CancelledError:
            self._stop.set()
            # A batch takes milliseconds, one runs at a time, and none waits any more.
            await asyncio.gather(drain, return_exceptions=True)
            self._stop.clear()
            raise
        except OUTAGES:
            await asyncio.sleep(RECONNECT_EVERY)
            raise
        except Exception:
            # Who was due stays so, and is found by the next job. It may be what is kept warm that
            # is broken.
            self._refresher = None
            await asyncio.sleep(min(2.0**self._failures, LONGEST_REFRESH_BACKOFF))
            self._failures += 1
            raise
        self._failures = 0
        if not drained:
            raise HandedBackError

    async def keep_up(self) -> None:
        """Learn of new events and models also while nobody is due, as long as the worker runs."""
        while True:
            pause = CATCH_UP_EVERY
            try:
                # A piece at a time: in between the thread is free for who is due.
                if await self._in_thread(self._catch_up):
                    pause = LOAD_LOOK_EVERY
            except OUTAGES as error:
                warn(error)
            except EventLinkError as error:
                log.warning("refreshes cannot be prepared", error=str(error))
                pause = LONGEST_REFRESH_BACKOFF
            except Exception as error:
                if refusal(error) is None:
                    log.exception("refreshes cannot be prepared")
                else:
                    log.warning("refreshes cannot be prepared", error=in_a_line(error))
                    log.debug("the database refused a statement", exc_info=True)
                self._refresher = None  # it may be what is kept warm that is broken
                pause = LONGEST_REFRESH_BACKOFF
            await asyncio.sleep(pause)

    def _in_thread(self, work: Callable[[], bool]) -> asyncio.Future[bool]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _drain(self) -> bool:
        """Re-rank and tell whether nobody is left."""
        while not self._stop.is_set():
            if not self._made().refresh_due(datetime.now(UTC)):
                break
        return not self._stop.is_set()

    def _catch_up(self) -> bool:
        return not self._stop.is_set() and self._made().catch_up(datetime.now(UTC))

    def _made(self) -> RefreshesDue:
        refresher = self._refresher = self._refresher or self._make(self._stop)
        return refresher


async def boundary(call_next: AsyncCallNext, context: JobContext, worker: Worker) -> Any:
    """Run a job: name it in the log, tell and store why it failed, and tell cancelled from stopped.

    The only place where every error of a job ends.
    """
    del worker
    job = context.job
    names = {"job_id": job.id, "job_type": job.task_name, "attempt": job.attempts + 1}
    with structlog.contextvars.bound_contextvars(**names):
        if job.task_name != REFRESH:  # there are many
            log.info("job started")
        try:
            return await call_next()
        except asyncio.CancelledError as cancelled:
            if context.abort_reason() is AbortReason.SHUTDOWN:
                raise HandedBackError from cancelled
            raise JobAborted from cancelled
        except HandedBackError:
            raise
        except AttemptLostError as error:
            log.warning("attempt lost", error=str(error))
            raise
        except TrainingError as error:
            await _failed(job, str(error))
            raise
        except Exception as error:
            if refusal(error) is not None:
                # It may be our own SQL that is wrong, and not the database.
                log.debug("a job's handler failed", exc_info=True)
            elif not isinstance(error, DatabaseUnreachableError):
                log.exception("a job's handler failed")
            await _failed(job, in_a_line(error))
            raise


async def _failed(job: Job, error: str) -> None:
    log.error("attempt failed", error=error)
    try:
        await in_transaction(
            partial(attempts.record_error, job_id=attempt_of(job).job_id, error=error)
        )
    except TROUBLES as away:
        log.warning("the error was not stored", error=in_a_line(away))


class TryAgain(BaseRetryStrategy):
    """Try a recompute again unless it is hopeless, was lost, or was tried often enough."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Decide; the manager knows how long to wait."""
        if isinstance(exception, HandedBackError):
            return RetryDecision(retry_at=datetime.now(UTC))
        hopeless = isinstance(exception, TrainingError) and exception.hopeless
        if hopeless or isinstance(exception, AttemptLostError) or job.attempts + 1 >= MOST_ATTEMPTS:
            return None
        return RetryDecision()


class HandBackOnly(BaseRetryStrategy):
    """Never try a refresh again: users who stay due are found by the next one."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Decide."""
        del job
        if isinstance(exception, HandedBackError):
            return RetryDecision(retry_at=datetime.now(UTC))
        return None


def register(app: App, recompute: Recompute, refresh: Refresh) -> None:
    """Tell Procrastinate which handler a type of job has.

    Neither has a lock: the database allows one recompute, and a second refresh finds nobody due.
    """
    app.task(name=RECOMPUTE, queue=TRAINING_QUEUE, retry=TryAgain(), pass_context=True)(
        recompute.run
    )
    app.task(name=REFRESH, queue=REFRESH_QUEUE, retry=HandBackOnly(), pass_context=True)(
        refresh.run
    )
