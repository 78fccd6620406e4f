"""``eventlink serve``."""

import os
import signal
import socket
import sys
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
import uvicorn

from eventlink.config import settings
from eventlink.db.session import connection, database_url, require_migrations
from eventlink.errors import InvalidOptionError
from eventlink.services.tokens import require_strong_secret

LAST_PORT = 65535


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Serve the HTTP API.

    It describes itself at /docs. Rankings are refreshed by a worker beside
    it: eventlink worker.
    """
    if workers < 1:
        raise InvalidOptionError(f"--workers must be at least 1, not {workers}")
    _require_free(host, port)
    require_strong_secret(settings().secret_key, settings().environment)
    with connection() as conn:
        require_migrations(conn)
    with TemporaryDirectory(prefix="eventlink-metrics-") as folder:
        if workers > 1:
            # Whichever process answers /metrics adds up the figures of all.
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
            # This process keeps an embedded PostgreSQL alive, and lets go of it in good order.
            os.environ.setdefault("DATABASE_URL", database_url())
        # Once it has shut down, uvicorn sends itself the signal anew: then we end in good order.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        typer.echo(
            f"listening on http://{host}:{port}, described at /docs; stop with Ctrl-C", err=True
        )
        uvicorn.run(
            "eventlink.main:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=10,
        )


def _require_free(host: str, port: int) -> None:
    """Ask beforehand: uvicorn would end with a code of its own, or log a crash and hang."""
    if not 1 <= port <= LAST_PORT:
        raise InvalidOptionError(f"--port must be between 1 and {LAST_PORT}, not {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (while ")[0]  # Python tells the address again
        raise InvalidOptionError(
            f"nothing can listen on {host}, port {port}: {reason}; choose others with --host"
            " and --port"
        ) from error
