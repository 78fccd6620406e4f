"""What routes ask of a request: the instant, a transaction, who asks.

What does not live here: what is then done (``services``).

Two kinds of route. Most are plain functions that get a SQLAlchemy connection inside one
transaction, which is committed before the answer goes out. The two that every page view calls,
recommendations and interactions, are coroutines on a pool of psycopg connections: no thread, no
object between the row and the answer.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import psycopg
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import Connection

from eventlink.config import settings
from eventlink.db.accounts import Account, account
from eventlink.db.session import transaction
from eventlink.errors import NotAllowedError, NotAuthenticatedError
from eventlink.services.tokens import Claims, Kind, read

Row: TypeAlias = tuple[object, ...]
Pool: TypeAlias = AsyncConnectionPool[psycopg.AsyncConnection[Row]]

bearer = HTTPBearer(auto_error=False, description="An access token from POST /api/auth/login")


def _now() -> datetime:
    return datetime.now(UTC)


def _transaction() -> Iterator[Connection]:
    with transaction() as conn:
        yield conn


def _pool(request: Request) -> Pool:
    pool: Pool = request.app.state.pool
    return pool


def _claims(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Claims | None:
    """Read the access token; None where none came.

    Raises:
        NotAuthenticatedError: One came and is not valid.
    """
    if credentials is None:
        return None
    return read(credentials.credentials, Kind.ACCESS, settings().secret_key)


Now = Annotated[datetime, Depends(_now)]
Transaction = Annotated[Connection, Depends(_transaction, scope="function")]
"""Committed when the route returns, before the answer is sent; rolled back if it raises."""
AsyncPool = Annotated[Pool, Depends(_pool)]
MaybeClaims = Annotated[Claims | None, Depends(_claims)]
"""What the token says; whoever uses it must check the user in the statement it makes."""


def _current(conn: Transaction, claims: MaybeClaims) -> Account:
    if claims is None:
        raise NotAuthenticatedError("log in and send the access token as Authorization: Bearer …")
    found = account(conn, claims.user_id)
    if found is None or not found.is_active or found.token_version != claims.token_version:
        raise NotAuthenticatedError("the token is no longer valid; log in")
    return found


CurrentUser = Annotated[Account, Depends(_current)]


def _organizer(user: CurrentUser) -> Account:
    if user.role not in {"organizer", "admin"}:
        raise NotAllowedError("only organizers may do this")
    return user


def _admin(user: CurrentUser) -> Account:
    if user.role != "admin":
        raise NotAllowedError("only administrators may do this")
    return user


Organizer = Annotated[Account, Depends(_organizer)]
Admin = Annotated[Account, Depends(_admin)]
