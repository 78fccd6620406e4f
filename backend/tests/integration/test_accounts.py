# ruff: noqa: S105, S106 (these passwords protect nothing)
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from integration.conftest import SECRET
from integration.sites import Site
from pwdlib import PasswordHash

from eventlink.cli import main
from eventlink.db.session import transaction
from eventlink.errors import NotAuthenticatedError, NotFoundError, TooManyRequestsError
from eventlink.services import accounts
from eventlink.services.tokens import Claims, Kind, issue

ANA = {"email": "ana@example.com", "password": "a long sentence"}

SignIn = Callable[..., dict[str, str]]


def bearer(session: dict[str, Any], kind: str = "access_token") -> dict[str, str]:
    return {"Authorization": f"Bearer {session[kind]}"}


def register(client: TestClient, **fields: object) -> dict[str, Any]:
    answer = client.post("/api/auth/register", json=ANA | fields)
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()
    return session


def log_in(client: TestClient, **fields: object) -> Response:
    return client.post("/api/auth/login", json=ANA | fields)


def status_of(client: TestClient, headers: dict[str, str]) -> int:
    return client.get("/api/auth/me", headers=headers).status_code


def test_who_registers_is_logged_in_as_a_student(client: TestClient) -> None:
    session = register(client, full_name=" Ana Pop ")
    me = client.get("/api/auth/me", headers=bearer(session)).json()
    assert me == {
        "id": me["id"],
        "email": "ana@example.com",
        "full_name": "Ana Pop",
        "role": "student",
    }


def test_nobody_registers_as_more_than_a_student(client: TestClient) -> None:
    answer = client.post("/api/auth/register", json=ANA | {"role": "admin"})
    assert answer.status_code == 422


def test_an_address_registers_once_in_any_case(client: TestClient) -> None:
    register(client)
    answer = client.post("/api/auth/register", json=ANA | {"email": "ANA@example.com"})
    assert answer.status_code == 409


def test_logging_in_gives_tokens_that_work(client: TestClient) -> None:
    register(client)
    session = log_in(client, email="Ana@Example.com").json()
    assert session["token_type"] == "bearer"
    assert session["expires_in"] > 0
    assert status_of(client, bearer(session)) == 200


def test_a_wrong_address_and_a_wrong_password_answer_alike(client: TestClient, site: Site) -> None:
    register(client)
    site.users(900, email="nopassword@example.com")
    site.users(901, email="foreign@example.com", password_hash="$2b$12$abcdefghijklmnopqrstuv")
    answers = [
        log_in(client, email="nobody@example.com"),
        log_in(client, password="another sentence"),
        log_in(client, email="nopassword@example.com"),
        log_in(client, email="foreign@example.com"),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


def test_a_wrong_address_costs_as_much_work_as_a_wrong_password(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(client)
    log_in(client, email="nobody@example.com")  # makes the hash that stands in for nobody's
    hashed: list[str] = []
    verify = accounts.PASSWORDS.current_hasher.verify

    def counted(password: str | bytes, stored: str | bytes) -> bool:
        hashed.append(str(stored).rpartition("$")[0].rpartition("$")[0])
        return verify(password, stored)

    monkeypatch.setattr(accounts.PASSWORDS.current_hasher, "verify", counted)
    log_in(client, email="nobody@example.com")
    log_in(client, password="another sentence")
    assert len(hashed) == 2
    assert hashed[0] == hashed[1]


def test_an_older_hash_is_renewed_at_login(client: TestClient, site: Site) -> None:
    old = PasswordHash.recommended().hash(ANA["password"])
    site.users(7, email=ANA["email"], password_hash=old)
    session = log_in(client).json()
    assert status_of(client, bearer(session)) == 200
    assert site.run("SELECT password_hash FROM users")[0][0] != old
    assert log_in(client).status_code == 200


def test_an_inactive_account_neither_logs_in_nor_keeps_its_tokens(
    client: TestClient, site: Site
) -> None:
    session = register(client)
    site.run("UPDATE users SET is_active = false")
    assert log_in(client).status_code == 401
    assert status_of(client, bearer(session)) == 401
    renewal = client.post("/api/auth/refresh", json={"refresh_token": session["refresh_token"]})
    assert renewal.status_code == 401


def test_an_account_that_is_active_again_does_not_get_its_tokens_back(
    client: TestClient, site: Site, sign_in: SignIn
) -> None:
    session = register(client)
    [(ana,)] = site.run("SELECT id FROM users")
    site.users(1000, role="admin")
    for is_active in (False, True):
        client.patch(
            f"/api/admin/users/{ana}", json={"is_active": is_active}, headers=sign_in(1000)
        )
    assert status_of(client, bearer(session)) == 401
    assert log_in(client).status_code == 200


def test_what_is_taken_back_while_a_password_is_checked_stays_taken_back(
    client: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = register(client)
    check = accounts._check

    def check_slowly(password: str, stored: str | None) -> tuple[bool, str | None]:
        checked = check(password, stored)
        site.run("UPDATE users SET token_version = token_version + 1")
        return checked

    monkeypatch.setattr(accounts, "_check", check_slowly)
    change = {"current_password": ANA["password"], "new_password": "another sentence"}
    answer = client.post("/api/auth/password", json=change, headers=bearer(session))
    assert answer.status_code == 401
    logged_in = log_in(client)
    assert logged_in.status_code == 200  # the password is still the old one
    assert status_of(client, bearer(logged_in.json())) == 401


def test_a_refresh_token_gives_new_tokens_and_nothing_else(client: TestClient) -> None:
    session = register(client)
    assert status_of(client, bearer(session, "refresh_token")) == 401
    renewed = client.post("/api/auth/refresh", json={"refresh_token": session["refresh_token"]})
    assert status_of(client, bearer(renewed.json())) == 200
    swapped = client.post("/api/auth/refresh", json={"refresh_token": session["access_token"]})
    assert swapped.status_code == 401


def test_a_new_password_takes_back_all_older_tokens(client: TestClient) -> None:
    old = register(client)
    change = {"current_password": ANA["password"], "new_password": "another sentence"}
    new = client.post("/api/auth/password", json=change, headers=bearer(old))
    assert new.status_code == 200
    assert status_of(client, bearer(old)) == 401
    assert status_of(client, bearer(new.json())) == 200
    assert log_in(client).status_code == 401
    assert log_in(client, password="another sentence").status_code == 200


def test_a_new_password_needs_the_current_one(client: TestClient) -> None:
    session = register(client)
    change = {"current_password": "a guess", "new_password": "another sentence"}
    answer = client.post("/api/auth/password", json=change, headers=bearer(session))
    assert answer.status_code == 409
    assert log_in(client).status_code == 200


def test_logging_out_everywhere_takes_back_all_tokens(client: TestClient) -> None:
    sessions = [register(client), log_in(client).json()]
    answer = client.post("/api/auth/logout-everywhere", headers=bearer(sessions[0]))
    assert answer.status_code == 204
    assert [status_of(client, bearer(session)) for session in sessions] == [401, 401]
    assert log_in(client).status_code == 200


def test_an_erased_account_leaves_no_trace(city: Site, client: TestClient, sign_in: SignIn) -> None:
    ((user_id,),) = city.run(
        "SELECT r.user_id FROM registrations AS r JOIN users AS u ON u.id = r.user_id AND u.role = 'student'"
        " GROUP BY r.user_id ORDER BY count(*) DESC LIMIT 1"
    )
    city.add("recommendation_refreshes", {"user_id": user_id, "sequence": 1})
    assert client.delete("/api/auth/me", headers=sign_in(user_id)).status_code == 204
    tables = city.run(
        "SELECT table_name FROM information_schema.columns"
        " WHERE column_name = 'user_id' AND data_type = 'bigint' AND table_schema = 'public'"
    )
    assert len(tables) >= 9
    for (table,) in tables:
        counted = city.run(f"SELECT count(*) FROM {table} WHERE user_id = %s", user_id)
        assert (table, counted) == (table, [(0,)])
    assert city.run("SELECT count(*) FROM users WHERE id = %s", user_id) == [(0,)]
    assert status_of(client, sign_in(user_id)) == 401


def test_an_erased_organizers_coming_events_are_cancelled(
    site: Site, client: TestClient, sign_in: SignIn
) -> None:
    now = datetime.now(UTC)
    site.users(10, role="organizer")
    site.event(1, owner_id=10, start_time=now + timedelta(days=1))
    site.event(2, owner_id=10, start_time=now - timedelta(days=1))
    client.delete("/api/auth/me", headers=sign_in(10))
    assert site.run("SELECT id, status, owner_id FROM events ORDER BY id") == [
        (1, "cancelled", None),
        (2, "published", None),
    ]


def test_a_role_is_what_the_database_says_at_each_request(
    site: Site, client: TestClient, sign_in: SignIn
) -> None:
    site.users(1)
    site.users(2, role="admin")
    draft = {"title": "Jazz", "start_time": "2030-01-01T00:00:00Z"}
    assert client.post("/api/events", json=draft, headers=sign_in(1)).status_code == 403
    promoted = client.patch("/api/admin/users/1", json={"role": "organizer"}, headers=sign_in(2))
    assert promoted.json()["role"] == "organizer"
    assert client.post("/api/events", json=draft, headers=sign_in(1)).status_code == 201
    client.patch("/api/admin/users/1", json={"is_active": False}, headers=sign_in(2))
    assert client.post("/api/events", json=draft, headers=sign_in(1)).status_code == 401


def test_administrators_find_users_and_leave_their_own_role_alone(
    site: Site, client: TestClient, sign_in: SignIn
) -> None:
    site.users(1, email="ana@example.com", full_name="Ana Pop")
    site.users(2, role="admin")
    found = client.get("/api/admin/users", params={"q": "POP"}, headers=sign_in(2)).json()
    assert found["total"] == 1
    assert found["items"][0]["id"] == 1
    past = client.get("/api/admin/users", params={"offset": 9}, headers=sign_in(2)).json()
    assert past == {"total": 2, "items": []}
    answer = client.patch("/api/admin/users/2", json={"role": "student"}, headers=sign_in(2))
    assert answer.status_code == 409
    missing = client.patch("/api/admin/users/99", json={"role": "student"}, headers=sign_in(2))
    assert missing.status_code == 404


def test_guessing_passwords_of_one_account_is_slowed_down(client: TestClient) -> None:
    register(client)
    guesses = [log_in(client, password=f"guess {n}").status_code for n in range(12)]
    assert guesses[:10] == [401] * 10
    assert guesses[-1] == 429
    slowed = log_in(client)
    assert slowed.status_code == 429
    assert int(slowed.headers["Retry-After"]) > 0
    assert log_in(client, email="other@example.com").status_code == 401


def test_an_account_is_guarded_under_every_spelling_the_database_knows(
    client: TestClient, site: Site
) -> None:
    site.users(7, email="ivi@example.com")
    if site.run("SELECT lower('\u0130') = 'i'") == [(False,)]:
        pytest.skip("to this database a dotted capital I is no i")
    spellings = ("ivi", "\u0130vi", "iv\u0130", "\u0130v\u0130")
    guesses = [log_in(client, email=f"{name}@example.com").status_code for name in spellings * 3]
    assert guesses == [401] * 10 + [429] * 2


@pytest.mark.usefixtures("database")
def test_neighbours_in_an_ipv6_network_share_their_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounts, "ATTEMPTS_OF_ADDRESS", (1, 0.001))
    now = datetime.now(UTC)
    with pytest.raises(NotAuthenticatedError):
        accounts.log_in("ana@example.com", "a guess", "2001:db8::1", now)
    with pytest.raises(TooManyRequestsError):
        accounts.log_in("dan@example.com", "a guess", "2001:db8::2", now)
    with pytest.raises(NotAuthenticatedError):
        accounts.log_in("dan@example.com", "a guess", "2001:db8:0:1::2", now)


def test_a_token_of_somebody_else_does_not_pass(site: Site, client: TestClient) -> None:
    site.users(1, 2)
    mine = issue(Claims(1, 0), Kind.ACCESS, SECRET, datetime.now(UTC)).split(".")
    theirs = issue(Claims(2, 0), Kind.ACCESS, "x" * 32, datetime.now(UTC)).split(".")
    spliced = ".".join([mine[0], theirs[1], mine[2]])
    unsigned = ".".join([*theirs[:2], ""])
    for header in (
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {spliced}",
        f"Bearer {unsigned}",
        "Basic YTpi",
    ):
        answer = client.get("/api/auth/me", headers={"Authorization": header})
        assert (header, answer.status_code) == (header, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    answer = client.get("/api/auth/me", headers=[(b"Authorization", b"Bearer \xe9")])
    assert answer.status_code == 401


def test_a_wrong_request_does_not_echo_the_password(client: TestClient) -> None:
    answer = client.post("/api/auth/register", json=ANA | {"password": "sesame"})
    assert answer.status_code == 422
    assert "sesame" not in answer.text


UNSTORABLE = [
    b'{"email": "a@example.com", "password": "\\ud800 half a pair"}',
    b'{"email": "a@example.com", "password": "long enough", "\\ud800": 1}',
    b'{"email": "a@example.com", "password": NaN}',
    b'{"email": "a@example.com", "password": "long enough", "full_name": "nul \\u0000"}',
    b'{"email": "a@example.com", "password": "long enough", "full_name": " "}',
    b'{"email": "a\\u0000@example.com", "password": "long enough"}',
    b"[]",
    b"null",
    b"",
    b"{",
]


def test_what_cannot_be_stored_is_refused(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    for body in UNSTORABLE:
        answer = client.post("/api/auth/register", content=body, headers=headers)
        assert (body, answer.status_code) == (body, 422)
        assert answer.json()["detail"][0]["msg"]
    for body in (b"\xff\xfe{", b"[" * 100_000):
        answer = client.post("/api/auth/register", content=body, headers=headers)
        assert (body[:9], answer.status_code) == (body[:9], 400)


def create_admin(monkeypatch: pytest.MonkeyPatch, password: str, *words: str) -> int | str | None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    with pytest.raises(SystemExit) as stopped:
        main(["create-admin", *words])
    return stopped.value.code


def test_the_first_administrator_is_made_on_the_command_line(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = create_admin(monkeypatch, ANA["password"], ANA["email"], "--name", "Ana Pop")
    assert (code, capsys.readouterr().out) == (0, "ana@example.com is a new administrator\n")
    me = client.get("/api/auth/me", headers=bearer(log_in(client).json())).json()
    assert (me["role"], me["full_name"]) == ("admin", "Ana Pop")


def test_an_account_becomes_an_administrator_with_a_new_password(
    client: TestClient,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = register(client, full_name="Ana Pop")
    site.run("UPDATE users SET is_active = false")
    assert create_admin(monkeypatch, "another sentence", "Ana@Example.com") == 0
    assert "now an administrator" in capsys.readouterr().out
    session = log_in(client, password="another sentence").json()
    me = client.get("/api/auth/me", headers=bearer(session)).json()
    assert (me["role"], me["full_name"]) == ("admin", "Ana Pop")
    assert status_of(client, bearer(old)) == 401


@pytest.mark.parametrize(
    ("password", "email", "says"),
    [
        ("short", ANA["email"], "at least 8"),
        (ANA["password"], "nobody", "'nobody' is not an e-mail address"),
    ],
)
def test_a_bad_address_or_password_makes_no_administrator(
    password: str,
    email: str,
    says: str,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert create_admin(monkeypatch, password, email) == 2
    assert says in capsys.readouterr().err
    assert site.run("SELECT count(*) FROM users") == [(0,)]


def test_an_operator_gets_a_token_of_an_active_user(client: TestClient, site: Site) -> None:
    site.users(1)
    site.users(2, is_active=False)
    with transaction() as conn:
        token = accounts.token_of(conn, 1, datetime.now(UTC))
        for nobody in (2, 3):
            with pytest.raises(NotFoundError, match=f"user {nobody} does not exist"):
                accounts.token_of(conn, nobody, datetime.now(UTC))
    me = client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert me.json()["id"] == 1
