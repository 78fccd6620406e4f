"""What must not be in the way of a simulated city.

What does not live here: loading it (``db.interchange``).
"""

from sqlalchemy import Connection, text

ROOTS = ("users", "events", "tags", "event_interactions")
"""A row of any other table of the platform refers to one of these."""


def occupied_table(conn: Connection) -> str | None:
    """Return the name of a table of the platform that has rows, or None if none has.

    Args:
        conn: An open connection.
    """
    asked = " UNION ALL ".join(
        f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in ROOTS
    )
    return conn.execute(text(asked)).scalars().first()
