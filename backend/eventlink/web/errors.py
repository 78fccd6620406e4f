"""Errors as answers: each kind of the tree with its status, in the form FastAPI's own have.

What does not live here: the kinds (``eventlink.errors``).
"""

import json
import re
from collections.abc import Mapping
from math import ceil
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from eventlink.errors import (
    DatabaseUnreachableError,
    EventLinkError,
    MigrationsMissingError,
    RefusedError,
    TooManyRequestsError,
)
from eventlink.web.fields import FORMS


class Problem(BaseModel):
    """What went wrong, and what to do."""

    detail: str


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the statuses that a route may refuse with."""
    return {status: {"model": Problem} for status in statuses}


def install(app: FastAPI) -> None:
    """Teach an application to answer with the error tree."""
    app.add_exception_handler(EventLinkError, _answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


def _answer(_request: Request, error: Exception) -> JSONResponse:
    headers = {}
    if isinstance(error, RefusedError):
        status = error.status
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if isinstance(error, TooManyRequestsError):
            headers["Retry-After"] = str(max(1, ceil(error.retry_after)))
    elif isinstance(error, DatabaseUnreachableError | MigrationsMissingError):
        # The text names the address; that is for the log, not for strangers.
        return JSONResponse({"detail": "the database is not available; try again"}, 503)
    else:
        status = 400
    detail: object = str(error)
    if status == 422:  # the one status that FastAPI describes itself, as a list
        detail = [{"loc": ["body"], "msg": detail, "type": "value_error"}]
    return JSONResponse({"detail": detail}, status, headers)


def _answer_invalid(_request: Request, error: Exception) -> Response:
    """Answer as FastAPI does, without repeating what came.

    It may be a password; and NaN or half a surrogate pair, which JSON reads, it cannot write.
    """
    assert isinstance(error, RequestValidationError)  # noqa: S101 (what it is installed for)
    wrong = [
        {
            "loc": one["loc"],
            "msg": " ".join(f"{_name(one)}: {expected(one)}".split()),  # names may hold any sign
            "type": one["type"],
        }
        for one in error.errors()
    ]
    return Response(json.dumps({"detail": wrong}), 422, media_type="application/json")


def _name(wrong: Mapping[str, Any]) -> str:
    """Return the field's name: its place without the part of the request, if it has another."""
    part, *names = wrong["loc"]
    if wrong["type"] == "json_invalid":
        return f"{part}, character {names[0]}"
    return ".".join(map(str, names)) or str(part)


EXPECTED = {
    "missing": "must be given",
    "extra_forbidden": "there is no such field",
    "json_invalid": "must be JSON",
    "model_attributes_type": "must be an object",
}
"""What Pydantic says in words of its own trade."""
_NEEDLESS = re.compile(r"^Value error, |, unable to .*| after validation, not .*")
_SHOULD = re.compile(r"^\w+ should ")
_NO_EMAIL = re.compile(r"^value is not a valid email address.*", re.DOTALL)  # tells signs of it


def expected(wrong: Mapping[str, Any]) -> str:
    """Say in a line what a field must be, to be written behind its name.

    Args:
        wrong: One of Pydantic's errors.
    """
    kind = wrong["type"]
    if kind == "string_pattern_mismatch":
        return FORMS.get(wrong["ctx"]["pattern"], "must be written in another form")
    said = EXPECTED.get(kind) or _SHOULD.sub("must ", _NEEDLESS.sub("", wrong["msg"]))
    said = _NO_EMAIL.sub("must be an email address", said)
    return said[:1].lower() + said[1:]
