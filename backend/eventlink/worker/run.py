"""The worker process: its loops, its signals, and how it stops.

What does not live here: what jobs do (``handlers``), the queue (``queue``).
"""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from procrastinate import App
from procrastinate.jobs import DeleteJobCondition
from procrastinate.periodic import PeriodicDeferrer
from procrastinate.worker import Worker

from eventlink.db.jobs import RECOMPUTE, REFRESH_QUEUE, TRAINING_QUEUE
from eventlink.errors import InvalidOptionError
from eventlink.services.guardrail import check
from eventlink.services.interactions import forget
from eventlink.services.jobs import prune, rescue_jobs, sweep
from eventlink.worker.handlers import Recompute, Refresh, boundary, register
from eventlink.worker.pulse import beat
from eventlink.worker.queue import TROUBLES, FencedManager, connector, warn
from eventlink.worker.timing import (
    CANCEL_EVERY,
    FETCH_EVERY,
    FORGET_EVERY,
    GUARD_EVERY,
    HAND_BACK_WITHIN,
    MISSED_WITHIN,
    PRUNE_EVERY,
    STOP_WITHIN,
    SWEEP_EVERY,
    Timing,
)

log = structlog.get_logger()

SIGNALS = (signal.SIGTERM, signal.SIGINT)


STUCK = 1
"""Exit code of a worker that could not stop in time."""


@dataclass(frozen=True)
class Schedules:
    """When a worker queues jobs by itself: cron lines in UTC; None is never."""

    recompute: str | None = None
    rank: str | None = None
    """For recomputes that train nothing."""


async def run(
    refresh: Refresh,
    recompute: Recompute,
    timing: Timing,
    schedules: Schedules,
    pulse: Path | None = None,
) -> None:
    """Run jobs until told to stop by SIGTERM or SIGINT; running ones are finished or given back.

    Args:
        refresh: Handler of refreshes.
        recompute: Handler of recomputes.
        timing: Of the heartbeat and what follows from it.
        schedules: When to queue what.
        pulse: A file to touch at every heartbeat.

    Raises:
        InvalidOptionError: A schedule is not a cron line.
    """
    _log_warnings_of_libraries()
    manager = FencedManager(connector(), timing)
    app = App(connector=manager.connector, periodic_defaults={"max_delay": MISSED_WITHIN})
    app.job_manager = manager
    register(app, recompute, refresh)
    _schedule(app, schedules)
    stop = _stop_on_signals()
    async with app.open_async():
        workers = [
            _worker(app, timing, TRAINING_QUEUE, DeleteJobCondition.NEVER),
            # There are many, and one that succeeded has nothing to tell.
            _worker(app, timing, REFRESH_QUEUE, DeleteJobCondition.SUCCESSFUL),
        ]
        queues = [asyncio.create_task(worker.run()) for worker in workers]  # type: ignore[no-untyped-call]  # their annotations lack it
        loops = [
            asyncio.create_task(_rescue(manager, timing)),
            asyncio.create_task(_every(SWEEP_EVERY, sweep)),
            asyncio.create_task(refresh.keep_up()),
            asyncio.create_task(_every(PRUNE_EVERY, lambda: prune(datetime.now(UTC)))),
            asyncio.create_task(
                _every(GUARD_EVERY, lambda: check(datetime.now(UTC), stop.is_set), _on_a_daemon)
            ),
            asyncio.create_task(
                _every(FORGET_EVERY, lambda: forget(datetime.now(UTC), stop.is_set), _on_a_daemon)
            ),
        ]
        if pulse is not None:
            loops.append(asyncio.create_task(beat(pulse, timing.heartbeat)))
        log.info("worker started")
        stopping = asyncio.create_task(stop.wait())
        # All but the last only end by an error, which is raised again below.
        await asyncio.wait([*queues, *loops, stopping], return_when=asyncio.FIRST_COMPLETED)
        log.info("worker stops")
        refresh.stop()
        for worker in workers:
            worker.stop()  # type: ignore[no-untyped-call]  # their annotations lack it
        for task in [*loops, stopping]:
            task.cancel()
        _, late = await asyncio.wait(queues, timeout=STOP_WITHIN + HAND_BACK_WITHIN)
        if late:
            log.error("the worker cannot stop in time; its jobs are left to be rescued")
            os._exit(STUCK)
        for task in [*queues, *loops]:
            with suppress(asyncio.CancelledError):
                await task
    if not stop.is_set():
        raise RuntimeError("a loop of the worker ended by itself")
    log.info("worker stopped")


def _worker(app: App, timing: Timing, queue: str, delete: DeleteJobCondition) -> Worker:
    return Worker(
        app,
        queues=[queue],
        name=queue,
        concurrency=1,
        fetch_job_polling_interval=FETCH_EVERY,
        abort_job_polling_interval=CANCEL_EVERY,
        shutdown_graceful_timeout=STOP_WITHIN,
        update_heartbeat_interval=timing.heartbeat,
        delete_jobs=delete,
        install_signal_handlers=False,
        worker_middleware=[boundary],
    )


def _schedule(app: App, schedules: Schedules) -> None:
    # Procrastinate queues in this order, and of two that are due at one instant the database takes
    # the first: the one that trains ranks as well. Nothing else is asked for, so that all else is
    # as the settings say when the job runs.
    for name, line, skip_training in (
        ("RECOMPUTE_SCHEDULE", schedules.recompute, False),
        ("RANK_SCHEDULE", schedules.rank, True),
    ):
        if line is None:
            continue
        request: dict[str, Any] = {"skip_training": skip_training}
        defer = app.periodic(cron=line, periodic_id=name, task_kwargs={"request": request})
        defer(app.tasks[RECOMPUTE])
        try:
            PeriodicDeferrer(app.periodic_registry).get_next_tick(at=time.time())
        except ValueError as error:
            raise InvalidOptionError(
                f"{name} must be a cron line with a time to come, such as '0 3 * * *', not {line!r}"
            ) from error


async def _every(
    seconds: float,
    work: Callable[[], None],
    on: Callable[[Callable[[], None]], Awaitable[None]] = asyncio.to_thread,
) -> None:
    while True:
        try:
            await on(work)
        except TROUBLES as error:
            warn(error)
        await asyncio.sleep(seconds)


async def _on_a_daemon(work: Callable[[], None]) -> None:
    """Run what may take long on a thread that a worker which is to stop does not wait for."""
    done: Future[None] = Future()
    done.set_running_or_notify_cancel()  # whoever waits may give up, the thread goes on

    def run() -> None:
        try:
            work()
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001 (raised where it is awaited)
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    await asyncio.wrap_future(done)


async def _rescue(manager: FencedManager, timing: Timing) -> None:
    """Rescue the jobs of dead workers, but not after an outage: then nobody has been heard."""
    clock = asyncio.get_running_loop().time
    manager.last_outage = clock()
    while True:
        await asyncio.sleep(timing.heartbeat)
        if clock() - manager.last_outage < timing.patience:
            continue
        try:
            # If it was we who slept, our own jobs are not to be taken for a dead worker's.
            for worker_id in manager.worker_ids:
                await manager.beat(worker_id)
            await asyncio.to_thread(rescue_jobs, timing.patience, timing.backoff)
        except TROUBLES as error:
            manager.note_outage(error)


def _stop_on_signals() -> asyncio.Event:
    """Return what the first signal sets; a second one ends the process as usual."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    return stop


class _ToStructlog(logging.Handler):
    """Passes what libraries warn of on to our log."""

    def emit(self, record: logging.LogRecord) -> None:
        # The outcome of a job is logged where it is stored.
        if not getattr(record, "action", "").startswith("job_"):
            log.log(record.levelno, record.getMessage(), logger=record.name)


def _log_warnings_of_libraries() -> None:
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()])
