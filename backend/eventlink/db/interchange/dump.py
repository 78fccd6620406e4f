"""Export in SQL: which columns a table's file needs, and its rows as CSV.

What does not live here: files (``importers``).
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from eventlink.db.interchange.tables import TABLES
from eventlink.db.session import driver

BOOL, FLOAT4, FLOAT8, TIMESTAMPTZ = 16, 700, 701, 1184  # PostgreSQL's type numbers


def begin_snapshot(conn: Connection) -> None:
    """Let all later reads of the transaction see one instant; must be its first statement."""
    cursor = driver(conn).cursor()
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    cursor.execute("SET LOCAL extra_float_digits = 1")  # shortest text that reads back the same


def survey(conn: Connection, name: str, optional: Sequence[str]) -> tuple[int, list[str]]:
    """Count a table's rows and find which optional columns say anything.

    Args:
        conn: A connection in a transaction.
        name: A table of the format.
        optional: Names of columns.

    Returns:
        The number of rows, and the columns with a value other than what none would mean.
    """
    table = TABLES[name]
    silence = {column: table.defaults.get(column, "NULL") for column in optional}
    said = [
        f"coalesce(bool_or(v.{column} IS DISTINCT FROM {nothing}), false)"
        for column, nothing in silence.items()
    ]
    row = (
        driver(conn)
        .execute(f"SELECT {', '.join(['count(*)', *said])} FROM ({table.view}) AS v")
        .fetchone()
    )
    assert row is not None  # noqa: S101 (an aggregate without GROUP BY has a row)
    count, *used = row
    assert isinstance(count, int)  # noqa: S101 (count is bigint)
    return count, [column for column, is_used in zip(optional, used, strict=True) if is_used]


def copy_out(conn: Connection, name: str, columns: Sequence[str]) -> Iterator[bytes]:
    """Read a table as CSV in the format's own spelling, always in the same order.

    Args:
        conn: A connection in a transaction, after ``begin_snapshot``.
        name: A table of the format.
        columns: Which columns, in which order.

    Yields:
        The header, then each row, as UTF-8.
    """
    table = TABLES[name]
    cursor = driver(conn).cursor()
    cursor.execute(f"SELECT {', '.join(columns)} FROM ({table.view}) AS v LIMIT 0")
    spelled = [
        f"{_spelled(f'v.{column.name}', column.type_code)} AS {column.name}"
        for column in cursor.description or ()
    ]
    query = f"SELECT {', '.join(spelled)} FROM ({table.view}) AS v ORDER BY {table.order}"
    with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER, ENCODING 'UTF8')") as copy:
        for row in copy:
            yield bytes(row)


def _spelled(column: str, type_code: int) -> str:
    """SQL for a value as the format writes it."""
    if type_code == TIMESTAMPTZ:
        utc, seconds = f"{column} AT TIME ZONE 'UTC'", 'YYYY-MM-DD"T"HH24:MI:SS'
        return (
            f"""to_char({utc}, CASE WHEN date_trunc('second', {utc}) = {utc}"""
            f""" THEN '{seconds}"Z"' ELSE '{seconds}.US"Z"' END)"""
        )
    if type_code in {FLOAT4, FLOAT8}:  # 42.0, so that it is seen to be a measure
        return (
            f"CASE WHEN {column}::text ~ '^-?[0-9]+$' THEN {column} || '.0' ELSE {column}::text END"
        )
    return f"{column}::text" if type_code == BOOL else column
