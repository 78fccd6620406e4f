"""Interactions: what users did with what they were shown, as far as it can be true.

What does not live here: the form of a request (``web.api.interactions``), the statement
(``db.interactions``).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from psycopg.types.numeric import Int8
from pydantic_core import to_json

from eventlink.config import settings
from eventlink.db.interactions import STORE, may_forget
from eventlink.db.interactions import forget as forget_batch
from eventlink.db.jobs import WAKE_REFRESH
from eventlink.db.pool import AsyncConnection, Pool, on_connection, rows
from eventlink.db.refreshes import MARK
from eventlink.db.session import transaction
from eventlink.errors import DatabaseUnreachableError, NotAuthenticatedError
from eventlink.recsys.dataset import LONG_DWELL_SECONDS
from eventlink.services.experiments import code_of
from eventlink.services.rate_limits import (
    INTERACTIONS_FROM,
    INTERACTIONS_OF_USER,
    INTERACTIONS_SPOKEN_FOR,
    charge,
    network,
)
from eventlink.services.request_ids import ShownList, read
from eventlink.services.tokens import Claims

log = structlog.get_logger()

WITHOUT_EVENT = ("search", "filter")
MEANINGFUL = ("click", "view", "share", "search", "filter", "favorite", "register")
"""After these, and after dwelling long, the user's ranking is made anew."""
SILENT = ("impression", "unregister")
"""Never after these."""
SPOKEN_FOR = ("impression", "click", "view", "dwell")
"""What a list's request id stands for in place of a token: what its page saw, and no decision."""
SPOKEN_FOR_WITHIN = timedelta(days=1)
"""How long after the list was shown; a page that is open for longer has a token."""
CLOCK_SKEW = timedelta(minutes=2)
"""How far a client's clock may be ahead."""
OLDEST = timedelta(days=7)
"""How long a client may keep what it could not send."""
BATCH = 20_000
"""Interactions that are looked at in a transaction, so that none is long."""

REFUSALS = {
    "missing_event": "this type needs an event_id",
    "missing_dwell": "a dwell needs dwell_seconds",
    "in_future": "occurred_at lies in the future; check the clock, or leave it out",
    "too_old": f"occurred_at is more than {OLDEST.days} days ago",
    "foreign_request_id": "this request_id was given to another user",
    "needs_token": f"without a token a request_id is good for {', '.join(SPOKEN_FOR)} only",
    "stale_request_id": "this request_id is too old to speak for its user; send the access token",
    "client_id_taken": "another user has sent this client_id; make them random",
    "unknown_event": "there is no such event",
    "not_registered": "the user is not registered for this event",
    "not_unregistered": "the user has not taken back a registration for this event",
    "not_favorite": "the event is not among the user's favourites",
}
"""Why one interaction of a batch is not kept."""


@dataclass(frozen=True)
class Interaction:
    """One act, in a form that can be stored; the names are those of ``db.interactions``."""

    number: int
    """Its place in the batch."""
    type: str
    event_id: int | None
    occurred_at: datetime | None
    """None: now."""
    request_id: str | None
    position: int | None
    dwell_seconds: float | None
    client_id: str | None
    meta: dict[str, Any] | None


@dataclass(frozen=True)
class Batch:
    """Interactions of one user, or of somebody not logged in."""

    actor: Claims | None
    address: str
    """Of the client."""
    now: datetime
    size: int
    """As it was sent."""
    interactions: Sequence[Interaction]
    """Those in good form."""


@dataclass(frozen=True)
class Refusal:
    """An interaction that was not kept."""

    index: int
    code: str
    text: str


@dataclass(frozen=True)
class Outcome:
    """What became of a batch."""

    accepted: int
    duplicates: int
    refused: list[Refusal]
    due_at: datetime | None
    """When the user's ranking is to be refreshed, for ``wake``."""


async def record(pool: Pool, batch: Batch) -> Outcome:
    """Store what a batch tells, each interaction on its own merits.

    Raises:
        DatabaseUnreachableError: The server does not answer.
        NotAuthenticatedError: The user is gone, or their tokens were taken back.
        TooManyRequestsError: The user or the address sends too much.
    """
    good, refused = _judge(batch)
    distinct = list({_identity(row): row for row in reversed(good)}.values())

    async def work(conn: AsyncConnection) -> tuple[tuple[Any, ...], datetime | None]:
        await _charge(conn, batch, distinct)
        return await _store(conn, batch, distinct)

    (_, accepted, _, refused_later), due_at = await on_connection(pool, work)
    refused += [_refusal(number, code) for number, code in refused_later]
    refused.sort(key=lambda one: one.index)
    return Outcome(accepted, len(good) - len(refused_later) - accepted, refused, due_at)


async def wake(pool: Pool, due_at: datetime) -> None:
    """Tell the workers of a mark that is committed; if this fails they find it later by themselves.

    Args:
        pool: Of asynchronous connections.
        due_at: When the refresh is due.
    """

    async def work(conn: AsyncConnection) -> None:
        await conn.execute(WAKE_REFRESH, {"due_at": due_at})

    try:
        await on_connection(pool, work)
    except DatabaseUnreachableError as error:
        log.warning("the workers could not be woken", error=str(error))


def forget(now: datetime, stopped: Callable[[], bool] = lambda: False) -> None:
    """Delete the interactions that are older than the settings keep them.

    One worker at a time does so: whoever finds another one at it leaves the rest to that one, which
    looks at all.

    Args:
        now: The instant.
        stopped: Whether to end before all are looked at.
    """
    days = settings().interactions_kept_days
    if not days:
        return
    deleted, last = 0, None
    while not stopped():
        with transaction() as conn:
            if not may_forget(conn):
                break
            last, gone = forget_batch(conn, now - timedelta(days=days), last, BATCH)
        deleted += gone
        if last is None:
            break
    if deleted:
        log.info("old interactions deleted", interactions=deleted)


def _judge(batch: Batch) -> tuple[list[dict[str, Any]], list[Refusal]]:
    """Turn interactions into rows to store, and refuse what cannot be true."""
    good, refused = [], []
    for one in batch.interactions:
        at = one.occurred_at or batch.now
        shown = None
        if one.request_id is not None:
            shown = read(one.request_id, settings().secret_key, batch.now)
        code = _why_not(batch, one, at, shown)
        if code is not None:
            refused.append(_refusal(one.number, code))
            continue
        row = vars(one) | {
            "user_id": batch.actor and batch.actor.user_id,
            "occurred_at": min(at, batch.now),
            "source": None,
            "model_id": None,
            "experiment": None,
            "arm": None,
        }
        if shown is not None:
            row |= {"source": shown.source, "model_id": shown.model_id, **_part(shown)}
            if batch.actor is None:
                earliest = max(row["occurred_at"], shown.shown_at)
                row |= {"user_id": shown.user_id, "occurred_at": earliest}
        good.append(row)
    return good, refused


def _part(shown: ShownList) -> dict[str, Any]:
    """Return the experiment that a list was part of; of one that is not set any more, nothing."""
    name = settings().recommendations_experiment
    if shown.arm is None or shown.experiment != code_of(name):
        return {}
    return {"experiment": name, "arm": shown.arm}


def _why_not(batch: Batch, one: Interaction, at: datetime, shown: ShownList | None) -> str | None:
    if one.event_id is None and one.type not in WITHOUT_EVENT:
        return "missing_event"
    if one.dwell_seconds is None and one.type == "dwell":
        return "missing_dwell"
    if at > batch.now + CLOCK_SKEW:
        return "in_future"
    if at < batch.now - OLDEST:
        return "too_old"
    return None if shown is None else _why_not_of(shown, batch, one)


def _why_not_of(shown: ShownList, batch: Batch, one: Interaction) -> str | None:
    """Return why an act on a list is not kept.

    A request id ends up in logs and browser histories. So it is no token: it lets its holder tell
    what became of that one list, for a day, and nothing that changes anything else.
    """
    if batch.actor is not None:
        return None if shown.user_id == batch.actor.user_id else "foreign_request_id"
    if one.type not in SPOKEN_FOR:
        return "needs_token"
    return "stale_request_id" if batch.now - shown.shown_at > SPOKEN_FOR_WITHIN else None


def _refusal(index: int, code: str) -> Refusal:
    return Refusal(index, code, REFUSALS[code])


def _identity(row: dict[str, Any]) -> object:
    """Return what is equal for two rows that tell of the same act."""
    if row["client_id"] is not None:
        return row["client_id"]
    return to_json({**row, "number": None})


async def _charge(conn: AsyncConnection, batch: Batch, distinct: list[dict[str, Any]]) -> None:
    cost = max(batch.size, 1)
    if batch.actor is not None:
        await charge(conn, INTERACTIONS_OF_USER, str(batch.actor.user_id), cost)
    else:
        spoken_for = Counter(row["user_id"] for row in distinct if row["user_id"] is not None)
        for user_id, count in spoken_for.items():
            await charge(conn, INTERACTIONS_SPOKEN_FOR, str(user_id), count)
    await charge(conn, INTERACTIONS_FROM, network(batch.address), cost)


async def _store(
    conn: AsyncConnection, batch: Batch, distinct: list[dict[str, Any]]
) -> tuple[tuple[Any, ...], datetime | None]:
    """Store rows and, in the same transaction, the mark that they are reason for."""
    actor = batch.actor
    values = {
        "user_id": actor and Int8(actor.user_id),
        "token_version": actor and Int8(actor.token_version),
        "now": batch.now,
        "interactions": to_json(distinct, inf_nan_mode="null").decode(),
        "meaningful": list(MEANINGFUL),
        "long_dwell": LONG_DWELL_SECONDS,
    }
    silent = all(row["type"] in SILENT for row in distinct)
    if actor is None or silent or not settings().refreshes_enabled:
        return await _stored(conn, values), None
    async with conn.transaction():
        found = await _stored(conn, values)
        due_at = None
        if found[2]:
            seconds = settings().recommendations_realtime_refresh_min_interval_seconds
            marked = {"user_id": Int8(actor.user_id), "min_interval": seconds}
            [(due_at,)] = await rows(conn, MARK, marked)
    return found, due_at


async def _stored(conn: AsyncConnection, values: dict[str, Any]) -> tuple[Any, ...]:
    [found] = await rows(conn, STORE, values)
    if values["user_id"] is not None and not found[0]:
        raise NotAuthenticatedError("the token is no longer valid; log in")
    return found
