"""The migrations make the tables that the code names, and can be taken back."""

import subprocess
import sys

import psycopg
import pytest
from alembic import command

from eventlink.db.session import alembic_config


@pytest.mark.usefixtures("empty_database")
def test_migrations_and_tables_agree() -> None:
    command.upgrade(alembic_config(), "head")
    command.check(alembic_config())


def test_migrations_that_start_together_all_succeed(empty_database: str) -> None:
    migrate = [sys.executable, "-c", "from eventlink.cli import main; main()", "migrate"]
    started = [subprocess.Popen(migrate, stderr=subprocess.PIPE) for _ in range(3)]
    told = [process.communicate(timeout=60)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], told
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT count(*) FROM alembic_version").fetchall() == [(1,)]


def test_migrations_can_be_taken_back(database: str) -> None:
    command.downgrade(alembic_config(), "base")
    with psycopg.connect(database) as conn:
        left = conn.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname = 'public' AND relkind IN ('r', 'v', 'p') AND relname <> 'alembic_version'"
        ).fetchall()
    assert left == []


def test_the_cache_has_its_promised_revision_and_columns(database: str) -> None:
    command.downgrade(alembic_config(), "0012_recommender_models")
    command.upgrade(alembic_config(), "0013_user_recommendations_cache")
    with psycopg.connect(database) as conn:
        cursor = conn.execute("SELECT * FROM user_recommendations")
        names = [column.name for column in cursor.description or []]
    assert names == [
        "user_id",
        "event_id",
        "score",
        "rank",
        "model_version",
        "generated_at",
        "reason",
    ]
