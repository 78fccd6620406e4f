"""Profiles: where users live, what they like, what and whom they never want to be shown.

What does not live here: what follows for their rankings (``services.refresh_marks``).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from eventlink.db import profile
from eventlink.db.accounts import Account, account, change_account
from eventlink.db.profile import Liking
from eventlink.errors import ConflictError, NotAuthenticatedError, NotFoundError

MOST = 1000
"""Things on one of a user's lists."""


def change_profile(conn: Connection, user: Account, changes: dict[str, Any]) -> Account:
    """Store changes of a user's profile, and return it.

    Raises:
        ConflictError: One of latitude and longitude would be known without the other.
    """
    change_account(conn, user.id, changes)
    changed = account(conn, user.id)
    if changed is None:
        raise NotAuthenticatedError("the account is gone")
    if (changed.lat is None) != (changed.lon is None):
        raise ConflictError("latitude and longitude go together; give both, or set both to null")
    return changed


def like(conn: Connection, user_id: int, liking: Liking, wanted: int) -> None:
    """Put a tag or an organizer on a user's list, and take it off the opposite one.

    Raises:
        NotFoundError: There is no such tag or organizer.
        ConflictError: The list is full, or it is the user.
    """
    if not liking.of_tags and wanted == user_id:
        raise ConflictError("nobody follows or blocks themselves")
    profile.lock_lists(conn, user_id)
    _require(conn, liking, [wanted])
    profile.remove(conn, user_id, liking.opposite, [wanted])
    profile.add(conn, user_id, liking, [wanted])
    if profile.length(conn, user_id, liking) > MOST:
        raise ConflictError(f"the list has {MOST} entries already; take some off first")


def like_only(conn: Connection, user_id: int, liking: Liking, wanted: Sequence[int]) -> None:
    """Make a user's list hold just these; those on it keep their dates.

    Raises:
        NotFoundError: There is no such tag or organizer.
    """
    profile.lock_lists(conn, user_id)
    _require(conn, liking, wanted)
    profile.remove(conn, user_id, liking.opposite, wanted)
    profile.keep(conn, user_id, liking, wanted)
    profile.add(conn, user_id, liking, wanted)


def _require(conn: Connection, liking: Liking, wanted: Sequence[int]) -> None:
    missing = sorted(set(wanted) - set(profile.existing(conn, liking, wanted)))
    if missing:
        kind = "tag" if liking.of_tags else "organizer"
        raise NotFoundError(f"{kind} {missing[0]} does not exist")
