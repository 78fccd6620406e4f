"""Users as accounts: who they are, how they log in, what they like.

What does not live here: what they do with events (``db.registrations``, ``db.interactions``).
"""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from eventlink.db.tables import User


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


COLUMNS = tuple(getattr(User, name) for name in Account.__dataclass_fields__)


def account(conn: Connection, user_id: int) -> Account | None:
    """Return a user's account, or None."""
    row = conn.execute(select(*COLUMNS).where(User.id == user_id)).one_or_none()
    return None if row is None else Account(*row)
