"""The migrations make the tables that the code names, and can be taken back."""

import subprocess
import sys

import psycopg
import pytest
from alembic import command

from eventlink.cli import main
from eventlink.config import settings
from eventlink.db.session import alembic_config, engine


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


def run(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


@pytest.fixture
def foreign(empty_database: str) -> str:
    """A database of a platform that has tables of the same names and migrations of its own."""
    with psycopg.connect(empty_database) as conn:
        conn.execute("CREATE TABLE alembic_version (version_num text PRIMARY KEY)")
        conn.execute("INSERT INTO alembic_version VALUES ('4ba1'), ('7e50')")
        conn.execute("CREATE TABLE users (id bigint PRIMARY KEY, nickname text)")
        conn.execute("INSERT INTO users VALUES (1, 'ana')")
    return empty_database


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("command", ["migrate", "recompute"])
def test_migrations_of_another_program_are_told_apart(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == 4
    assert "give Event Link a schema of its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("taken", "says"),
    [
        ("CREATE TABLE users (id serial PRIMARY KEY, email text)", 'relation "users"'),
        ("CREATE VIEW events AS SELECT 1 AS id", 'relation "events"'),
        ("CREATE TYPE procrastinate_job_status AS ENUM ('new')", "procrastinate_job_status"),
    ],
)
def test_a_table_of_the_platform_s_by_a_name_of_ours_is_told_and_left_alone(
    empty_database: str, capsys: pytest.CaptureFixture[str], taken: str, says: str
) -> None:
    with psycopg.connect(empty_database) as conn:
        conn.execute(taken.encode())
    assert run("migrate") == 4
    (line,) = (said for said in capsys.readouterr().err.splitlines() if said[0] != "{")
    assert says in line
    assert "give Event Link a schema of its own" in line
    with psycopg.connect(empty_database) as conn:
        left = conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert left == (int("TABLE" in taken),)


def test_a_schema_of_its_own_is_enough(foreign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(foreign) as conn:
        conn.execute("CREATE SCHEMA eventlink")
    separator = "&" if "?" in foreign else "?"
    monkeypatch.setenv("DATABASE_URL", f"{foreign}{separator}options=-csearch_path%3Deventlink")
    settings.cache_clear()
    engine.cache_clear()
    small = ("--users", "60", "--events", "50", "--days", "10", "--seed", "5")
    assert run("migrate") == 0
    assert run("simulate", *small) == 0
    assert run("recompute", "--folds", "0", "--model", "prior") == 0
    assert run("enqueue", "--retrain-ml") == 0
    with psycopg.connect(foreign) as conn:
        assert conn.execute("SELECT * FROM users").fetchall() == [(1, "ana")]
        count = conn.execute("SELECT count(*) FROM eventlink.user_recommendations").fetchone()
        assert count is not None
        assert count[0] > 0
        ours = conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert ours == (2,)


def test_two_rights_on_a_schema_are_enough(
    database: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("CREATE SCHEMA eventlink")
        conn.execute(f"GRANT USAGE, CREATE ON SCHEMA eventlink TO {role}".encode())
    address = f"{database}&options=-csearch_path%3Deventlink".replace("//postgres:", f"//{role}:")
    monkeypatch.setenv("DATABASE_URL", address)
    settings.cache_clear()
    engine.cache_clear()
    assert run("migrate") == 0
    assert run("simulate", "--users", "60", "--events", "50", "--days", "10") == 0
    for _ in range(2):
        assert run("recompute", "--folds", "0", "--model", "prior") == 0


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
