"""Connections of the two asynchronous routes: taken from the pool, tried once more, given up soon.

What does not live here: any statement about a table, and the pool's size (``main``).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from eventlink.errors import DatabaseUnreachableError

AsyncConnection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
Pool: TypeAlias = AsyncConnectionPool[AsyncConnection]
Result = TypeVar("Result")

PATIENCE = 3.0
"""Seconds from the request to giving up."""
PATIENCE_FOR_CONNECTION = 1.0
"""Seconds to wait for a connection; where they are all in use for longer, more waiters do harm."""


async def on_connection(pool: Pool, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
    """Do some work on a connection of the pool.

    It is done once more if the connection was broken, as they all are after a restart of the
    server, or if another transaction was in its way: a deadlock, a row erased meanwhile.

    Args:
        pool: Of connections that commit each statement.
        work: Must leave nothing behind if it fails.

    Raises:
        DatabaseUnreachableError: It failed again, or took too long.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            try:
                return await _once(pool, work)
            except PoolTimeout:
                raise
            except psycopg.OperationalError:
                await pool.check()
            except psycopg.IntegrityError:
                pass
            return await _once(pool, work)
    except (psycopg.OperationalError, psycopg.IntegrityError, TimeoutError) as error:
        raise DatabaseUnreachableError(
            f"PostgreSQL does not answer: {type(error).__name__}; see the server's log"
        ) from error


async def _once(pool: Pool, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
    async with pool.connection(timeout=PATIENCE_FOR_CONNECTION) as conn:
        return await work(conn)


async def rows(
    conn: AsyncConnection, statement: str, values: dict[str, Any], *, prepare: bool = True
) -> list[tuple[Any, ...]]:
    """Run a statement and return all it gives.

    Args:
        conn: A connection.
        statement: With psycopg's named parameters.
        values: Of its parameters.
        prepare: Whether the server keeps its plan.
    """
    async with conn.cursor(binary=True) as cursor:
        await cursor.execute(statement, values, prepare=prepare)
        return await cursor.fetchall()
