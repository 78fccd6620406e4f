"""``eventlink database``."""

import signal
from contextlib import suppress

import typer

from eventlink.db.session import connection, database_url


def database() -> None:
    """Keep the embedded PostgreSQL running and print its address, until interrupted."""
    with connection(), suppress(KeyboardInterrupt):
        typer.echo(f"export DATABASE_URL='{database_url()}'")
        typer.echo('psql "$DATABASE_URL"', err=True)
        typer.echo("running; stop with Ctrl-C", err=True)
        signal.pause()
