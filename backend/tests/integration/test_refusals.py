"""What is said of an error that a job ended with: one line without statements and addresses."""

from collections.abc import Callable

import adbc_driver_postgresql.dbapi as adbc
import pytest
from adbc_driver_manager import AdbcStatusCode, ProgrammingError
from integration.sites import Site
from sqlalchemy import text

from eventlink.db import dataset
from eventlink.db.refusals import in_a_line
from eventlink.db.session import libpq_url, transaction
from eventlink.errors import DatabaseUnreachableError

MISSING = "the database's tables are not those of this version: column"


def by_sqlalchemy(statement: str) -> None:
    with transaction() as conn:
        conn.execute(text(statement))


def by_adbc(statement: str) -> None:
    with adbc.connect(libpq_url()) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.fetch_arrow_table()


@pytest.mark.parametrize("run", [by_sqlalchemy, by_adbc])
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT nothing FROM users", f'{MISSING} "nothing" does not exist; run eventlink migrate'),
        ("SELECT 1 / (id - id) FROM users", "division by zero"),
        ("SELECT id FRO users", 'syntax error at or near "users"'),
        ("INSERT INTO users (id) VALUES (1)", 'unique constraint "pk_users"'),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "terminating connection due to admin"),
    ],
)
def test_an_error_of_a_driver_is_one_line_without_its_statement(
    site: Site, run: Callable[[str], None], statement: str, says: str
) -> None:
    site.users(1)
    with pytest.raises(Exception, match=r".") as raised:
        run(statement)
    line = in_a_line(raised.value)
    assert says in line
    assert "\n" not in line
    assert not any(word in line for word in ("SELECT", "INSERT", "FROM users", "Key (id)"))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://eve:secret@db:5432/events",
        "postgres://db/events?user=eve&password=secret",
        "postgresql+psycopg://eve:%20secret@/events",
    ],
)
def test_a_line_does_not_name_the_address(address: str) -> None:
    for error in (
        DatabaseUnreachableError(f"no connection to {address}: it is away;\nstart the server"),
        ValueError(f"no connection to {address}: it is away;\nstart the server"),
    ):
        line = in_a_line(error)
        assert line.endswith("no connection to the database: it is away; start the server")
        assert "secret" not in line


@pytest.mark.parametrize(
    "secret", ["password=secret", "sslpassword=secret", r"password = 'my \'secret'"]
)
def test_a_line_does_not_name_a_password_of_keywords(secret: str) -> None:
    line = in_a_line(ValueError(f"no connection to host=db {secret} user=eve"))
    assert "secret" not in line
    assert line.startswith("ValueError: no connection to host=db ")
    assert line.endswith("password=*** user=eve")


def test_what_a_server_says_in_another_encoding_is_told() -> None:
    error = ProgrammingError(
        "it failed",
        status_code=AdbcStatusCode.UNKNOWN,
        details=[(b"PG_DIAG_MESSAGE_PRIMARY", "la table «lieux» manque".encode("latin-1"))],
    )
    assert (
        in_a_line(error)
        == "ProgrammingError: la table \N{REPLACEMENT CHARACTER}lieux\N{REPLACEMENT CHARACTER} manque"
    )


def test_an_error_of_ours_is_named_by_its_kind() -> None:
    assert in_a_line(ValueError("it is broken")) == "ValueError: it is broken"


def test_a_read_that_was_broken_off_leaves_its_statement_out(site: Site) -> None:
    def read_what_is_locked() -> None:
        with dataset._reading() as reader:
            reader.read("SELECT set_config('statement_timeout', '100', true)")
            reader.read("SELECT id FROM users")

    site.users(1)
    with transaction() as conn:
        conn.execute(text("LOCK TABLE users"))
        with pytest.raises(DatabaseUnreachableError, match="statement timeout") as raised:
            read_what_is_locked()
    assert "SELECT" not in str(raised.value)
