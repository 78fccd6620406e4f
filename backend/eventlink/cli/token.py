"""``eventlink token``."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from eventlink.config import settings
from eventlink.db.session import require_migrations, transaction
from eventlink.errors import InvalidOptionError
from eventlink.services.accounts import token_of, token_of_address
from eventlink.services.tokens import LARGEST, require_strong_secret


def token(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose: an id or an e-mail address.")],
) -> None:
    """Print an access token of a user, to try the HTTP API with.

    It is signed with SECRET_KEY, which must be the server's, and is good
    for 30 minutes.
    """
    # Bytes that are no text cannot be sent to the database; as an id they are refused.
    whose = user if "@" in user and user.isprintable() else _id(user)
    require_strong_secret(settings().secret_key, settings().environment)
    with transaction() as conn:
        require_migrations(conn)
        now = datetime.now(UTC)
        if isinstance(whose, int):
            typer.echo(token_of(conn, whose, now))
        else:
            typer.echo(token_of_address(conn, whose, now))


def _id(user: str) -> int:
    try:
        user_id = int(user)
    except ValueError as error:
        raise InvalidOptionError(
            f"USER must be a whole number or an e-mail address, not {user!r};"
            " see: eventlink token --help"
        ) from error
    if not 1 <= user_id <= LARGEST:
        raise InvalidOptionError(f"USER must be between 1 and {LARGEST}, not {user_id}")
    return user_id
