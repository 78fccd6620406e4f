"""Probes: alive is not ready, and a database that hangs does not hang them."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from integration.sites import Site

from eventlink.config import settings
from eventlink.db import session
from eventlink.db.status import wanted_migration
from eventlink.main import create_app
from eventlink.services.status import require_migration
from eventlink.web import telemetry


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that accepts connections and never says a word.

    Whoever still waits for it at the end is waited for: once ``DATABASE_URL`` is the usual one, it
    would ask that one next, whatever that is by then.
    """
    del monkeypatch  # undone after this
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])
    for thread in set(threading.enumerate()) - before:
        thread.join(15)


@pytest.fixture
def closed() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def use(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://somebody:hidden@127.0.0.1:{port}/events")
    monkeypatch.setenv("ENVIRONMENT", "development")
    settings.cache_clear()
    session.engine.cache_clear()


@pytest.fixture(autouse=True)
def _own_engine() -> Iterator[None]:
    yield
    session.engine.cache_clear()
    settings.cache_clear()


def test_a_migrated_database_is_ready(client: TestClient) -> None:
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reason": None})


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ("UPDATE alembic_version SET version_num = '0001_users'", "0001_users"),
        ("UPDATE alembic_version SET version_num = 'another'", "another"),
        ("DELETE FROM alembic_version", "none"),
        ("DROP TABLE alembic_version", "none"),
    ],
)
def test_a_database_at_another_migration_is_not_ready(
    client: TestClient, site: Site, change: str, at: str
) -> None:
    site.run(change)
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert f"migration {at}, this version needs {wanted_migration()}" in answer.json()["reason"]
    assert "eventlink migrate" in answer.json()["reason"]


def test_a_later_migration_is_ready_while_a_new_version_is_rolled_out() -> None:
    require_migration("9999_later")
    require_migration(wanted_migration())


def test_readiness_comes_back_with_the_database(client: TestClient, site: Site) -> None:
    site.run("UPDATE alembic_version SET version_num = '0001_users'")
    assert client.get("/ready").status_code == 503
    site.run("UPDATE alembic_version SET version_num = %s", wanted_migration())
    assert client.get("/ready").status_code == 200


def test_a_database_that_is_away_is_told_without_its_address(
    closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(closed, monkeypatch)
    with TestClient(create_app()) as client:
        assert client.get("/live").json() == {"live": True}
        answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "reason": "the database does not answer"}


@pytest.mark.once
def test_a_database_that_hangs_hangs_no_probe(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    use(silent, monkeypatch)
    # What a test that ran just before has read of its database is not of this one.
    monkeypatch.setattr(telemetry.DatabaseFigures, "KEPT", 0)
    with TestClient(create_app()) as client, ThreadPoolExecutor() as threads:
        began = time.monotonic()
        answers = list(threads.map(lambda _: client.get("/ready"), range(5)))
        took = time.monotonic() - began
        began = time.monotonic()
        assert client.get("/live").status_code == 200
        assert time.monotonic() - began < 0.5
        began = time.monotonic()
        assert "eventlink_database_up 0.0" in client.get("/metrics").text
        assert time.monotonic() - began < 3
    assert {answer.status_code for answer in answers} == {503}
    assert took < 2
