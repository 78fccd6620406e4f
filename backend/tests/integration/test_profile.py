from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from integration.sites import DAY, NOON, Site, eventually

from eventlink.db.profile import Liking
from eventlink.db.session import transaction
from eventlink.services.profile import like

SignIn = Callable[[int], dict[str, str]]

ANA, OTHER, ORGANIZER = 1, 2, 10

LISTS = [
    ("/api/profile/interests", "/api/profile/hidden-tags", 1),
    ("/api/profile/hidden-tags", "/api/profile/interests", 1),
    ("/api/profile/followed-organizers", "/api/profile/blocked-organizers", ORGANIZER),
    ("/api/profile/blocked-organizers", "/api/profile/followed-organizers", ORGANIZER),
]


@pytest.fixture
def people(site: Site) -> Site:
    site.users(ANA, OTHER)
    site.users(ORGANIZER, role="organizer", full_name="Jazz Club")
    site.add("tags", {"id": 1, "name": "jazz"}, {"id": 2, "name": "chess"})
    return site


def test_a_profile_changes_field_by_field(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    people.run("UPDATE users SET full_name = 'Ana', city = 'Iași' WHERE id = 1")
    change = {"city": "Cluj-Napoca", "lat": 46.77, "lon": 23.6, "language": "ro"}
    changed = client.patch("/api/profile", json=change, headers=sign_in(ANA))
    assert changed.status_code == 200
    assert changed.json() == client.get("/api/profile", headers=sign_in(ANA)).json()
    assert changed.json() == change | {
        "id": ANA,
        "email": None,
        "full_name": "Ana",
        "role": "student",
    }
    forgotten = client.patch("/api/profile", json={"city": None}, headers=sign_in(ANA)).json()
    assert forgotten["city"] is None
    assert forgotten["full_name"] == "Ana"


def test_a_profile_refuses_what_makes_no_sense(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    del people
    for change in (
        {"role": "admin"},
        {"id": 2},
        {"lat": 91, "lon": 0},
        {"lat": "46.77", "lon": 23.6},
        {"language": "Romanian, please"},
        {"city": "x" * 201},
        {"city": 7},
    ):
        answer = client.patch("/api/profile", json=change, headers=sign_in(ANA))
        assert (change, answer.status_code) == (change, 422)


def test_half_a_place_is_refused(people: Site, client: TestClient, sign_in: SignIn) -> None:
    assert client.patch("/api/profile", json={"lat": 46}, headers=sign_in(ANA)).status_code == 409
    assert people.run("SELECT lat FROM users WHERE id = 1") == [(None,)]


@pytest.mark.parametrize(("path", "opposite", "wanted"), LISTS)
def test_a_list_takes_things_on_and_off_as_often_as_one_likes(
    path: str, opposite: str, wanted: int, people: Site, client: TestClient, sign_in: SignIn
) -> None:
    del people

    def ids(of: str) -> list[int]:
        return [item["id"] for item in client.get(of, headers=sign_in(ANA)).json()]

    client.put(f"{opposite}/{wanted}", headers=sign_in(ANA))
    for _ in range(2):
        assert client.put(f"{path}/{wanted}", headers=sign_in(ANA)).status_code == 204
        assert (ids(path), ids(opposite)) == ([wanted], [])
    for _ in range(2):
        assert client.delete(f"{path}/{wanted}", headers=sign_in(ANA)).status_code == 204
        assert ids(path) == []
    assert client.get(path, headers=sign_in(OTHER)).json() == []


@pytest.mark.parametrize(("path", "opposite", "wanted"), LISTS)
def test_a_list_does_not_take_what_is_not_there(
    path: str, opposite: str, wanted: int, people: Site, client: TestClient, sign_in: SignIn
) -> None:
    del people, opposite, wanted
    assert client.put(f"{path}/99", headers=sign_in(ANA)).status_code == 404


def test_a_student_is_no_organizer_to_follow(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    path = f"/api/profile/followed-organizers/{OTHER}"
    assert client.put(path, headers=sign_in(ANA)).status_code == 404
    people.event(100, owner_id=OTHER)
    assert client.put(path, headers=sign_in(ANA)).status_code == 204


def test_nobody_follows_themselves(people: Site, client: TestClient, sign_in: SignIn) -> None:
    del people
    path = f"/api/profile/followed-organizers/{ORGANIZER}"
    assert client.put(path, headers=sign_in(ORGANIZER)).status_code == 409


def test_what_is_changed_at_once_ends_on_one_of_two_opposite_lists(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    waiting = "SELECT FROM pg_locks WHERE NOT granted"
    with transaction() as conn, ThreadPoolExecutor(1) as pool:
        like(conn, ANA, Liking.FOLLOWED, ORGANIZER)
        path = f"/api/profile/blocked-organizers/{ORGANIZER}"
        blocked = pool.submit(client.put, path, headers=sign_in(ANA))
        assert eventually(lambda: people.run(f"SELECT 1 WHERE EXISTS ({waiting})"))
        conn.commit()
        assert blocked.result().status_code == 204
    assert people.run("SELECT organizer_id FROM user_followed_organizers") == []
    assert people.run("SELECT organizer_id FROM user_blocked_organizers") == [(ORGANIZER,)]


def test_replacing_interests_keeps_the_dates_of_those_that_stay(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    long_ago = NOON - 20 * DAY
    people.add("user_interest_tags", {"user_id": 1, "tag_id": 1, "created_at": long_ago})
    body = {"tag_ids": [2, 1, 2]}
    replaced = client.put("/api/profile/interests", json=body, headers=sign_in(ANA))
    assert replaced.json() == [{"id": 2, "name": "chess"}, {"id": 1, "name": "jazz"}]
    rows = dict(people.run("SELECT tag_id, created_at FROM user_interest_tags"))
    assert rows[1] == long_ago
    assert rows[2] > datetime.now(UTC) - timedelta(minutes=5)
    missing = client.put("/api/profile/interests", json={"tag_ids": [99]}, headers=sign_in(ANA))
    assert missing.status_code == 404
    assert people.run("SELECT count(*) FROM user_interest_tags") == [(2,)]


def test_the_export_holds_all_of_mine_and_no_secret(
    city: Site, client: TestClient, sign_in: SignIn
) -> None:
    ((user_id, registrations),) = city.run(
        "SELECT user_id, count(*) FROM registrations GROUP BY 1 ORDER BY 2 DESC LIMIT 1"
    )
    city.run("UPDATE users SET password_hash = 'a secret hash' WHERE id = %s", user_id)
    answer = client.get("/api/profile/export", headers=sign_in(user_id))
    data = answer.json()
    assert data["profile"][0]["id"] == user_id
    assert len(data["registrations"]) == registrations
    ((interactions,),) = city.run(
        "SELECT count(*) FROM event_interactions WHERE user_id = %s", user_id
    )
    assert len(data["interactions"]) == interactions > 0
    assert "a secret hash" not in answer.text
