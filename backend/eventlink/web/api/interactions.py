"""Routes of interactions.

What does not live here: what is kept (``services.interactions``). A batch is read as a whole, its
interactions are checked one by one, so that a bad one does not take the good ones with it.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import AfterValidator, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from eventlink.errors import InvalidRequestError
from eventlink.services.interactions import Batch, Interaction, Refusal, record, wake
from eventlink.web.errors import answers, expected
from eventlink.web.fields import PRINTABLE, Body, IdField, Instant
from eventlink.web.requests import WITH_TOKEN, Asker
from eventlink.web.telemetry import INTERACTIONS

router = APIRouter(tags=["interactions"])

MOST = 100
"""Interactions of a batch."""
LARGEST_BODY = 512 * 1024
LARGEST_META = 2048
"""Bytes, as JSON."""
LONGEST_DWELL = 4 * 3600
LAST_POSITION = 1000

Word = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=PRINTABLE)]
"""Printable ASCII without spaces."""

Seconds = Annotated[
    float,
    Field(strict=True, ge=0, le=LONGEST_DWELL, allow_inf_nan=False),
    # To milliseconds: what is smaller than a single-precision number can be cannot be stored.
    AfterValidator(lambda seconds: round(seconds, 3)),
]


def _storable(meta: dict[str, Any]) -> dict[str, Any]:
    written = to_json(meta)
    if len(written) > LARGEST_META or b"\\u0000" in written:
        raise ValueError(f"must be at most {LARGEST_META} bytes of JSON without NUL")
    query, category, tags = (meta.get(name) for name in ("query", "category", "tags"))
    if not all(isinstance(one, str | None) for one in (query, category)):
        raise ValueError("query and category must be strings")
    if not isinstance(tags, list | None) or not all(isinstance(tag, str) for tag in tags or ()):
        raise ValueError("tags must be a list of strings")
    return meta


class SentInteraction(Body):
    """One act, as the client tells it."""

    type: Literal[
        "impression",
        "click",
        "view",
        "dwell",
        "share",
        "search",
        "filter",
        "favorite",
        "register",
        "unregister",
    ]
    client_id: Word | None = Field(
        default=None,
        description="The client's own random name for the act: sent again, it counts once.",
    )
    event_id: IdField | None = Field(
        default=None, description="Only a search or filter may be without."
    )
    occurred_at: Instant | None = Field(default=None, description="Left out: now.")
    request_id: Word | None = Field(
        default=None, description="Of the list in which the event was shown."
    )
    position: Annotated[int, Field(strict=True, ge=0, le=LAST_POSITION)] | None = Field(
        default=None, description="The event's place in that list, from 0."
    )
    dwell_seconds: Seconds | None = None
    meta: Annotated[dict[str, Any], AfterValidator(_storable)] | None = Field(
        default=None,
        description="Of a search or filter: `query`, `category`, `tags`. At most"
        f" {LARGEST_META} bytes.",
        examples=[{"query": "jazz", "tags": ["music"], "category": "concert"}],
    )


@dataclass(frozen=True)
class Recorded:
    """What became of a batch; ``duplicates`` were sent before, or twice in it."""

    accepted: int
    duplicates: int
    refused: list[Refusal]


BATCH = {
    "type": "object",
    "required": ["interactions"],
    "additionalProperties": False,
    "properties": {
        "interactions": {
            "type": "array",
            "maxItems": MOST,
            "items": {
                "anyOf": [
                    SentInteraction.model_json_schema(),
                    {"description": "Anything else is refused by itself."},
                ]
            },
        }
    },
}
INVALID = {"$ref": "#/components/schemas/HTTPValidationError"}


@router.post(
    "/analytics/interactions",
    response_model=Recorded,
    responses=answers(400, 401, 413, 429, 503)
    | {422: {"description": "No batch", "content": {"application/json": {"schema": INVALID}}}},
    openapi_extra={
        **WITH_TOKEN,
        "requestBody": {"required": True, "content": {"application/json": {"schema": BATCH}}},
    },
)
async def interactions(request: Request, asking: Asker) -> Response:
    """Record what I did with what I was shown; without a token, what somebody did.

    Each interaction is checked by itself: the good ones are kept, the others are listed.
    """
    sent = _read(await _body(request))
    kept, refused = _check(sent)
    address = request.client.host if request.client else "unknown"
    batch = Batch(asking.claims, address, asking.now, len(sent), kept)
    outcome = await record(asking.pool, batch)
    refused = sorted(refused + outcome.refused, key=lambda one: one.index)
    INTERACTIONS.labels("accepted").inc(outcome.accepted)
    INTERACTIONS.labels("refused").inc(len(refused))
    answer = to_json(Recorded(outcome.accepted, outcome.duplicates, refused))
    due_at = outcome.due_at
    after = None if due_at is None else BackgroundTask(wake, asking.pool, due_at)
    return Response(answer, media_type="application/json", background=after)


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                raise HTTPException(413, f"a batch has at most {LARGEST_BODY} bytes; send less")
    except ClientDisconnect as error:
        raise HTTPException(400, "the batch broke off; send it again") from error
    return bytes(body)


def _read(body: bytes) -> list[Any]:
    """Read a batch.

    Raises:
        InvalidRequestError: It is none.
    """
    try:
        batch = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequestError(f"the batch is not JSON: {error}") from error
    if not (isinstance(batch, dict) and batch.keys() == {"interactions"}):
        raise InvalidRequestError('a batch is {"interactions": […]} and nothing else')
    sent = batch["interactions"]
    if not isinstance(sent, list) or len(sent) > MOST:
        raise InvalidRequestError(f"interactions is a list of at most {MOST}")
    return sent


def _check(sent: list[Any]) -> tuple[list[Interaction], list[Refusal]]:
    """Part interactions in good form from others."""
    kept, refused = [], []
    for number, one in enumerate(sent):
        try:
            kept.append(Interaction(number=number, **vars(SentInteraction.model_validate(one))))
        except ValidationError as error:
            refused.append(_refusal(number, error.errors(include_input=False)[0]))
    return kept, refused


def _refusal(number: int, error: ErrorDetails) -> Refusal:
    if not error["loc"]:
        return Refusal(number, "not_an_object", "an interaction is an object")
    name = error["loc"][0]
    if error["type"] == "extra_forbidden":
        return Refusal(number, "unknown_field", "there is a field that no interaction has")
    return Refusal(number, f"invalid_{name}", f"{name}: {expected(error)}")
