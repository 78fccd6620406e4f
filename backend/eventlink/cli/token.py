"""``eventlink token``."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from eventlink.config import settings
from eventlink.db.session import require_migrations, transaction
from eventlink.errors import InvalidOptionError
from eventlink.services.accounts import token_of
from eventlink.services.tokens import LARGEST, require_strong_secret


def token(user_id: Annotated[int, typer.Argument(metavar="USER_ID", help="Whose.")]) -> None:
    """Print an access token of a user, to try the HTTP API with.

    It is signed with SECRET_KEY, which must be the server's, and is good
    for 30 minutes.
    """
    if not 1 <= user_id <= LARGEST:
        raise InvalidOptionError(f"USER_ID must be between 1 and {LARGEST}, not {user_id}")
    require_strong_secret(settings().secret_key, settings().environment)
    with transaction() as conn:
        require_migrations(conn)
        typer.echo(token_of(conn, user_id, datetime.now(UTC)))
