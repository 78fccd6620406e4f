"""Event cards: what a list shows of an event, written as JSON once and shown to many.

What does not live here: which events are shown to whom (``services.recommendations``).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import to_json

from eventlink.db.pool import AsyncConnection, rows
from eventlink.db.served import EVENTS
from eventlink.recsys.reasons import render

LIFETIME = timedelta(seconds=60)
MOST = 20_000
"""Cards that a process keeps, about a kilobyte each."""


@dataclass(frozen=True)
class Card:
    """An event as JSON; good until the event's row changes.

    What it takes from other rows, names of tags and of the organizer, is at most ``LIFETIME`` old.
    The number of seats left is not on it.
    """

    version: bytes
    read_at: datetime
    json: bytes
    """Without the opening brace."""
    names: dict[str, str]
    """What fills gaps in reasons, by the gap's name."""
    tags: dict[str, str]
    """Id to name."""
    reasons: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Reason and language to JSON, of those that were asked for."""

    def reason(self, reason: str, language: str) -> bytes:
        """Return a reason as JSON."""
        written = self.reasons.get((reason, language))
        if written is None:
            code, _, argument = reason.partition(":")
            names = self.names | {"km": argument}
            if argument in self.tags:
                names["tag"] = self.tags[argument]
            written = to_json({"code": code, "text": render(reason, language, names)})
            self.reasons[reason, language] = written
        return written


_cards: dict[int, Card] = {}
"""The process's cards by event."""


async def cards(
    conn: AsyncConnection, now: datetime, versions: Iterable[tuple[int, bytes]]
) -> dict[int, Card]:
    """Return cards by event, and read those that are missing, of another version, or too old.

    Args:
        conn: Read only if there are such.
        now: The instant.
        versions: Events, each with the version wanted. One erased meanwhile keeps its old card,
            or has none.
    """
    oldest = now - LIFETIME
    # What is returned is the caller's own: the process's may lose cards while this waits.
    found: dict[int, Card] = {}
    wanted = []
    for event_id, version in versions:
        card = _cards.get(event_id)
        if card is not None:
            found[event_id] = card
        if card is None or card.version != version or card.read_at < oldest:
            wanted.append(event_id)
    if wanted:
        read = await rows(conn, EVENTS, {"event_ids": wanted})
        new = {row[0]: _card(now, *row) for row in read}
        found.update(new)
        _cards.update(new)
        if len(_cards) > MOST:
            for event_id in list(_cards)[: len(_cards) - MOST // 2]:
                del _cards[event_id]
    return found


def _card(
    now: datetime,
    event_id: int,
    version: bytes,
    title: str | None,
    category: str | None,
    city: str | None,
    venue: str | None,
    start_time: datetime,
    end_time: datetime | None,
    max_seats: int | None,
    organizer_id: int | None,
    organizer: str | None,
    tags: list[dict[str, Any]],
) -> Card:
    event = {
        "id": event_id,
        "title": title,
        "category": category,
        "city": city,
        "venue": venue,
        "start_time": start_time.astimezone(UTC),
        "end_time": end_time and end_time.astimezone(UTC),
        "organizer_id": organizer_id,
        "organizer": organizer,
        "max_seats": max_seats,
        "tags": tags,
    }
    names = {
        "organizer": organizer or (organizer_id and f"#{organizer_id}"),
        "category": category,
    }
    return Card(
        version,
        now,
        to_json(event)[1:],
        {key: str(name) for key, name in names.items() if name},
        {str(tag["id"]): tag["name"] for tag in tags},
    )
