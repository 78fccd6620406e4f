"""What routes that change a user's taste depend on: their ranking is refreshed.

What does not live here: when that is due (``services.refresh_marks``).
"""

import asyncio
from collections.abc import Iterator
from datetime import datetime

from fastapi import BackgroundTasks, Depends, Request
from fastapi.concurrency import run_in_threadpool

from eventlink.services.refresh_marks import mark, wake
from eventlink.web.requests import CurrentUser, Transaction


def _refreshed(
    request: Request, conn: Transaction, user: CurrentUser, after: BackgroundTasks
) -> Iterator[None]:
    yield
    after.add_task(_wake, request.app.state.turns, mark(conn, user.id))


async def _wake(turns: asyncio.Semaphore, due_at: datetime | None) -> None:
    async with turns:
        await run_in_threadpool(wake, due_at)


refreshes_ranking = Depends(_refreshed, scope="function")
"""The mark is part of the route's transaction; the worker is told once that is committed."""
