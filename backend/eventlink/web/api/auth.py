"""Routes of accounts: registering, tokens, passwords; and the administrators' hold on them.

What does not live here: the profile (``web.api.profile``).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import EmailStr, Field

from eventlink.db import accounts as stored
from eventlink.db.accounts import ManagedUser
from eventlink.errors import NotAuthenticatedError
from eventlink.services import accounts
from eventlink.services.accounts import SHORTEST_PASSWORD, NewAccount, Session
from eventlink.services.tokens import Claims
from eventlink.web.errors import answers
from eventlink.web.fields import NO_NUL, Body, Id, Language, Limit, Name, Offset, absent
from eventlink.web.requests import Admin, CurrentUser, MaybeClaims, Now, Transaction, Turn

router = APIRouter(tags=["accounts"], responses=answers(503))

AS_PASSWORD = {"format": "password", "writeOnly": True}
NewPassword = Annotated[
    str, Field(min_length=SHORTEST_PASSWORD, max_length=200, json_schema_extra=AS_PASSWORD)
]
Password = Annotated[str, Field(max_length=200, json_schema_extra=AS_PASSWORD)]
Role = Literal["student", "organizer", "admin"]


class Registration(Body):
    """A new account."""

    email: EmailStr = Field(max_length=254, examples=["ana@example.com"])
    password: NewPassword = Field(examples=["a long sentence of mine"])
    full_name: Name | None = Field(default=None, examples=["Ana Pop"])
    city: Name | None = Field(default=None, examples=["Cluj-Napoca"])
    language: Language | None = Field(default=None, examples=["ro"])


class Login(Body):
    """An address and its password."""

    email: Annotated[str, Field(max_length=254, pattern=NO_NUL, examples=["ana@example.com"])]
    password: Password = Field(examples=["a long sentence of mine"])


class Renewal(Body):
    """A refresh token."""

    refresh_token: str = Field(max_length=4096)


class PasswordChange(Body):
    """The password up to now and the one from now on."""

    current_password: Password
    new_password: NewPassword


class Management(Body):
    """What an administrator changes; what is left out stays."""

    role: Role = Field(default_factory=absent, examples=["organizer"])
    is_active: bool = Field(default_factory=absent, strict=True)


@dataclass(frozen=True)
class Me:
    """The account that a token speaks of."""

    id: int
    email: str | None
    full_name: str | None
    role: str


@dataclass(frozen=True)
class Users:
    """A page of users."""

    total: int
    items: list[ManagedUser]


def _client(request: Request) -> str:
    """Return the network address that asks; uvicorn puts a trusted proxy's word in its place."""
    return request.client.host if request.client else "unknown"


Client = Annotated[str, Depends(_client)]


def _token(claims: MaybeClaims) -> Claims:
    if claims is None:
        raise NotAuthenticatedError("log in and send the access token as Authorization: Bearer …")
    return claims


@router.post(
    "/auth/register", status_code=201, responses=answers(400, 409, 429), dependencies=[Turn]
)
def register(new: Registration, client: Client, now: Now, response: Response) -> Session:
    """Make an account, as a student, and log in."""
    response.headers["Location"] = "/api/auth/me"
    account = NewAccount(new.email, new.password, new.full_name, new.city, new.language)
    return accounts.register(account, client, now)


@router.post("/auth/login", responses=answers(400, 401, 429), dependencies=[Turn])
def log_in(login: Login, client: Client, now: Now) -> Session:
    """Get tokens for an address and its password."""
    return accounts.log_in(login.email, login.password, client, now)


@router.post("/auth/refresh", responses=answers(400, 401))
def refresh(renewal: Renewal, conn: Transaction, now: Now) -> Session:
    """Get new tokens for a refresh token."""
    return accounts.refresh(conn, renewal.refresh_token, now)


@router.get("/auth/me", responses=answers(401))
def me(user: CurrentUser) -> Me:
    """Tell who the token speaks of."""
    return Me(user.id, user.email, user.full_name, user.role)


@router.post("/auth/password", responses=answers(400, 401, 409, 429), dependencies=[Turn])
def change_password(
    change: PasswordChange, claims: Annotated[Claims, Depends(_token)], now: Now
) -> Session:
    """Change the password; all tokens are taken back but those of the answer."""
    return accounts.change_password(
        claims,
        change.current_password,
        change.new_password,
        now,
    )


@router.post("/auth/logout-everywhere", status_code=204, responses=answers(401))
def log_out_everywhere(user: CurrentUser, conn: Transaction) -> None:
    """Take back all tokens, on every device."""
    stored.revoke_tokens(conn, user.id)


@router.delete("/auth/me", status_code=204, responses=answers(401))
def erase(user: CurrentUser, conn: Transaction, now: Now) -> None:
    """Erase the account with all traces, for good. Events it was going to hold are cancelled."""
    stored.erase(conn, user.id, now)


@router.get("/admin/users", responses=answers(401, 403), tags=["admin"])
def users(
    _admin: Admin,
    conn: Transaction,
    q: Annotated[
        str | None,
        Query(max_length=254, pattern=NO_NUL, description="A part of the address or name."),
    ] = None,
    role: Role | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Users:
    """Find users."""
    return Users(*stored.search_users(conn, q, role, limit, offset))


@router.patch("/admin/users/{user_id}", responses=answers(400, 401, 403, 404, 409), tags=["admin"])
def manage(user_id: Id, change: Management, admin: Admin, conn: Transaction) -> ManagedUser:
    """Change a user's role, or whether the account is active."""
    return accounts.manage(conn, admin, user_id, change.model_dump(exclude_unset=True))
