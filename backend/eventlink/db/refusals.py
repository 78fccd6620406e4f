"""What the server refuses and a person can mend, as errors of ours: told apart by SQLSTATE.

And any error as the line that is stored with a job. What does not live here: a server that does
not answer or breaks off (``db.session``, ``db.dataset``).
"""

import re
from urllib.parse import unquote, urlsplit

from eventlink.config import settings
from eventlink.errors import EventLinkError, MigrationsMissingError, RightMissingError

A_SCHEMA_OF_ITS_OWN = "give Event Link a schema of its own (docs/operations.md)"
"""What to do where the platform has taken names that Event Link needs."""
ABSENT = {"42P01", "42703"}
"""SQLSTATE of an undefined table and column."""
TAKEN = {"42P07", "42701", "42710", "42723"}
"""Of a table, column, type or function that is there already."""
FORBIDDEN = "42501"
"""Of a right that the user lacks."""
NO_SCHEMA = "3F000"
"""Of a search_path none of whose schemas is there and may be used."""
_ADDRESS = re.compile(r"\bpostgres(ql)?(\+\w+)?://\S*\w")
_PASSWORD = re.compile(r"\b((?:ssl)?password)\s*=\s*(?:'(?:\\.|[^'\\])*'|\S+)", re.DOTALL)
"""As libpq's other kind of address, of keywords and values, gives one."""


def refusal(error: Exception) -> EventLinkError | None:
    """Return what an error of SQLAlchemy, psycopg or ADBC means, or None if it is another one.

    Args:
        error: Whatever a command ended with.
    """
    cause = getattr(error, "orig", error)  # SQLAlchemy wraps the driver's
    state = getattr(cause, "sqlstate", None)
    if state in ABSENT:
        return MigrationsMissingError(
            f"the database's tables are not those of this version: {said(cause)}; run eventlink"
            " migrate or, if it finds nothing to do, bring back what was dropped from a backup"
        )
    if state in TAKEN:
        return MigrationsMissingError(
            "the database has something by a name of Event Link's that Event Link did not make:"
            f" {said(cause)}; {A_SCHEMA_OF_ITS_OWN}"
        )
    if state == FORBIDDEN:
        return RightMissingError(
            f"{_user()} may not do this: {said(cause)}; grant it the right, or let DATABASE_URL"
            " name the user that the tables belong to (docs/operations.md)"
        )
    if state == NO_SCHEMA:
        return RightMissingError(
            f"no schema of the search_path is there and may be used by {_user()}: {said(cause)};"
            " make the schema, or grant USAGE on it (docs/operations.md)"
        )
    return None


def in_a_line(error: Exception) -> str:
    """Return what to store of an error that ended a job: one line, for administrators of a site.

    The statement stays in the log, and so does the database's address, which may hold a password.

    Args:
        error: Whatever the job ended with.
    """
    told = error if isinstance(error, EventLinkError) else refusal(error)
    cause = getattr(error, "orig", None) or error
    plain = said(cause) if hasattr(cause, "sqlstate") else str(cause)
    line = f"{type(cause).__name__}: {plain}" if told is None else str(told)
    without = _PASSWORD.sub(r"\1=***", _ADDRESS.sub("the database", line))
    return " ".join(without.split())


def said(cause: object) -> str:
    """Return the server's own sentence, without the statement that it is about.

    Args:
        cause: An error of psycopg or ADBC.
    """
    details = getattr(cause, "details", None)
    if details is not None:  # ADBC's
        # In the server's encoding, which need not be ours.
        primary = dict(details).get(b"PG_DIAG_MESSAGE_PRIMARY", b"").decode(errors="replace")
    else:
        primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    return primary or next(iter(str(cause).strip().splitlines()), "")


def _user() -> str:
    """Return as whom ``DATABASE_URL`` connects; libpq has other ways to tell, which it may use."""
    name = urlsplit(settings().database_url).username
    return f"the user {unquote(name)}" if name else "the database's user"
