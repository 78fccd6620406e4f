"""Tokens: who a request comes from, signed with SECRET_KEY (RFC 7519, HS256 and nothing else).

What does not live here: passwords and roles (``services.accounts``); a role is read from the
database at every request, so that a token cannot outlive it.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

import jwt

from eventlink.errors import NotAuthenticatedError, WeakSecretError

ALGORITHM = "HS256"
EXPIRED = "the token has expired; refresh it, or log in"
LEAST_SECRET = 32
"""Characters; HS256 wants a key as long as its hash (RFC 7518, 3.2)."""

LARGEST = 2**63 - 1
"""Of ids and versions in the database."""


class Kind(StrEnum):
    """What a token is good for; one kind is never taken for the other."""

    ACCESS = "access"
    REFRESH = "refresh"


LIFETIMES = {Kind.ACCESS: timedelta(minutes=30), Kind.REFRESH: timedelta(days=30)}


@dataclass(frozen=True)
class Claims:
    """What a valid token says."""

    user_id: int
    token_version: int
    """Must be the user's; raising that one takes back all older tokens."""


def issue(claims: Claims, kind: Kind, secret: str, now: datetime) -> str:
    """Sign a token.

    Args:
        claims: What it says.
        kind: What it is good for.
        secret: ``SECRET_KEY``.
        now: From when it is valid.
    """
    said = {
        "sub": str(claims.user_id),
        "ver": claims.token_version,
        "typ": kind.value,
        "iat": now,
        "exp": now + LIFETIMES[kind],
    }
    return jwt.encode(said, _key(secret), algorithm=ALGORITHM)


def read(token: str, kind: Kind, secret: str) -> Claims:
    """Check a token and return what it says.

    Args:
        token: As it came.
        kind: The one that is wanted.
        secret: ``SECRET_KEY``.

    Raises:
        NotAuthenticatedError: It is not one of ours, has expired, or is of another kind.
    """
    try:
        claims, expires = _verified(token, kind, secret)
    except jwt.ExpiredSignatureError as error:
        raise NotAuthenticatedError(EXPIRED) from error
    except (jwt.InvalidTokenError, ValueError, TypeError) as error:
        raise NotAuthenticatedError("the token is not valid; log in") from error
    if expires <= time.time():
        raise NotAuthenticatedError(EXPIRED)
    return claims


@lru_cache(10_000)
def _verified(token: str, kind: Kind, secret: str) -> tuple[Claims, int]:
    """Check a token, and return what it says and when it expires.

    A page sends its token many times, and checking it takes as long as a query.
    """
    said = jwt.decode(
        token,
        _key(secret),
        algorithms=[ALGORITHM],
        options={"require": ["sub", "exp", "typ", "ver"]},
    )
    if said["typ"] != kind:
        raise NotAuthenticatedError(f"the token is not one for {kind}; send the other one")
    claims = Claims(int(said["sub"]), int(said["ver"]))
    if not (0 < claims.user_id <= LARGEST and 0 <= claims.token_version <= LARGEST):
        raise ValueError("no user has that id or version")
    return claims, int(said["exp"])


def require_strong_secret(secret: str, environment: str) -> None:
    """Check that a secret may sign; in development any may.

    Args:
        secret: ``SECRET_KEY``.
        environment: ``ENVIRONMENT``.

    Raises:
        WeakSecretError: It is too short, or one character over and over.
    """
    if environment != "production":
        return
    if len(secret) < LEAST_SECRET or len(set(secret)) < LEAST_SECRET // 4:
        raise WeakSecretError(
            f"SECRET_KEY must have at least {LEAST_SECRET} random characters in"
            " production; make one with: openssl rand -hex 32 (or set ENVIRONMENT=development)"
        )


def _key(secret: str) -> bytes:
    """Return the key that a secret is for HMAC, which itself fills up with zeros (RFC 2104, 2).

    Written out, so that PyJWT takes the short or empty secrets of development.
    """
    return secret.encode().ljust(LEAST_SECRET, b"\0")


def lifetime_seconds(kind: Kind) -> int:
    """Return how long a token of a kind is valid."""
    return int(LIFETIMES[kind].total_seconds())
