"""``eventlink token``."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from eventlink.db.session import require_migrations, transaction
from eventlink.services.accounts import token_of


def token(user_id: Annotated[int, typer.Argument(metavar="USER_ID", help="Whose.")]) -> None:
    """Print an access token of a user, to try the HTTP API with.

    It is signed with SECRET_KEY, which must be the server's, and is good
    for 30 minutes.
    """
    with transaction() as conn:
        require_migrations(conn)
        typer.echo(token_of(conn, user_id, datetime.now(UTC)))
