"""Recommendations: one user's list as an answer, from the cache or, where that cannot be, not.

What does not live here: how lists are made (``services.recompute``, ``services.refresh``) and
the statements (``db.served``).

Nothing is written when a list is read: its ``request_id`` says all that is to be known of it.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg.types.numeric import Int8
from pydantic_core import to_json

from eventlink.config import settings
from eventlink.db import served
from eventlink.db.pool import AsyncConnection, Pool, on_connection, rows
from eventlink.errors import NotAuthenticatedError
from eventlink.recsys.reasons import LANGUAGES
from eventlink.services.event_cards import Card, cards
from eventlink.services.experiments import Arm, arm_of, code_of
from eventlink.services.request_ids import ShownList, Source, issue
from eventlink.services.tokens import Claims

log = structlog.get_logger()

PATIENCE_FOR_CACHE = 0.5
"""Seconds; where somebody has the stored lists locked for longer, the heuristic answers."""
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
EXPLORED = "explored"
"""The reason of an event that was drawn."""
ITEM = (
    b'{"rank":%d,"score":%.6g,"source":"%b","propensity":%.6g,"reason":%b,'
    b'"event":{"seats_left":%b,%b}'
)


@dataclass(frozen=True)
class Asked:
    """A request for recommendations."""

    reader: Claims
    limit: int
    now: datetime
    languages: tuple[str, ...]
    """Those that the reader's browser accepts, the best first."""
    nonce: bytes
    """Random, for the request id."""


@dataclass(frozen=True)
class Answer:
    """A list as JSON, and who made it."""

    source: Source
    body: bytes


class Item(NamedTuple):
    """An event to show."""

    source: Source
    event_id: int
    version: bytes
    seats_left: int | None
    score: float
    reason: str


@dataclass(frozen=True)
class Reader:
    """Whose list it is, and what the cache has for them."""

    language: str | None
    is_rankable: bool
    model_id: int | None = None
    model_version: str | None = None
    generated_at: datetime | None = None
    items: tuple[Item, ...] = ()


async def recommend(pool: Pool, asked: Asked) -> Answer:
    """Answer with a user's recommendations.

    The stored list is served if it is not too old and the user in no control arm; the heuristic
    fills up what is missing.

    Args:
        pool: Of asynchronous connections.
        asked: Who asks for how many.

    Raises:
        DatabaseUnreachableError: The server does not answer.
        NotAuthenticatedError: The user is gone, or their tokens were taken back.
    """
    # Whether the reader is rankable is read together with the list.
    arm = arm_of(asked.reader.user_id, is_rankable=True)

    async def work(conn: AsyncConnection) -> Answer:
        reader = await _read(conn, asked, arm)
        items = list(reader.items)
        if len(items) < asked.limit:
            items += await _heuristic(conn, asked, [item.event_id for item in items])
        drawn = await _drawn(conn, asked, reader)
        versions = [(item.event_id, item.version) for item in items]
        own = arm if reader.is_rankable else None
        return _write(asked, own, reader, items, drawn, await cards(conn, asked.now, versions))

    return await on_connection(pool, work)


async def _read(conn: AsyncConnection, asked: Asked, arm: Arm | None) -> Reader:
    """Return the reader with what the cache has; with nothing where it cannot be read.

    A second try does without the prepared plan: it may be what the error came from.
    """
    use, oldest = settings().recommendations_use_ml_cache and arm is not Arm.CONTROL, NEVER
    if use:
        oldest = asked.now - timedelta(seconds=settings().recommendations_cache_max_age_seconds)
    values = {**_reader(asked), "limit": Int8(asked.limit), "oldest": oldest}
    for prepare in (True, False):
        try:
            async with asyncio.timeout(PATIENCE_FOR_CACHE):
                found = await rows(conn, served.STORED, values, prepare=prepare)
        except TimeoutError:
            log.warning("the stored lists are locked; the heuristic answers")
            break
        except psycopg.Error as error:
            if conn.closed:
                raise
            log.warning("the stored lists cannot be read", error=type(error).__name__)
        else:
            return _stored(found)
    found = await rows(conn, served.READER, _reader(asked))
    return Reader(*_first(found))


def _reader(asked: Asked) -> dict[str, Any]:
    return {
        "user_id": Int8(asked.reader.user_id),
        "token_version": Int8(asked.reader.token_version),
        "now": asked.now,
    }


def _stored(found: list[tuple[Any, ...]]) -> Reader:
    language, is_rankable, model_id, model_version, epoch, event_id, *_ = _first(found)
    if event_id is None:
        return Reader(language, is_rankable)
    items = tuple(Item(Source.CACHE, *row[5:]) for row in found)
    generated_at = datetime.fromtimestamp(epoch, UTC)
    return Reader(language, is_rankable, model_id, model_version, generated_at, items)


def _first(found: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    if not found:
        raise NotAuthenticatedError("the token is no longer valid; log in")
    return found[0]


async def _drawn(conn: AsyncConnection, asked: Asked, reader: Reader) -> dict[int, float]:
    """Return the chances of the events that were drawn; asks only where there is one."""
    if not any(item.reason == EXPLORED for item in reader.items):
        return {}
    values = {"user_id": Int8(asked.reader.user_id), "generated_at": reader.generated_at}
    return dict(await rows(conn, served.DRAWN, values))


async def _heuristic(conn: AsyncConnection, asked: Asked, but: list[int]) -> list[Item]:
    values = {**_reader(asked), "but": but, "limit": Int8(asked.limit - len(but))}
    found = await rows(conn, served.HEURISTIC, values)
    return [Item(Source.HEURISTIC, *row) for row in found]


def _write(
    asked: Asked,
    arm: Arm | None,
    reader: Reader,
    items: list[Item],
    drawn: dict[int, float],
    cards: dict[int, Card],
) -> Answer:
    """Put the answer together from cards; an event erased meanwhile has none."""
    source = Source.CACHE if reader.items else Source.HEURISTIC
    language = spoken(reader.language, *asked.languages)
    generated_at = reader.generated_at or asked.now
    made = ShownList(
        source=source,
        model_id=reader.model_id or 0,
        user_id=asked.reader.user_id,
        shown_at=asked.now,
        generated_at=generated_at,
        arm=arm,
        experiment=0 if arm is None else code_of(settings().recommendations_experiment),
    )
    head = {
        "request_id": issue(made, settings().secret_key, asked.nonce),
        "source": source,
        "arm": arm,
        "model_version": reader.model_version,
        "generated_at": generated_at,
    }
    written: list[bytes] = []
    for item in items:
        card = cards.get(item.event_id)
        if card is not None:
            shown = (
                len(written) + 1,
                item.score,
                item.source.encode(),
                drawn.get(item.event_id, 1.0),
                card.reason(item.reason, language),
                b"null" if item.seats_left is None else b"%d" % item.seats_left,
                card.json,
            )
            written.append(ITEM % shown)
    return Answer(source, b'%b,"items":[%b]}' % (to_json(head)[:-1], b",".join(written)))


def spoken(*wanted: str | None) -> str:
    """Choose the first language in which reasons can be told; English if there is none.

    Args:
        wanted: Language tags (RFC 5646), the best first; ``ro-MD`` is served Romanian.
    """
    for tag in wanted:
        language = (tag or "").partition("-")[0].lower()
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]
