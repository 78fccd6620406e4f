"""Errors as answers: each kind of the tree with its status, in the form FastAPI's own have.

What does not live here: the kinds (``eventlink.errors``).
"""

import json
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
    wrong = [{key: one[key] for key in ("loc", "msg", "type")} for one in error.errors()]
    return Response(json.dumps({"detail": wrong}), 422, media_type="application/json")
