"""What routes ask of a request: the instant, a transaction, who asks.

What does not live here: what is then done (``services``).

Two kinds of route. Most are plain functions that get a SQLAlchemy connection inside one
transaction, which is committed before the answer goes out. The two that every page view calls,
recommendations and interactions, are coroutines on a pool of psycopg connections: no thread, no
object between the row and the answer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg.errors import ForeignKeyViolation
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from eventlink.config import settings
from eventlink.db.accounts import Account
from eventlink.db.pool import Pool
from eventlink.db.session import transaction
from eventlink.errors import DatabaseUnreachableError, NotAllowedError, NotAuthenticatedError
from eventlink.services.accounts import authenticated
from eventlink.services.tokens import Claims, Kind, read

TURNS = 12
"""Plain requests at a time that hold a connection; fewer than the engine has."""
PATIENCE = 10
"""Seconds that a request waits for its turn."""

bearer = HTTPBearer(
    auto_error=False,
    description="An access token, from POST /api/auth/login or the command eventlink token",
)


async def _now() -> datetime:
    return datetime.now(UTC)


async def _turn(request: Request) -> AsyncIterator[None]:
    """Wait until a connection is free, here where waiting costs no thread.

    A plain function's transaction begins, works and is committed in three visits to a pool of
    threads. If all threads waited for a connection, those who have one could not go on.

    Raises:
        DatabaseUnreachableError: None came free.
    """
    turns: asyncio.Semaphore = request.app.state.turns
    try:
        await asyncio.wait_for(turns.acquire(), PATIENCE)
    except TimeoutError as error:
        raise DatabaseUnreachableError("no connection came free; try again") from error
    try:
        yield
    finally:
        turns.release()


Turn = Depends(_turn, scope="function")
"""What a plain function depends on whose service opens transactions of its own."""


def _transaction(_turn: Annotated[None, Turn]) -> Iterator[Connection]:
    try:
        with transaction() as conn:
            yield conn
    except IntegrityError as error:
        # Of all that a row refers to only users are deleted.
        if isinstance(error.orig, ForeignKeyViolation):
            raise NotAuthenticatedError("the account was erased meanwhile") from error
        raise


async def _claims(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Claims | None:
    """Read the access token; None where none came.

    Raises:
        NotAuthenticatedError: One came and is not valid.
    """
    if credentials is None:
        return None
    claims = read(credentials.credentials, Kind.ACCESS, settings().secret_key)
    request.scope["user_id"] = claims.user_id  # for the log
    return claims


Now = Annotated[datetime, Depends(_now)]
Transaction = Annotated[Connection, Depends(_transaction, scope="function")]
"""Committed when the route returns, before the answer is sent; rolled back if it raises."""
MaybeClaims = Annotated[Claims | None, Depends(_claims)]
"""What the token says; whoever uses it must check the user in the statement it makes."""


@dataclass(frozen=True)
class Asking:
    """What the asynchronous routes ask of a request, at once: each dependency costs its time."""

    pool: Pool
    claims: Claims | None
    """As ``MaybeClaims``."""
    now: datetime


async def _asking(request: Request) -> Asking:
    claims = await _claims(request, await bearer(request))
    return Asking(request.app.state.pool, claims, await _now())


Asker = Annotated[Asking, Depends(_asking)]
"""The route's ``openapi_extra`` must name the token: ``WITH_TOKEN``."""
WITH_TOKEN: dict[str, Any] = {"security": [{bearer.scheme_name: []}]}


def _current(conn: Transaction, claims: MaybeClaims) -> Account:
    if claims is None:
        raise NotAuthenticatedError("log in and send the access token as Authorization: Bearer …")
    return authenticated(conn, claims)


def _maybe_current(conn: Transaction, claims: MaybeClaims) -> Account | None:
    return None if claims is None else authenticated(conn, claims)


MaybeUser = Annotated[Account | None, Depends(_maybe_current)]
"""None where no token came; one that came must be valid."""
ANONYMOUS_TOO: dict[str, Any] = {"security": [{}]}
"""As ``openapi_extra`` it describes a route that also answers without a token."""
CurrentUser = Annotated[Account, Depends(_current)]


async def _organizer(user: CurrentUser) -> Account:
    if user.role not in {"organizer", "admin"}:
        raise NotAllowedError("only organizers may do this")
    return user


async def require_admin(user: CurrentUser) -> Account:
    """Return the account that asks.

    Raises:
        NotAllowedError: It is no administrator's.
    """
    if user.role != "admin":
        raise NotAllowedError("only administrators may do this")
    return user


Organizer = Annotated[Account, Depends(_organizer)]
Admin = Annotated[Account, Depends(require_admin)]
