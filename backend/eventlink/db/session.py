"""Connections: one engine a process, one transaction a use case.

What does not live here: any statement about a table.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache

import psycopg
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import NotNullViolation
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from eventlink.config import PROJECT_ROOT, settings
from eventlink.db.embedded import embedded_url
from eventlink.db.refusals import A_SCHEMA_OF_ITS_OWN
from eventlink.errors import ConflictError, DatabaseUnreachableError, MigrationsMissingError

OLDEST_SERVER = 150000
"""``server_version_num`` of the oldest PostgreSQL this works on."""

NOT_OURS = (
    "this version does not know it: run a newer one, or, if alembic_version is another program's,"
    f" {A_SCHEMA_OF_ITS_OWN}"
)
"""What to do about such a migration."""

_TIMEOUTS = (
    "'statement_timeout', 'transaction_timeout', 'idle_session_timeout',"
    " 'idle_in_transaction_session_timeout'"
)
NO_TIMEOUTS = text(
    f"SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ({_TIMEOUTS})"
)
"""Lifts, for a session, the limits that a platform sets for requests. Not every server has all."""
NO_TIMEOUTS_IN_THIS_TRANSACTION = text(
    f"SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ({_TIMEOUTS})"
)
USUAL_TIMEOUTS = text(
    f"SELECT set_config(name, reset_val, false) FROM pg_settings WHERE name IN ({_TIMEOUTS})"
)


def database_url() -> str:
    """Return the address: ``DATABASE_URL``, or the embedded server's.

    Raises:
        DatabaseUnreachableError: The address is not a PostgreSQL one, or has an @ too many.
    """
    configured = settings().database_url
    if not configured:
        return embedded_url(settings().eventlink_data_dir)
    scheme, separator, rest = configured.partition("://")
    if not separator or scheme.split("+")[0] not in {"postgresql", "postgres"}:
        raise DatabaseUnreachableError(
            "DATABASE_URL must start with postgresql:// (for example"
            " postgresql://user:password@localhost:5432/events)"
        )
    # What follows the first one would be taken for the host, looked up and printed.
    if "@" in rest.partition("@")[2].partition("?")[0]:
        raise DatabaseUnreachableError(
            "DATABASE_URL has more than one @; write one in a user or password as %40"
        )
    return f"postgresql://{rest}"


def libpq_url() -> str:
    """Return the address as SQLAlchemy reads it, spelled so that libpq reads the same.

    libpq takes no percent sign in a password that does not begin an escape.
    """
    return _plain(engine().url).render_as_string(hide_password=False)


def _plain(url: URL) -> URL:
    return url.set(drivername="postgresql")


def _shown(url: URL) -> str:
    """Return an address without passwords, which libpq reads from the query as well."""
    return _plain(url).difference_update_query(("password", "sslpassword")).render_as_string()


def _sqlalchemy_url(url: str) -> URL:
    try:
        return make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:
        raise DatabaseUnreachableError(
            "DATABASE_URL cannot be read; write postgresql://user:password@host:5432/database"
        ) from error


@cache
def engine() -> Engine:
    """Return the process's engine.

    Raises:
        DatabaseUnreachableError: ``DATABASE_URL`` cannot be read, or no server starts.
    """
    return create_engine(
        _sqlalchemy_url(database_url()),
        pool_pre_ping=True,
        hide_parameters=True,  # a password's hash is one, and an error names them
        # Seats are counted after waiting for a lock, whatever the platform's default is.
        isolation_level="READ COMMITTED",
        connect_args={
            "connect_timeout": 10,
            "application_name": "eventlink",
            # A server that vanished is noticed in half a minute, and not when TCP gives up.
            "keepalives_idle": 10,
            "tcp_user_timeout": 30_000,
        },
    )


def use_database(url: str) -> None:
    """Make this process use a database, whatever its environment names.

    Args:
        url: As ``libpq_url`` gives it.
    """
    if settings().database_url != url:
        os.environ["DATABASE_URL"] = url
        settings.cache_clear()
        if engine.cache_info().currsize:
            engine().dispose()
        engine.cache_clear()


@contextmanager
def transaction() -> Iterator[Connection]:
    """Open a transaction; commit at the end of the block, roll back if it raises.

    Yields:
        A connection inside a transaction.

    Raises:
        DatabaseUnreachableError: The server does not answer, or is too old.
    """
    with connection() as conn, conn.begin():
        yield conn


@contextmanager
def pipelined() -> Iterator[Connection]:
    """Open a transaction that waits for the server where the ``driver`` fetches, and at the end.

    In psycopg's pipeline mode SQLAlchemy executes, but sees no results.

    Yields:
        A connection inside a transaction.

    Raises:
        DatabaseUnreachableError: As ``transaction`` does.
    """
    with transaction() as conn, driver(conn).pipeline():
        yield conn


@contextmanager
def connection() -> Iterator[Connection]:
    """Open a connection; its user begins and ends transactions.

    Yields:
        A connection.

    Raises:
        DatabaseUnreachableError: The server does not answer, is too old, or breaks off.
        ConflictError: A platform's own column must not be null and has no default.
    """
    pool = engine()
    try:
        conn = pool.connect()
    except PoolTimeoutError as error:
        raise DatabaseUnreachableError("no connection came free; try again") from error
    except DBAPIError as error:
        raise DatabaseUnreachableError(
            f"no connection to {_shown(pool.url)}: {_reason(error)};"
            " start the server or correct DATABASE_URL"
        ) from error
    with conn:
        version = driver(conn).info.server_version
        if version < OLDEST_SERVER:
            raise DatabaseUnreachableError(
                f"the server is PostgreSQL {version // 10000}; 15 or newer is needed"
            )
        try:
            yield conn
        except (OperationalError, psycopg.OperationalError) as error:
            raise DatabaseUnreachableError(
                f"PostgreSQL broke off: {_reason(error)}; what was begun is undone; see the"
                " server's log, and run again"
            ) from error
        except (IntegrityError, psycopg.IntegrityError) as error:
            cause = error.orig if isinstance(error, IntegrityError) else error
            if not isinstance(cause, NotNullViolation):
                raise
            found = cause.diag
            raise ConflictError(
                f"the table {found.table_name} has a column {found.column_name} that must not be"
                " null, and Event Link does not know what to put there; give it a default"
            ) from error


def _reason(error: DBAPIError | psycopg.Error) -> str:
    """Return the first line of what the driver says."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return next(iter(str(said).strip().splitlines()), type(said).__name__)


@contextmanager
def autocommit() -> Iterator[Connection]:
    """Open a connection without transactions, for statements that refuse to run in one.

    Yields:
        A connection; what a statement does is done at once.
    """
    with connection() as conn:
        yield conn.execution_options(isolation_level="AUTOCOMMIT")


def driver(conn: Connection) -> psycopg.Connection[tuple[object, ...]]:
    """Return the psycopg connection below a SQLAlchemy one, for COPY and pipelines.

    Args:
        conn: An open connection.
    """
    raw = conn.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)  # noqa: S101 (the engine's URL names psycopg)
    return raw


def server_time(conn: Connection) -> datetime:
    """Return what the server's clock shows, which is one clock for all machines.

    Args:
        conn: An open connection.
    """
    shown: datetime = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
    return shown.astimezone(UTC)


def alembic_config() -> Config:
    """Return the configuration of the migrations in ``backend/migrations``."""
    config = Config()
    config.set_main_option("script_location", str(PROJECT_ROOT / "backend" / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def require_migrations(conn: Connection) -> None:
    """Check that the database is at this version's migration.

    Args:
        conn: An open connection.

    Raises:
        MigrationsMissingError: It is not.
    """
    scripts = ScriptDirectory.from_config(alembic_config())
    wanted = scripts.get_current_head()
    found = MigrationContext.configure(conn).get_current_heads()
    if found == (wanted,):
        return
    names = ", ".join(found) or "none"
    if {*found} <= {script.revision for script in scripts.walk_revisions()}:
        raise MigrationsMissingError(
            f"the database is at migration {names}, this version needs {wanted};"
            " run: eventlink migrate"
        )
    raise MigrationsMissingError(f"the database is at migration {names}; {NOT_OURS}")
