"""What fields of requests may hold: text that Postgres can store, instants, ids, places.

What does not live here: the models made of them, which stand beside their routes.

Text with any constraint is also refused where it has unpaired surrogates; give all text one.
Numbers and instants are taken as JSON writes them and not converted from anything else, so that
what is accepted is what the schema says.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

LARGEST_ID = 2**63 - 1
FIRST_INSTANT = datetime(1, 1, 2, tzinfo=UTC)
END_OF_INSTANTS = datetime(9999, 12, 31, tzinfo=UTC)
NO_NUL = r"^[^\x00]*$"
NOT_BLANK = r"^[^\x00]*[^\x00\s][^\x00]*$"
LANGUAGE_TAG = r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"
PRINTABLE = r"^[!-~]*$"
FORMS = {
    NO_NUL: "must be text without NUL",
    NOT_BLANK: "must be text without NUL, and not blank",
    LANGUAGE_TAG: "must be a language tag, for example en or ro",
    PRINTABLE: "must be printable ASCII without spaces",
}
"""What text must be, by the pattern that it does not match."""
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d")


class Body(BaseModel):
    """Base of what requests carry: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _written_as_instant(value: Any) -> Any:
    """Refuse what Pydantic would read as an instant although it is a number or a date."""
    if not (isinstance(value, str) and _INSTANT.match(value)):
        raise ValueError("write an instant with its offset, as 2026-05-01T18:00:00+03:00")
    return value


def _written_as_number(value: Any) -> Any:
    """Refuse what Pydantic would read as a number although JSON has it as text or a truth value."""
    if isinstance(value, str | bool):
        raise ValueError("write a number")  # noqa: TRY004 (Pydantic wants a ValueError)
    return value


def _in_every_zone(instant: datetime) -> datetime:
    if not FIRST_INSTANT <= instant < END_OF_INSTANTS:
        raise ValueError("must lie in the years 1 to 9999 in every time zone")
    return instant


def absent() -> Any:
    """Stand in for a field that is left out and must not be null."""
    return None


Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
IdQuery = Annotated[int, Query(ge=1, le=LARGEST_ID)]
IdField = Annotated[int, BeforeValidator(_written_as_number), Field(ge=1, le=LARGEST_ID)]
Count = Annotated[int, BeforeValidator(_written_as_number), Field(ge=0, le=10**9)]
Latitude = Annotated[float, Field(strict=True, ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(strict=True, ge=-180, le=180, allow_inf_nan=False)]
Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_written_as_instant),
    AfterValidator(_in_every_zone),
]
"""With its offset: an instant without one is refused, and one that some offset has not."""
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=NOT_BLANK),
]
"""One short line: a title, a city, a person's name."""
Prose = Annotated[str, StringConstraints(max_length=20_000, pattern=NO_NUL)]
Language = Annotated[str, StringConstraints(max_length=35, pattern=LANGUAGE_TAG)]
"""A language tag (RFC 5646), for example ``en`` or ``ro``."""

Limit = Annotated[int, Query(ge=1, le=100, description="At most so many.")]
Offset = Annotated[int, Query(ge=0, le=100_000, description="Leave out so many first.")]
