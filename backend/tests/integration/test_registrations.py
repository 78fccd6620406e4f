import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx2
import psycopg
import pytest
import uvicorn
from fastapi.testclient import TestClient
from integration.sites import DAY, HOUR, Site, eventually
from sqlalchemy import Connection

from eventlink.config import settings
from eventlink.errors import DatabaseUnreachableError
from eventlink.main import create_app
from eventlink.services import refresh_marks

SignIn = Callable[[int], dict[str, str]]

ANA, DAN, ORGANIZER, RIVAL = 1, 2, 10, 11
NOW = datetime.now(UTC)
SEAT = "/api/events/100/registration"
DUE = "SELECT user_id FROM recommendation_refreshes WHERE due_at IS NOT NULL ORDER BY 1"


@pytest.fixture
def programme(site: Site) -> Site:
    """One public event with one seat, and others at which there is none to be had."""
    site.users(ANA, DAN, full_name="Ana Pop", email=None)
    site.users(ORGANIZER, RIVAL, role="organizer")
    site.add("tags", {"id": 61, "name": "jazz"})
    soon = {"owner_id": ORGANIZER, "start_time": NOW + DAY}
    site.event(100, max_seats=1, **soon)
    site.event(101, **soon | {"start_time": NOW - HOUR})
    site.event(102, status="draft", **soon)
    site.event(103, status="cancelled", **soon)
    site.event(104, deleted_at=NOW, **soon)
    site.event(105, max_seats=0, **soon)
    site.event(106, **soon)
    return site


def test_a_seat_is_taken_once_and_given_back_once(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    first, again = (client.put(SEAT, headers=sign_in(ANA)) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() == {"event_id": 100, "is_registered": True}
    assert client.put(SEAT, headers=sign_in(DAN)).status_code == 409
    for _ in range(2):
        assert client.delete(SEAT, headers=sign_in(ANA)).status_code == 204
    assert client.put(SEAT, headers=sign_in(DAN)).status_code == 201
    assert programme.run("SELECT user_id, unregistered_at IS NULL FROM registrations") == [
        (ANA, False),
        (DAN, True),
    ]


def test_registering_again_keeps_the_history(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    for method in ("PUT", "DELETE", "PUT"):
        client.request(method, SEAT, headers=sign_in(ANA))
    rows = programme.run("SELECT registered_at, unregistered_at FROM registrations ORDER BY id")
    assert [until is None for _, until in rows] == [False, True]
    assert rows[0][1] <= rows[1][0]


@pytest.mark.parametrize(
    ("event_id", "status"),
    [(101, 409), (102, 404), (103, 404), (104, 404), (105, 409), (106, 201), (999, 404)],
)
def test_only_an_open_event_gives_seats(
    event_id: int, status: int, programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    answer = client.put(f"/api/events/{event_id}/registration", headers=sign_in(ANA))
    assert answer.status_code == status
    assert programme.run("SELECT count(*) FROM registrations") == [(int(status == 201),)]


def test_an_organizer_takes_no_seat_at_a_draft(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    del programme
    answer = client.put("/api/events/102/registration", headers=sign_in(ORGANIZER))
    assert answer.status_code == 409


def test_a_seat_at_a_cancelled_event_may_be_given_back_and_a_started_one_not(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    for event_id in (101, 103):
        programme.registration(ANA, event_id)
    statuses = [
        client.delete(f"/api/events/{event_id}/registration", headers=sign_in(ANA)).status_code
        for event_id in (101, 103, 999)
    ]
    assert statuses == [409, 204, 404]


def test_my_registrations_tell_what_was_called_off(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    for event_id in (100, 103, 104):
        programme.registration(ANA, event_id)
    programme.registration(ANA, 106, unregistered_at=NOW)
    programme.registration(DAN, 106)
    mine = client.get("/api/registrations", headers=sign_in(ANA)).json()
    assert mine["total"] == 2
    assert [(item["event_id"], item["status"]) for item in mine["items"]] == [
        (100, "published"),
        (103, "cancelled"),
    ]


def test_an_event_is_a_favourite_as_often_as_one_likes(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    del programme
    path = "/api/events/100/favorite"

    def favorites(user_id: int) -> list[int]:
        page = client.get("/api/favorites", headers=sign_in(user_id)).json()
        return [event["id"] for event in page["items"]]

    for _ in range(2):
        assert client.put(path, headers=sign_in(ANA)).status_code == 204
        assert (favorites(ANA), favorites(DAN)) == ([100], [])
    assert client.put("/api/events/102/favorite", headers=sign_in(ANA)).status_code == 404
    for _ in range(2):
        assert client.delete(path, headers=sign_in(ANA)).status_code == 204
        assert favorites(ANA) == []


def test_an_organizer_sees_who_comes_and_notes_who_came(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    programme.registration(ANA, 101)
    programme.registration(DAN, 101, unregistered_at=NOW)
    path = "/api/events/101/registrations"
    note = f"{path}/{ANA}/attendance"
    for attended in (True, False, None):
        answer = client.put(note, json={"attended": attended}, headers=sign_in(ORGANIZER))
        assert answer.status_code == 204
        coming = client.get(path, headers=sign_in(ORGANIZER)).json()
        assert coming["total"] == 1
        assert coming["items"][0]["attended"] is attended
        assert coming["items"][0]["full_name"] == "Ana Pop"
    absent = client.put(
        f"{path}/{DAN}/attendance", json={"attended": True}, headers=sign_in(ORGANIZER)
    )
    assert absent.status_code == 404
    for headers in (sign_in(RIVAL), sign_in(ANA)):
        assert client.get(path, headers=headers).status_code == 403
        assert client.put(note, json={"attended": True}, headers=headers).status_code == 403


def test_nobody_was_at_an_event_that_has_not_started(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    programme.registration(ANA, 100)
    path = f"/api/events/100/registrations/{ANA}/attendance"
    answer = client.put(path, json={"attended": True}, headers=sign_in(ORGANIZER))
    assert answer.status_code == 409


TASTE = [
    ("PUT", SEAT, None),
    ("DELETE", SEAT, None),
    ("PUT", "/api/events/100/favorite", None),
    ("DELETE", "/api/events/100/favorite", None),
    ("PUT", "/api/profile/interests", {"tag_ids": [61]}),
    ("PUT", "/api/profile/interests/61", None),
    ("DELETE", "/api/profile/interests/61", None),
    ("PUT", "/api/profile/hidden-tags/61", None),
    ("DELETE", "/api/profile/hidden-tags/61", None),
    ("PUT", "/api/profile/followed-organizers/10", None),
    ("DELETE", "/api/profile/followed-organizers/10", None),
    ("PUT", "/api/profile/blocked-organizers/10", None),
    ("DELETE", "/api/profile/blocked-organizers/10", None),
    ("PATCH", "/api/profile", {"city": "Cluj-Napoca"}),
]


def test_whatever_changes_a_taste_marks_the_user_for_a_refresh(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    jobs = "SELECT count(*) FROM procrastinate_jobs"
    for method, path, body in TASTE:
        programme.run("TRUNCATE recommendation_refreshes, procrastinate_jobs CASCADE")
        answer = client.request(method, path, json=body, headers=sign_in(ANA))
        assert answer.is_success
        assert (path, programme.run(DUE)) == (path, [(ANA,)])
        assert (path, programme.run(jobs)) == (path, [(1,)])


def test_what_was_done_is_done_though_the_workers_cannot_be_woken(
    programme: Site, client: TestClient, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_conn: Connection, _due_at: datetime) -> None:
        raise DatabaseUnreachableError("PostgreSQL broke off")

    monkeypatch.setattr(refresh_marks, "wake_refresh", unreachable)
    assert client.put(SEAT, headers=sign_in(ANA)).status_code == 201
    assert programme.run(DUE) == [(ANA,)]


def test_seats_hold_where_the_platform_isolates_transactions_more(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(programme.address)["dbname"]
    programme.run(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    waiting = "SELECT FROM pg_locks WHERE NOT granted"
    with psycopg.connect(programme.address) as first, ThreadPoolExecutor(1) as pool:
        first.execute("SELECT FROM events WHERE id = 100 FOR NO KEY UPDATE")
        asked = pool.submit(client.put, SEAT, headers=sign_in(ANA))
        assert eventually(lambda: programme.run(f"SELECT 1 WHERE EXISTS ({waiting})"))
        first.execute("INSERT INTO registrations (user_id, event_id) VALUES (%s, 100)", (DAN,))
        first.commit()
    assert asked.result().status_code == 409
    assert programme.run("SELECT user_id FROM registrations") == [(DAN,)]


def test_what_is_refused_marks_nobody(programme: Site, client: TestClient, sign_in: SignIn) -> None:
    client.put("/api/events/105/registration", headers=sign_in(ANA))
    client.put("/api/profile/interests/999", headers=sign_in(ANA))
    assert programme.run(DUE) == []


@pytest.mark.parametrize(
    "setting", ["TASK_QUEUE_ENABLED", "RECOMMENDATIONS_REALTIME_REFRESH_ENABLED"]
)
def test_nobody_is_marked_where_refreshes_are_off(
    setting: str,
    programme: Site,
    client: TestClient,
    sign_in: SignIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(setting, "false")
    settings.cache_clear()
    assert client.put(SEAT, headers=sign_in(ANA)).status_code == 201
    assert programme.run(DUE) == []


def test_who_is_erased_meanwhile_is_nobody(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    waiting = "SELECT FROM pg_locks WHERE NOT granted"
    with psycopg.connect(programme.address) as erasing, ThreadPoolExecutor(1) as pool:
        erasing.execute("DELETE FROM users WHERE id = %s", (ANA,))
        asked = pool.submit(client.put, SEAT, headers=sign_in(ANA))
        assert eventually(lambda: programme.run(f"SELECT 1 WHERE EXISTS ({waiting})"))
        erasing.commit()
    assert asked.result().status_code == 401


@contextmanager
def serving() -> Iterator[str]:
    """Serve the application to real connections, and give its address."""
    server = uvicorn.Server(uvicorn.Config(create_app(), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.usefixtures("client")
def test_fifty_at_once_get_ten_seats(programme: Site, sign_in: SignIn) -> None:
    people = range(1001, 1051)
    programme.users(*people)
    programme.event(200, max_seats=10, start_time=NOW + DAY)
    together = threading.Barrier(len(people))

    with serving() as address, ThreadPoolExecutor(len(people)) as pool:

        def register(user_id: int) -> int:
            together.wait()
            path = f"{address}/api/events/200/registration"
            return httpx2.put(path, headers=sign_in(user_id), timeout=60).status_code

        statuses = Counter(pool.map(register, people))
    assert statuses == {201: 10, 409: 40}
    assert programme.run("SELECT count(*) FROM registrations WHERE event_id = 200") == [(10,)]


@pytest.mark.usefixtures("client")
def test_one_person_many_times_at_once_gets_one_seat(programme: Site, sign_in: SignIn) -> None:
    together = threading.Barrier(10)

    with serving() as address, ThreadPoolExecutor(10) as pool:

        def register(_time: int) -> int:
            together.wait()
            path = f"{address}/api/events/106/registration"
            return httpx2.put(path, headers=sign_in(ANA), timeout=60).status_code

        statuses = Counter(pool.map(register, range(10)))
    assert statuses == {201: 1, 200: 9}
    assert programme.run("SELECT count(*) FROM registrations") == [(1,)]
