"""Import in SQL: staging, checks between rows, merging, erasing.

What does not live here: the files themselves and what a single cell may be (``importers``).

Every table of the format is first copied into a temporary ``incoming_*`` table whose columns are
the file's, plus ``number``, the row's place in the file (from 0). Only set-wise statements follow.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO

import psycopg
import pyarrow as pa
import pyarrow.csv
from sqlalchemy import Connection

from eventlink.db.interchange.tables import TABLES, Check
from eventlink.db.session import driver

ACT_TABLES = (
    "event_interactions",
    "favorite_events",
    "registrations",
    "user_followed_organizers",
    "user_blocked_organizers",
    "user_interest_tags",
    "user_hidden_tags",
    "event_tags",
)
ROOT_TABLES = ("tags", "events", "users")
"""What the tables of acts refer to; a table comes before those it refers to itself."""

# Made of the users and events that go: a list must not be served to whoever gets the id next.
CACHE_TABLES = ("recommendation_serving", "recommendation_overlay", "recommendation_lists")

BULK_ROWS = 100_000
"""From so many rows on, an empty table gets its indexes afterwards."""

Cursor = psycopg.Cursor[tuple[object, ...]]


@dataclass(frozen=True)
class Merged:
    """How many rows a merge wrote."""

    added: int
    updated: int


@dataclass(frozen=True)
class Rejected:
    """A row of an incoming table that cannot be merged."""

    number: int
    columns: tuple[str, ...]
    wrong: str


@dataclass(frozen=True)
class Doubted:
    """Rows of an incoming table that are odd, and merged all the same."""

    rows: int
    first: int
    """Number of the first one."""
    columns: tuple[str, ...]
    wrong: str


def stage(
    conn: Connection, name: str, columns: Sequence[str], batches: Iterable[pa.RecordBatch]
) -> None:
    """Copy a file's rows into a new ``incoming_*`` table, which the transaction's end drops.

    Args:
        conn: A connection in a transaction.
        name: A table of the format.
        columns: The names of the batches' columns, ``number`` among them.
        batches: Typed rows.
    """
    table = TABLES[name]
    cursor = driver(conn).cursor()
    # The hash tables of a few million rows; it ends with the transaction.
    cursor.execute("SET LOCAL work_mem = '128MB'")
    cursor.execute("SET LOCAL timezone = 'UTC'")
    cursor.execute(
        f"CREATE TEMPORARY TABLE incoming_{name} ON COMMIT DROP AS"
        f" SELECT 0::bigint AS number, v.* FROM ({table.view}) AS v WITH NO DATA"
    )
    into = f"COPY incoming_{name} ({', '.join(columns)}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')"
    with cursor.copy(into) as copy:
        for batch in batches:
            block = BytesIO()
            # Like COPY it writes null as nothing and an empty text as two quotes.
            pyarrow.csv.write_csv(
                _without_zones(batch.select(columns)),
                block,
                pyarrow.csv.WriteOptions(include_header=False),
            )
            copy.write(block.getbuffer())
    cursor.execute(f"ANALYZE incoming_{name}")


def _without_zones(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Drop the zone, which is UTC: to write it, Arrow needs a list that a machine may lack."""
    columns = [
        column.cast(pa.timestamp("us")) if pa.types.is_timestamp(column.type) else column
        for column in batch.columns
    ]
    return pa.record_batch(columns, names=batch.schema.names)


def lock(conn: Connection) -> None:
    """Keep other writers out until the transaction ends; readers go on.

    What the checks find must still be so when the rows are written.
    """
    driver(conn).execute(
        f"LOCK TABLE {', '.join(ACT_TABLES + ROOT_TABLES)} IN SHARE ROW EXCLUSIVE MODE"
    )


def erase(conn: Connection) -> None:
    """Delete every row of the format's tables, and the rankings made of them.

    A platform's own tables that refer to ours follow their own foreign keys.
    """
    raw = driver(conn)
    for table in ACT_TABLES:
        # Deleted rows would stay in the way of every foreign key checked below.
        try:
            with raw.transaction():
                raw.execute(f"TRUNCATE {table}")
        except psycopg.errors.FeatureNotSupported:  # a table that is not ours refers to it
            raw.execute(f"DELETE FROM {table}")
    for table in (*CACHE_TABLES, *ROOT_TABLES):
        raw.execute(f"DELETE FROM {table}")


def complete(conn: Connection, name: str, absent: Sequence[str]) -> None:
    """Make incoming rows whole: what a file has no column for is what the database has.

    Args:
        conn: A connection in a transaction, after ``stage``.
        name: A table of the format.
        absent: The optional columns that the file does not have.
    """
    table = TABLES[name]
    cursor = driver(conn).cursor()
    for statement in table.prepare:
        cursor.execute(statement)
    if absent:
        assignments = ", ".join(f"{column} = v.{column}" for column in absent)
        same = " AND ".join(f"v.{column} = s.{column}" for column in table.key)
        cursor.execute(
            f"UPDATE incoming_{name} AS s SET {assignments} FROM ({table.view}) AS v"
            f" WHERE {same} AND ({_list('v', absent)}) IS DISTINCT FROM ({_list('s', absent)})"
        )


def reject(conn: Connection, name: str) -> Iterator[Rejected]:
    """Take the rows out that contradict another row, or refer to one that does not exist.

    Args:
        conn: A connection in a transaction, after ``complete``; the tables that this one refers
            to must have been merged.
        name: A table of the format.

    Yields:
        The rows taken out, one check after the other, each in the file's order.
    """
    cursor = driver(conn).cursor()
    for check in checks(name):
        cursor.execute(
            f"WITH gone AS (DELETE FROM incoming_{name} WHERE number IN ({check.bad})"
            " RETURNING number) SELECT number FROM gone ORDER BY number"
        )
        for (number,) in cursor:
            assert isinstance(number, int)  # noqa: S101 (the column is bigint)
            yield Rejected(number, check.columns, check.wrong)


def doubt(conn: Connection, name: str) -> Iterator[Doubted]:
    """Return what is odd about the incoming rows, and no reason to leave them out.

    Args:
        conn: A connection in a transaction, after ``reject`` ran to its end.
        name: A table of the format.
    """
    cursor = driver(conn).cursor()
    for check in TABLES[name].doubts:
        cursor.execute(
            f"SELECT count(*), min(number) FROM ({check.bad}) AS odd HAVING count(*) > 0"
        )
        for rows, first in cursor:
            assert isinstance(rows, int)  # noqa: S101 (a count)
            assert isinstance(first, int)  # noqa: S101 (the column is bigint)
            yield Doubted(rows, first, check.columns, check.wrong)


def checks(name: str) -> Iterator[Check]:
    """Return what must hold between the rows of a table and all others, in order of checking.

    Args:
        name: A table of the format.
    """
    table = TABLES[name]
    if table.key != ("same",):
        yield _unique(name, table.key)
    for column, target in table.refers.items():
        yield Check(
            (column,),
            f"names no {target[:-1]} in the files or in the database",
            f"SELECT s.number FROM incoming_{name} AS s WHERE s.{column} IS NOT NULL"
            f" AND NOT EXISTS (SELECT FROM {target} AS t WHERE t.id = s.{column})",
        )
    yield from table.checks


def _unique(name: str, key: Sequence[str]) -> Check:
    return Check(
        tuple(key),
        "is on an earlier row already",
        f"SELECT s.number FROM incoming_{name} AS s JOIN (SELECT {', '.join(key)},"
        f" min(number) AS first FROM incoming_{name} GROUP BY {', '.join(key)}"
        f" HAVING count(*) > 1) AS twice USING ({', '.join(key)})"
        " WHERE s.number > twice.first",
    )


def merge(conn: Connection, name: str) -> Merged:
    """Write the incoming rows: those whose key is known update it, the others are added.

    A row that would change nothing is not touched.

    Args:
        conn: A connection in a transaction, after ``reject`` ran to its end.
        name: A table of the format.
    """
    table = TABLES[name]
    cursor = driver(conn).cursor()
    source = f"incoming_{name} AS s"
    if table.has_tag:
        cursor.execute(
            f"INSERT INTO tags (name) SELECT DISTINCT s.tag FROM {source}"
            " WHERE NOT EXISTS (SELECT FROM tags WHERE tags.name = s.tag) ORDER BY s.tag"
        )
        source += " JOIN tags ON tags.name = s.tag"
    same = " AND ".join(f"t.{column} = {value}" for column, value in table.named.items())
    updated = 0
    for which in table.update_order if table.rest else ():
        cursor.execute(
            f"UPDATE {table.target} AS t SET"
            f" {', '.join(f'{column} = {value}' for column, value in table.rest.items())}"
            f" FROM {source} WHERE {same} AND {which} AND ({_list('t', table.rest)})"
            f" IS DISTINCT FROM ({', '.join(table.rest.values())})"
        )
        updated += cursor.rowcount
    written = table.rest if table.generates_key else {**table.named, **table.rest}
    with _rebuilt_indexes(cursor, table.target) if _is_bulk(cursor, name) else nullcontext():
        cursor.execute(
            f"INSERT INTO {table.target} ({', '.join(written)})"
            f" SELECT {', '.join(written.values())} FROM {source}"
            f" WHERE NOT EXISTS (SELECT FROM {table.target} AS t WHERE {same}) ORDER BY s.number"
        )
        added = cursor.rowcount
    return Merged(added=added, updated=updated)


def _is_bulk(cursor: Cursor, name: str) -> bool:
    """Tell whether many rows go into an empty table."""
    cursor.execute(
        f"SELECT (SELECT count(*) FROM incoming_{name}) >= {BULK_ROWS}"
        f" AND NOT EXISTS (SELECT FROM {TABLES[name].target})"
    )
    return cursor.fetchone() == (True,)


@contextmanager
def _rebuilt_indexes(cursor: Cursor, target: str) -> Iterator[None]:
    """Have no indexes but those of constraints while the block writes; then make them anew.

    It is several times as fast as keeping them up row by row. Until the transaction ends, other
    readers of the table wait.
    """
    cursor.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)"
        " FROM pg_index JOIN pg_class AS owned ON owned.oid = indrelid"
        f" WHERE indrelid = '{target}'::regclass AND pg_has_role(owned.relowner, 'USAGE')"
        " AND NOT indisreplident"
        " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)"
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    yield
    for _, definition in indexes:
        cursor.execute(str(definition))


def finish(conn: Connection) -> None:
    """Let new ids follow the imported ones, and tell the planner of the new rows."""
    cursor = driver(conn).cursor()
    for table in ("users", "events"):
        sequence = f"pg_get_serial_sequence('{table}', 'id')"
        # Never backwards: an id that was given out stays taken. This is the one effect that a
        # rollback leaves, and the reason why it comes last.
        cursor.execute(
            f"SELECT setval({sequence}, max(id)) FROM {table}"
            f" HAVING max(id) >= greatest(1, pg_sequence_last_value({sequence}))"
        )
    cursor.execute(f"ANALYZE {', '.join(ACT_TABLES + ROOT_TABLES)}")


def _list(prefix: str, columns: Iterable[str]) -> str:
    return ", ".join(f"{prefix}.{column}" for column in columns)
