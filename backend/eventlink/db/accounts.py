"""Users as accounts: who they are, how they log in, what they may do.

What does not live here: what they like (``db.profile``) and what they do with events
(``db.registrations``).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text, update

from eventlink.db.pages import page
from eventlink.db.tables import User

RANKABLE = "role = 'student' AND is_active"
"""A condition on ``users``: for whom rankings are made."""


@dataclass(frozen=True)
class Account:
    """Who a user is."""

    id: int
    email: str | None
    full_name: str | None
    role: str
    city: str | None
    lat: float | None
    lon: float | None
    language: str | None
    is_active: bool
    token_version: int

    @property
    def is_rankable(self) -> bool:
        """Whether rankings are made for them, as in ``RANKABLE``."""
        return self.role == "student" and self.is_active


@dataclass(frozen=True)
class Credentials:
    """What a login is checked against."""

    user_id: int
    password_hash: str | None
    token_version: int
    """Of the tokens that the password was good for when it was read."""


@dataclass(frozen=True)
class ManagedUser:
    """A user as administrators see them."""

    id: int
    email: str | None
    full_name: str | None
    role: str
    is_active: bool


COLUMNS = tuple(getattr(User, name) for name in Account.__dataclass_fields__)
MANAGED = tuple(getattr(User, name) for name in ManagedUser.__dataclass_fields__)

CREDENTIALS = text(
    "SELECT id, password_hash, token_version FROM users WHERE lower(email) = lower(:email)"
)
CREATE = text(
    """
    INSERT INTO users (email, password_hash, full_name, city, language, role, created_at)
    VALUES (:email, :password_hash, :full_name, :city, :language, :role, :now)
        ON CONFLICT (lower(email)) DO NOTHING
    RETURNING id
    """
)
SET_PASSWORD = text(
    """
    UPDATE users SET password_hash = :password_hash, token_version = token_version + 1
     WHERE id = :user_id
    """
)
REPLACE_PASSWORD = text(
    """
    UPDATE users SET password_hash = :password_hash, token_version = token_version + 1
     WHERE id = :user_id AND token_version = :token_version AND is_active
    RETURNING token_version
    """
)
REHASH = text(
    """
    UPDATE users SET password_hash = :renewed
     WHERE id = :user_id AND password_hash = :password_hash
    """
)
REVOKE = text("UPDATE users SET token_version = token_version + 1 WHERE id = :user_id")
SEARCH = """
    SELECT id, email, full_name, role, is_active
      FROM users
     WHERE (CAST(:role AS text) IS NULL OR role = :role)
       AND (CAST(:q AS text) IS NULL
            OR strpos(lower(concat_ws(' ', email, full_name)), lower(:q)) > 0)
"""
# Nobody can hold what an erased organizer had announced.
CANCEL_EVENTS = text(
    """
    UPDATE events SET status = 'cancelled'
     WHERE owner_id = :user_id AND status <> 'cancelled' AND deleted_at IS NULL
       AND start_time > :now
    """
)
ERASE = text("DELETE FROM users WHERE id = :user_id")


def account(conn: Connection, user_id: int) -> Account | None:
    """Return a user's account, or None."""
    row = conn.execute(select(*COLUMNS).where(User.id == user_id)).one_or_none()
    return None if row is None else Account(*row)


def credentials(conn: Connection, email: str) -> Credentials | None:
    """Return what a login with an address, in any case, is checked against."""
    row = conn.execute(CREDENTIALS, {"email": email}).one_or_none()
    return None if row is None else Credentials(*row)


def password_hash(conn: Connection, user_id: int) -> str | None:
    """Return a user's stored password hash; None where the user has none or is gone."""
    return conn.execute(select(User.password_hash).where(User.id == user_id)).scalar()


def create_account(
    conn: Connection,
    email: str,
    password_hash: str,
    now: datetime,
    *,
    full_name: str | None = None,
    city: str | None = None,
    language: str | None = None,
    role: str = "student",
) -> int | None:
    """Store a new user and return the id; None if the address is taken."""
    values = {
        "email": email,
        "password_hash": password_hash,
        "now": now,
        "full_name": full_name,
        "city": city,
        "language": language,
        "role": role,
    }
    return conn.execute(CREATE, values).scalar()


def set_password(conn: Connection, user_id: int, password_hash: str) -> None:
    """Store another password, and take back all tokens given out before."""
    conn.execute(SET_PASSWORD, {"user_id": user_id, "password_hash": password_hash})


def replace_password(conn: Connection, user: Account, password_hash: str) -> int | None:
    """Store another password unless a user's tokens were taken back since the user was read.

    Returns:
        The token version from now on; None where nothing was stored.
    """
    values = {
        "user_id": user.id,
        "token_version": user.token_version,
        "password_hash": password_hash,
    }
    return conn.execute(REPLACE_PASSWORD, values).scalar()


def rehash(conn: Connection, found: Credentials, renewed: str) -> None:
    """Store the same password's hash with today's strength, unless another one came meanwhile."""
    conn.execute(
        REHASH,
        {"user_id": found.user_id, "password_hash": found.password_hash, "renewed": renewed},
    )


def revoke_tokens(conn: Connection, user_id: int) -> None:
    """Take back all tokens given out so far."""
    conn.execute(REVOKE, {"user_id": user_id})


def change_account(conn: Connection, user_id: int, changes: dict[str, Any]) -> None:
    """Store changes of columns of a user; none is fine."""
    if changes:
        conn.execute(update(User).where(User.id == user_id).values(**changes))


def managed_user(conn: Connection, user_id: int) -> ManagedUser | None:
    """Return a user as administrators see them, or None."""
    row = conn.execute(select(*MANAGED).where(User.id == user_id)).one_or_none()
    return None if row is None else ManagedUser(*row)


def search_users(
    conn: Connection, q: str | None, role: str | None, limit: int, offset: int
) -> tuple[int, list[ManagedUser]]:
    """Return users in the order of their ids.

    Args:
        conn: An open connection.
        q: A part of the address or the name; all if None.
        role: One role only.
        limit: At most so many.
        offset: Leave out so many first.

    Returns:
        How many there are in all, and the page.
    """
    total, rows = page(conn, SEARCH, "id", limit, offset, q=q, role=role)
    return total, [ManagedUser(*row) for row in rows]


def erase(conn: Connection, user_id: int, now: datetime) -> None:
    """Delete a user with all traces, and cancel the events the user was going to hold."""
    conn.execute(CANCEL_EVENTS, {"user_id": user_id, "now": now})
    conn.execute(ERASE, {"user_id": user_id})
