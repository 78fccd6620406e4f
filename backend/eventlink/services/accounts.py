"""Accounts: registering, logging in, changing the password, being erased; what administrators may.

What does not live here: how tokens are written (``services.tokens``).

Whatever hashes a password makes its own short transactions around the hashing, so that no
connection waits for it, and so that the price of a failed attempt stays paid.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Connection

from eventlink.config import settings
from eventlink.db import accounts
from eventlink.db.accounts import Account, ManagedUser
from eventlink.db.rate_limits import allow
from eventlink.db.session import transaction
from eventlink.errors import (
    ConflictError,
    NotAuthenticatedError,
    NotFoundError,
    TooManyRequestsError,
)
from eventlink.services.rate_limits import network
from eventlink.services.tokens import Claims, Kind, issue, lifetime_seconds, read

# 19 MiB and two passes, as OWASP's Password Storage Cheat Sheet advises; the usual 64 MiB would
# let forty logins at once take 2.5 GB.
PASSWORDS = PasswordHash([Argon2Hasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)])

SHORTEST_PASSWORD = 8
"""Characters (NIST SP 800-63B, 5.1.1.2)."""

ATTEMPTS_OF_ADDRESS = (60, 0.5)
"""Attempts at once and per second from one network address, which many people may share."""
ATTEMPTS_AT_ACCOUNT = (10, 1 / 30)
"""The same at one account, from anywhere."""


@dataclass(frozen=True)
class Session:
    """Tokens of a logged-in user."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    """Seconds until the access token expires."""


@dataclass(frozen=True)
class NewAccount:
    """What somebody registers with."""

    email: str
    password: str
    full_name: str | None = None
    city: str | None = None
    language: str | None = None


def authenticated(conn: Connection, claims: Claims) -> Account:
    """Return the account that a valid token speaks of, as it is now.

    Raises:
        NotAuthenticatedError: It is gone or inactive, or its tokens were taken back.
    """
    found = accounts.account(conn, claims.user_id)
    if found is None or not found.is_active or found.token_version != claims.token_version:
        raise NotAuthenticatedError("the token is no longer valid; log in")
    return found


def register(new: NewAccount, client: str, now: datetime) -> Session:
    """Make a student's account and log in.

    Args:
        new: Who.
        client: The network address that asks.
        now: The instant.

    Raises:
        ConflictError: The address has an account.
        TooManyRequestsError: Too many attempts.
    """
    _throttle(f"register:{network(client)}", ATTEMPTS_OF_ADDRESS)
    hashed = PASSWORDS.hash(new.password)
    with transaction() as conn:
        user_id = accounts.create_account(
            conn,
            new.email,
            hashed,
            now,
            full_name=new.full_name,
            city=new.city,
            language=new.language,
        )
    if user_id is None:
        raise ConflictError("that address has an account already; log in, or use another one")
    return session(Claims(user_id, 0), now)


def log_in(email: str, password: str, client: str, now: datetime) -> Session:
    """Check a password and give out tokens.

    A wrong address and a wrong password, an account without password and an inactive one answer
    alike, after the same work.

    Args:
        email: The address, in any case.
        password: As typed.
        client: The network address that asks.
        now: The instant.

    Raises:
        NotAuthenticatedError: They do not belong together.
        TooManyRequestsError: Too many attempts.
    """
    _throttle(f"login:{network(client)}", ATTEMPTS_OF_ADDRESS)
    with transaction() as conn:
        found = accounts.credentials(conn, email)
    # By the account: the database finds it under spellings that we take for different ones.
    _throttle(f"login:{found.user_id if found else _digest(email)}", ATTEMPTS_AT_ACCOUNT)
    matches, renewed = _check(password, found.password_hash if found else None)
    if found is not None and matches:
        with transaction() as conn:
            if renewed is not None:
                accounts.rehash(conn, found, renewed)
            user = accounts.account(conn, found.user_id)
        if user is not None and user.is_active:
            # The version as of the password: one taken back while we hashed stays taken back.
            return session(Claims(user.id, found.token_version), now)
    raise NotAuthenticatedError("the address or the password is wrong")


def refresh(conn: Connection, token: str, now: datetime) -> Session:
    """Give out new tokens for a refresh token.

    Raises:
        NotAuthenticatedError: It is not a valid refresh token, or was taken back.
    """
    claims = read(token, Kind.REFRESH, settings().secret_key)
    authenticated(conn, claims)
    return session(claims, now)


def change_password(claims: Claims, current: str, new: str, now: datetime) -> Session:
    """Store another password, and take back all tokens but those returned.

    Args:
        claims: Of the access token.
        current: The password up to now; anything where the account has none yet.
        new: The password from now on.
        now: The instant.

    Raises:
        NotAuthenticatedError: The token is no longer valid.
        ConflictError: The current password is another one.
        TooManyRequestsError: Too many attempts.
    """
    with transaction() as conn:
        user = authenticated(conn, claims)
        stored = accounts.password_hash(conn, user.id)
    _throttle(f"password:{user.id}", ATTEMPTS_AT_ACCOUNT)
    if not _check(current, stored)[0]:
        raise ConflictError("the current password is another one")
    hashed = PASSWORDS.hash(new)
    with transaction() as conn:
        changed = accounts.replace_password(conn, user, hashed)
    if changed is None:
        raise NotAuthenticatedError("the token is no longer valid; log in")
    return session(Claims(user.id, changed), now)


def make_administrator(
    conn: Connection, email: str, password: str, full_name: str | None, now: datetime
) -> bool:
    """Make an administrator of an address, with a new password.

    Args:
        conn: Inside a transaction.
        email: The address, in any case.
        password: From now on.
        full_name: The name; an existing account keeps its own if None.
        now: The instant.

    Returns:
        Whether the account is new.
    """
    hashed = PASSWORDS.hash(password)
    made = accounts.create_account(conn, email, hashed, now, full_name=full_name, role="admin")
    if made is not None:
        return True
    found = accounts.credentials(conn, email)
    if found is None:
        raise ConflictError("the account was erased at the same moment; run again")
    changes: dict[str, Any] = {"role": "admin", "is_active": True}
    if full_name is not None:
        changes["full_name"] = full_name
    accounts.change_account(conn, found.user_id, changes)
    accounts.set_password(conn, found.user_id, hashed)
    return False


def manage(conn: Connection, admin: Account, user_id: int, changes: dict[str, Any]) -> ManagedUser:
    """Change a user's role, or whether the account is active.

    One that is made inactive loses its tokens for good: made active again, its user logs in.

    Raises:
        ConflictError: It is the administrator's own account.
        NotFoundError: There is no such user.
    """
    if user_id == admin.id:
        raise ConflictError("nobody changes their own role; ask another administrator")
    accounts.change_account(conn, user_id, changes)
    if changes.get("is_active") is False:
        accounts.revoke_tokens(conn, user_id)
    changed = accounts.managed_user(conn, user_id)
    if changed is None:
        raise NotFoundError(f"user {user_id} does not exist")
    return changed


def token_of(conn: Connection, user_id: int, now: datetime) -> str:
    """Issue an access token of an active user, for operators.

    Raises:
        NotFoundError: There is no such user, or the account is inactive.
    """
    found = accounts.account(conn, user_id)
    if found is None or not found.is_active:
        raise NotFoundError(f"user {user_id} does not exist or is not active")
    claims = Claims(found.id, found.token_version)
    return issue(claims, Kind.ACCESS, settings().secret_key, now)


def token_of_address(conn: Connection, email: str, now: datetime) -> str:
    """Issue an access token of the active user with an address, in any case.

    Raises:
        NotFoundError: There is no such user, or the account is inactive.
    """
    found = accounts.credentials(conn, email)
    if found is None:
        raise NotFoundError(f"no user has the address {email!r}")
    return token_of(conn, found.user_id, now)


def session(claims: Claims, now: datetime) -> Session:
    """Issue a pair of tokens."""
    secret = settings().secret_key
    return Session(
        access_token=issue(claims, Kind.ACCESS, secret, now),
        refresh_token=issue(claims, Kind.REFRESH, secret, now),
        token_type="bearer",  # noqa: S106 (the name of the scheme, RFC 6750)
        expires_in=lifetime_seconds(Kind.ACCESS),
    )


def _throttle(bucket: str, attempts: tuple[float, float]) -> None:
    with transaction() as conn:
        allowed = allow(conn, bucket, *attempts)
    if not allowed:
        _, per_second = attempts
        raise TooManyRequestsError("too many attempts; wait and try again", 1 / per_second)


def _digest(email: str) -> str:
    """Name an account's bucket without keeping the address, which may be nobody's or erased."""
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()


def _check(password: str, stored: str | None) -> tuple[bool, str | None]:
    """Tell whether a password is the stored one, and its hash anew where that one is weaker.

    Where there is nothing to compare with, as much work is done.
    """
    try:
        if stored is not None:
            return PASSWORDS.verify_and_update(password, stored)
    except UnknownHashError:
        pass  # another system's hash came with an import
    PASSWORDS.verify(password, _nobody())
    return False, None


@cache
def _nobody() -> str:
    return PASSWORDS.hash("nobody's password")
