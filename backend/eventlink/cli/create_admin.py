"""``eventlink create-admin``."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import validate_email
from pydantic_core import PydanticCustomError

from eventlink.db.session import require_migrations, transaction
from eventlink.errors import InvalidOptionError
from eventlink.services.accounts import SHORTEST_PASSWORD, make_administrator


def create_admin(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The address to log in with.")],
    name: Annotated[
        str | None, typer.Option(help="The full name.", show_default="the one it has")
    ] = None,
) -> None:
    """Make an administrator, also of an existing account.

    The password is asked for, or read as a line from standard input
    where that is no terminal. An existing account gets it as its new
    one, and is logged out everywhere.
    """
    address = _address(email)
    with transaction() as conn:
        require_migrations(conn)
    password = _password()
    with transaction() as conn:
        is_new = make_administrator(conn, address, password, name, datetime.now(UTC))
    typer.echo(f"{address} is {'a new' if is_new else 'now an'} administrator")


def _address(email: str) -> str:
    try:
        return validate_email(email)[1]
    except PydanticCustomError as error:
        reason = str((error.context or {}).get("reason", "")).rstrip(".")
        raise InvalidOptionError(f"{email!r} is not an e-mail address: {reason}") from error


def _password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < SHORTEST_PASSWORD:
        raise InvalidOptionError(f"the password must have at least {SHORTEST_PASSWORD} characters")
    return password
