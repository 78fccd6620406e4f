"""Without ``DATABASE_URL`` there is a server all the same, in a folder with any name."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from eventlink.db.embedded import embedded_url
from eventlink.errors import DatabaseUnreachableError

pytestmark = pytest.mark.once  # it is always the server that comes with the program

EVENTLINK = (sys.executable, "-c", "from eventlink.cli import main; main()")


def environment(folder: Path) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return others | {"EVENTLINK_DATA_DIR": str(folder)}


def eventlink(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EVENTLINK, *words],
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Keep the embedded server running, and tell its address."""
    running = subprocess.Popen(
        [*EVENTLINK, "database"],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        assert line.startswith("export DATABASE_URL='"), running.communicate()
        yield running, line.split("'")[1]
    finally:
        with suppress(ProcessLookupError):
            running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)


def test_processes_share_one_server_and_the_last_one_stops_it(tmp_path: Path) -> None:
    folder = tmp_path / "a folder of mine"
    with serving(folder) as (_, address):
        with serving(folder) as (first, same):
            assert same == address
        assert first.returncode == 0
        migrated = eventlink(folder, "migrate")
        assert migrated.returncode == 0, migrated.stderr
        said = [line for line in migrated.stderr.splitlines() if "embedded PostgreSQL" in line]
        assert len(said) == 1
        assert str(folder) in said[0]
        with psycopg.connect(address) as conn:
            assert conn.execute("SELECT count(*) FROM users").fetchall() == [(0,)]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)


def test_a_name_too_long_for_a_socket_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    with serving(folder) as (_, address), psycopg.connect(address) as conn:
        assert conn.execute("SELECT 1").fetchall() == [(1,)]


def test_a_server_that_does_not_start_gets_one_line(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")
    failed = eventlink(tmp_path, "recompute")
    assert failed.returncode == DatabaseUnreachableError.exit_code
    assert len(failed.stderr.splitlines()) == 1, failed.stderr
    assert failed.stderr.startswith("eventlink: error: the embedded PostgreSQL does not start")


def test_a_folder_with_files_of_somebody_s_is_told_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    data.mkdir()
    (data / "notes.txt").write_text("mine\n")
    with pytest.raises(DatabaseUnreachableError, match="is not empty, and no database of Event"):
        embedded_url(tmp_path)
    assert [path.name for path in data.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    of_another_version = tmp_path / "old" / "postgres"
    of_another_version.mkdir(parents=True)
    (of_another_version / "PG_VERSION").write_text("9\n")
    file = tmp_path / "file"
    file.touch()
    for folder in (of_another_version.parent, file):
        with pytest.raises(DatabaseUnreachableError, match="DATABASE_URL"):
            embedded_url(folder)
