"""Whether the process lives and whether it can serve.

What does not live here: figures (``web.telemetry``).
"""

import asyncio
from typing import Literal

import psycopg
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from eventlink.db.status import current_migration, wanted_migration
from eventlink.errors import DatabaseUnreachableError, MigrationsMissingError
from eventlink.services.status import require_migration

router = APIRouter(tags=["health"])

PATIENCE = 1.5
"""Seconds that the database gets to answer; whoever asks usually waits two."""
SILENT = "the database does not answer"


class Live(BaseModel):
    """The process answers."""

    live: Literal[True] = True


class Ready(BaseModel):
    """Whether requests may be sent here, and if not, why."""

    ready: bool
    reason: str | None = None


@router.get("/live")
async def live() -> Live:
    """Tell that the process answers; nothing else is asked."""
    return Live()


@router.get("/ready", responses={503: {"model": Ready}})
async def ready(request: Request, response: Response) -> Ready:
    """Tell whether the database answers and is at a migration that this version can serve from."""
    reason = await _reason(request)
    if reason is not None:
        response.status_code = 503
    return Ready(ready=reason is None, reason=reason)


async def _reason(request: Request) -> str | None:
    """Return why not to send requests here.

    A database that hangs is asked once, however many ask us; a question that is given up is not
    cancelled, for that would wait for the database too.
    """
    state = request.app.state
    question: asyncio.Task[str | None] | None = getattr(state, "readiness", None)
    if question is None or question.done():
        question = state.readiness = asyncio.create_task(_ask())
    done, _ = await asyncio.wait({question}, timeout=PATIENCE)
    return question.result() if done else SILENT


async def _ask() -> str | None:
    try:
        await asyncio.to_thread(wanted_migration)  # reads files, the first time
        require_migration(await current_migration())
    except MigrationsMissingError as error:
        return str(error)
    except (psycopg.Error, DatabaseUnreachableError):
        return SILENT
    return None
