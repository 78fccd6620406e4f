"""``eventlink database``."""

import signal
from contextlib import suppress

import typer

from eventlink.db.session import connection, database_url


def database() -> None:
    """Run the embedded PostgreSQL and print its address.

    It is kept running until interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the server would be left behind
    with connection(), suppress(KeyboardInterrupt):
        typer.echo(f"export DATABASE_URL='{database_url()}'")
        typer.echo('psql "$DATABASE_URL"', err=True)
        typer.echo("running; stop with Ctrl-C", err=True)
        signal.pause()
