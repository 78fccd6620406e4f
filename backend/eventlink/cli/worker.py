"""``eventlink worker``."""

import asyncio

from eventlink.config import settings
from eventlink.db.session import connection, require_migrations
from eventlink.services.refresh import Refresher
from eventlink.worker.handlers import Recompute, Refresh
from eventlink.worker.run import run
from eventlink.worker.timing import Timing


def worker() -> None:
    """Run the queued jobs, until interrupted.

    Recomputes run one at a time in a process of their own, and refreshes beside them. Any number
    of workers may run; one that dies is replaced by the others.
    """
    with connection() as conn:
        require_migrations(conn)
    timing = Timing(settings().worker_heartbeat_seconds)
    asyncio.run(run(Refresh(Refresher), Recompute(), timing, settings().recompute_schedule))
