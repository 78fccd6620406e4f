"""Refresh marks: whoever changed what they like is ranked anew soon.

What does not live here: the marks themselves (``db.refreshes``), the worker's queue (``db.jobs``).
"""

from datetime import datetime

import structlog
from sqlalchemy import Connection

from eventlink.config import settings
from eventlink.db.jobs import wake_refresh
from eventlink.db.refreshes import mark_for_refresh
from eventlink.db.session import transaction
from eventlink.errors import DatabaseUnreachableError

log = structlog.get_logger()


def mark(conn: Connection, user_id: int) -> datetime | None:
    """Mark a user for a refresh, in the transaction of what the user did.

    Args:
        conn: Inside that transaction.
        user_id: Whose ranking.

    Returns:
        When the refresh is due, for ``wake``; None where refreshes are turned off.
    """
    if not settings().refreshes_enabled:
        return None
    seconds = settings().recommendations_realtime_refresh_min_interval_seconds
    return mark_for_refresh(conn, user_id, seconds)


def wake(due_at: datetime | None) -> None:
    """Tell the workers of a mark, in a transaction of its own, after the mark is committed.

    If this fails they find it later by themselves.

    Args:
        due_at: What ``mark`` returned.
    """
    if due_at is None:
        return
    try:
        with transaction() as conn:
            wake_refresh(conn, due_at)
    except DatabaseUnreachableError as error:
        log.warning("the workers could not be woken", error=str(error))
