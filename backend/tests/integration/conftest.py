"""What integration tests may ask for: a simulated city in the test's own database."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import psycopg
import pytest
import structlog
from fastapi.testclient import TestClient
from integration.sites import NOON, Site
from psycopg import sql
from sqlalchemy import create_engine

from eventlink.config import settings
from eventlink.db import session
from eventlink.importers.simulation import simulate_into_database
from eventlink.main import create_app
from eventlink.recsys.progress import silent
from eventlink.recsys.simulation import SimulationOptions
from eventlink.services.tokens import Claims, Kind, issue


@pytest.fixture(scope="session", autouse=True)
def _server_first(server: str) -> None:
    """Have ``DATABASE_URL`` name the tests' server before any test runs.

    A thread that outlives a test which brings an address of its own asks for a connection once that
    address is gone. Where none is left it would start the embedded server, which takes seconds, and
    what it then keeps as the process's engine would be the next test's.
    """
    del server


@pytest.fixture(autouse=True)
def _usual_logs() -> Iterator[None]:
    """Undo what a command made of the logs: they would go to a stream that is closed by now."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def site(database: str) -> Site:
    """A migrated database without a row."""
    return Site(database)


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """The name of a user who has no rights in the test's database."""
    name = f"role_{uuid4().hex[:12]}"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    yield name
    session.engine().dispose()
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def city_template(server: str, migrated: str) -> str:
    """The name of a database with a simulated city, whose last instant is noon."""
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE city TEMPLATE {}").format(sql.Identifier(migrated)))
    address = server.replace("postgresql://", "postgresql+psycopg://").replace(
        "/postgres?", "/city?"
    )
    options = SimulationOptions(until=NOON.timestamp(), users=120, events=100, days=30)
    engine = create_engine(address)
    with engine.begin() as conn:
        simulate_into_database(conn, options, np.random.default_rng(3), silent)
    engine.dispose()
    return "city"


@pytest.fixture
def template(request: pytest.FixtureRequest, migrated: str) -> str:
    """The name of the database to copy: the one with a city where the test asks for ``city``."""
    if "city_template" in request.fixturenames:
        name: str = request.getfixturevalue("city_template")
        return name
    return migrated


@pytest.fixture
def city(city_template: str, database: str) -> Site:
    """A simulated city in the test's database."""
    del city_template  # for ``template`` to see
    return Site(database)


SECRET = "a secret of the tests, long enough to sign with"  # noqa: S105 (signs nothing of worth)


def _may_serve(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("ENVIRONMENT", "development")
    patch.setenv("SECRET_KEY", SECRET)
    settings.cache_clear()


@pytest.fixture
def client(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The application, on the test's own database: the one of ``site`` or ``city``."""
    del database
    _may_serve(monkeypatch)
    with TestClient(create_app()) as client:
        yield client


@pytest.fixture
def sign_in() -> Callable[[int], dict[str, str]]:
    """A function that turns a user's id into the headers of a logged-in request."""

    def headers(user_id: int, token_version: int = 0) -> dict[str, str]:
        token = issue(Claims(user_id, token_version), Kind.ACCESS, SECRET, datetime.now(UTC))
        return {"Authorization": f"Bearer {token}"}

    return headers
