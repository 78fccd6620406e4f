"""``eventlink worker``."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from eventlink.config import settings
from eventlink.db.session import connection, require_migrations
from eventlink.services.refresh import Refresher
from eventlink.worker import pulse
from eventlink.worker.handlers import Recompute, Refresh
from eventlink.worker.run import Schedules, run
from eventlink.worker.timing import Timing


def worker(
    pulse_file: Annotated[
        Path | None,
        typer.Option(
            "--pulse",
            metavar="FILE",
            help="Touch this file at every heartbeat, for check-worker.",
            show_default="none",
        ),
    ] = None,
) -> None:
    """Run the queued jobs, until interrupted.

    Recomputes run one at a time in a process of their own, and refreshes beside them. Any number
    of workers may run; one that dies is replaced by the others.
    """
    if pulse_file is not None:
        pulse.touch(pulse_file)
    with connection() as conn:
        require_migrations(conn)
    timing = Timing(settings().worker_heartbeat_seconds)
    schedules = Schedules(settings().recompute_schedule, settings().rank_schedule)
    asyncio.run(run(Refresh(Refresher), Recompute(), timing, schedules, pulse_file))
