"""A few people's rows as they are now, read often: what a refresh begins with.

What does not live here: what is read of each table (``db.columns``), and reading many people
(``db.dataset``), for whom a binary COPY pays.
"""

from collections.abc import Iterable

import psycopg
import pyarrow as pa
from psycopg.postgres import types

from eventlink.db.columns import OF_PERSONS, Reader
from eventlink.db.keys import Keys
from eventlink.db.session import driver, transaction
from eventlink.recsys.dataset import Dataset

TYPES = {
    types[name].oid: arrow
    for name, arrow in {
        "bool": pa.bool_(),
        "int2": pa.int16(),
        "int4": pa.int32(),
        "int8": pa.int64(),
        "float4": pa.float32(),
        "float8": pa.float64(),
        "text": pa.string(),
        "varchar": pa.string(),
    }.items()
}
"""Arrow's types for the server's, by what it calls them."""


def read_persons(crowd: Dataset, keys: Keys, user_ids: Iterable[int]) -> tuple[Dataset, Keys]:
    """Read what a few people said and did, all of one instant.

    The statements go out together (psycopg's pipeline mode), so the server is waited for once and
    not once for each of them.

    Args:
        crowd: Read earlier; its events, organizers and tags keep their indices.
        keys: Of the crowd.
        user_ids: Those that do not exist are left out.

    Returns:
        As ``Reader.persons``.

    Raises:
        DatabaseUnreachableError: The server does not answer, or breaks off.
    """
    ids = list(user_ids)
    with transaction() as conn:  # committed: at a rollback psycopg forgets what it has prepared
        raw = driver(conn)
        with raw.pipeline():
            raw.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # Whoever did very much must not end, again and again, what is read for others.
            raw.execute("SET LOCAL statement_timeout = 0")
            # A plan made for these very people is no better, and takes longer than it runs.
            raw.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            answers = {
                sql: raw.execute(sql.replace("{whose}", "user_id = ANY(%s)"), (ids,), binary=True)
                for sql in OF_PERSONS
            }
        tables = {sql: _table(answer) for sql, answer in answers.items()}
    return Reader(tables.__getitem__).persons(crowd, keys)


def _table(answer: psycopg.Cursor[tuple[object, ...]]) -> pa.Table:
    described = answer.description or []
    rows = answer.fetchall()
    columns = zip(*rows, strict=True) if rows else [()] * len(described)
    return pa.table(
        {
            column.name: pa.chunked_array([pa.array(values, TYPES[column.type_code])])
            for column, values in zip(described, columns, strict=True)
        }
    )
