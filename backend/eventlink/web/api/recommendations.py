"""Routes of recommendations.

What does not live here: how the list is put together (``services.recommendations``). The answer is
written as bytes, and its model is there for the documentation; a test holds the one to the other.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from eventlink.errors import NotAuthenticatedError
from eventlink.services.experiments import Arm
from eventlink.services.recommendations import Asked, recommend
from eventlink.services.request_ids import NONCE_BYTES, Source
from eventlink.web.errors import answers
from eventlink.web.requests import WITH_TOKEN, Asker
from eventlink.web.telemetry import RECOMMENDATIONS

router = APIRouter(tags=["recommendations"])

LONGEST = 1000
"""The most that a recompute stores for a user."""


@dataclass(frozen=True)
class Tag:
    """A topic."""

    id: int
    name: str


@dataclass(frozen=True)
class Reason:
    """Why an event is shown."""

    code: str
    text: str
    """In the user's language."""


@dataclass(frozen=True)
class RecommendedEvent:
    """An event that the user may register for."""

    id: int
    title: str | None
    category: str | None
    city: str | None
    venue: str | None
    start_time: datetime
    end_time: datetime | None
    organizer_id: int | None
    organizer: str | None
    max_seats: int | None
    seats_left: int | None
    """Null where there is no limit."""
    tags: list[Tag]


@dataclass(frozen=True)
class Recommendation:
    """An event in its place."""

    rank: int
    score: float
    """Comparable only with scores of the same source."""
    source: Source
    propensity: float
    """The chance with which the event was drawn for its place, where the list explores; else 1."""
    reason: Reason
    event: RecommendedEvent


@dataclass(frozen=True)
class Recommendations:
    """A list, best first; ``request_id`` is to come back with what the user does with it."""

    request_id: str
    source: Source
    arm: Arm | None
    """My arm of the experiment; null where none runs, or no rankings are made for me."""
    model_version: str | None
    generated_at: datetime
    items: list[Recommendation]


ACCEPT_LANGUAGE = {
    "name": "Accept-Language",
    "in": "header",
    "required": False,
    "description": "Used where my profile names no language.",
    "schema": {"type": "string"},
}


@router.get(
    "/recommendations",
    response_model=Recommendations,
    responses=answers(401, 503),
    openapi_extra={**WITH_TOKEN, "parameters": [ACCEPT_LANGUAGE]},
)
async def recommendations(
    request: Request,
    asking: Asker,
    limit: Annotated[int, Query(ge=1, le=LONGEST, description="At most so many.")] = 20,
) -> Response:
    """List what I may like, best first, each with the reason in my language."""
    if asking.claims is None:
        raise NotAuthenticatedError("log in and send the access token as Authorization: Bearer …")
    languages = accepted(request.headers.get("accept-language", ""))
    nonce = secrets.token_bytes(NONCE_BYTES)
    asked = Asked(asking.claims, limit, asking.now, languages, nonce)
    answer = await recommend(asking.pool, asked)
    RECOMMENDATIONS.labels(answer.source).inc()
    return Response(answer.body, media_type="application/json")


@lru_cache(256)
def accepted(header: str) -> tuple[str, ...]:
    """Read ``Accept-Language`` (RFC 9110, 12.5.4): languages, the best first.

    Args:
        header: As it came; what cannot be read in it is passed over.
    """
    weighted = []
    for part in header.split(","):
        tag, _, weight = part.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if quality > 0:
            weighted.append((-quality, tag.strip()))
    return tuple(tag for _, tag in sorted(weighted, key=lambda one: one[0]))
