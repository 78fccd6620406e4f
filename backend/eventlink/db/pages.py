"""Pages: a part of a long list, and how long the list is.

What does not live here: what is listed.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text


def page(
    conn: Connection, query: str, order: str, limit: int, offset: int, **values: Any
) -> tuple[int, list[Sequence[Any]]]:
    """Run a query for one page of its rows.

    Args:
        conn: An open connection.
        query: Its first column is never null.
        order: Names of its columns to sort by, which tell all rows apart.
        limit: At most so many rows.
        offset: Leave out so many first.
        values: Its parameters.

    Returns:
        How many rows there are in all, also past the last page, and those of the page.
    """
    paged = f"""
    WITH matching AS MATERIALIZED ({query})
    SELECT counted.total, page.*
      FROM (SELECT count(*) AS total FROM matching) AS counted
      LEFT JOIN (SELECT * FROM matching ORDER BY {order} LIMIT :limit OFFSET :offset) AS page
             ON true
     ORDER BY {order}
    """
    rows = conn.execute(text(paged), {"limit": limit, "offset": offset, **values}).all()
    return rows[0].total, [row[1:] for row in rows if row[1] is not None]
