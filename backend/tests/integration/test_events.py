from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from integration.sites import DAY, HOUR, Site, eventually

from eventlink.config import settings
from eventlink.db.events import set_tags
from eventlink.db.session import transaction
from eventlink.services.experiments import Arm, arm_of

SignIn = Callable[[int], dict[str, str]]

ANA, ORGANIZER, RIVAL, ADMIN = 1, 10, 11, 20
JAZZ, CHESS, UNUSED = 61, 62, 63  # higher than what the database counts itself
NOW = datetime.now(UTC).replace(microsecond=0)
SOON = NOW + 2 * DAY


@pytest.fixture
def people(site: Site) -> Site:
    site.users(ANA)
    site.users(ORGANIZER, RIVAL, role="organizer", full_name="Jazz Club")
    site.users(ADMIN, role="admin")
    site.add("tags", {"id": JAZZ, "name": "jazz"}, {"id": CHESS, "name": "Chess"})
    return site


@pytest.fixture
def programme(people: Site) -> Site:
    """Four public events, soonest first, and four that are not public."""
    place = {"city": "Cluj-Napoca", "category": "music", "venue": "Club"}
    people.event(100, (JAZZ,), owner_id=ORGANIZER, start_time=SOON, max_seats=1, **place)
    people.event(101, (CHESS,), owner_id=RIVAL, start_time=SOON + HOUR, title="Open board")
    people.event(102, (JAZZ, CHESS), owner_id=ORGANIZER, start_time=SOON + DAY, max_seats=2)
    people.event(103, owner_id=RIVAL, start_time=SOON + 9 * DAY, description="100% Jazz_fans")
    people.event(104, owner_id=ORGANIZER, start_time=SOON, status="draft")
    people.event(105, owner_id=ORGANIZER, start_time=SOON, status="cancelled")
    people.event(106, owner_id=ORGANIZER, start_time=SOON, deleted_at=NOW - DAY)
    people.event(107, owner_id=ORGANIZER, start_time=SOON, publish_at=NOW + DAY)
    people.registration(ANA, 100)
    people.registration(ANA, 102)
    people.registration(RIVAL, 102)
    people.registration(RIVAL, 103, unregistered_at=NOW)
    return people


def draft(**fields: object) -> dict[str, object]:
    return {"title": "Jazz in the park", "start_time": SOON.isoformat()} | fields


def create(client: TestClient, headers: dict[str, str], **fields: object) -> dict[str, Any]:
    answer = client.post("/api/events", json=draft(**fields), headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/api/events/{made['id']}"
    return made


def found(client: TestClient, headers: dict[str, str] | None = None, **asked: Any) -> list[int]:
    answer = client.get("/api/events", params=asked, headers=headers)
    assert answer.status_code == 200, answer.text
    ids = [event["id"] for event in answer.json()["items"]]
    assert answer.json()["total"] == len(ids)
    return ids


def test_an_event_goes_from_draft_to_published_to_cancelled(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    mine = sign_in(ORGANIZER)
    made = create(client, mine, tags=["jazz", "Open air", "open AIR", " JAZZ "], max_seats=3)
    path = f"/api/events/{made['id']}"
    assert made["status"] == "draft"
    assert [tag["name"] for tag in made["tags"]] == ["Open air", "jazz"]
    assert (client.get(path).status_code, found(client)) == (404, [])
    for _ in range(2):
        published = client.post(f"{path}/publish", headers=mine).json()
        assert published["status"] == "published"
    assert client.get(path).json()["organizer"] == "Jazz Club"
    assert found(client) == [made["id"]]
    for _ in range(2):
        assert client.post(f"{path}/cancel", headers=mine).json()["status"] == "cancelled"
    assert (client.get(path).status_code, found(client)) == (404, [])
    assert client.post(f"{path}/publish", headers=mine).status_code == 409
    assert client.patch(path, json={"title": "Jazz"}, headers=mine).status_code == 409
    assert people.run("SELECT count(*) FROM tags") == [(3,)]


def test_publishing_dates_the_event_from_now(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    people.event(1, owner_id=ORGANIZER, start_time=SOON, status="draft", created_at=NOW - 9 * DAY)
    before = datetime.now(UTC)
    client.post("/api/events/1/publish", headers=sign_in(ORGANIZER))
    assert people.run("SELECT publish_at FROM events")[0][0] >= before


def test_an_event_to_publish_must_be_to_come(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    people.event(1, owner_id=ORGANIZER, start_time=NOW - HOUR, status="draft")
    mine = sign_in(ORGANIZER)
    assert client.post("/api/events/1/publish", headers=mine).status_code == 409
    later = {"start_time": SOON.isoformat()}
    assert client.patch("/api/events/1", json=later, headers=mine).status_code == 200
    assert client.post("/api/events/1/publish", headers=mine).status_code == 200
    earlier = {"start_time": (NOW - HOUR).isoformat()}
    assert client.patch("/api/events/1", json=earlier, headers=mine).status_code == 409


def test_a_started_event_keeps_its_start_and_is_not_cancelled(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    people.event(1, owner_id=ORGANIZER, start_time=NOW - HOUR)
    mine = sign_in(ORGANIZER)
    later = {"start_time": SOON.isoformat()}
    assert client.patch("/api/events/1", json=later, headers=mine).status_code == 409
    assert client.patch("/api/events/1", json={"title": "x"}, headers=mine).status_code == 200
    assert client.post("/api/events/1/cancel", headers=mine).status_code == 409


def test_a_deleted_event_is_there_for_its_organizer_only(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    for _ in range(2):
        assert client.delete("/api/events/100", headers=sign_in(ORGANIZER)).status_code == 204
    assert client.get("/api/events/100", headers=sign_in(ANA)).status_code == 404
    shown = client.get("/api/events/100", headers=sign_in(ORGANIZER))
    assert shown.json()["deleted_at"] is not None
    for command in ("publish", "cancel"):
        answer = client.post(f"/api/events/100/{command}", headers=sign_in(ORGANIZER))
        assert answer.status_code == 409
    kept = "SELECT count(*) FROM registrations WHERE event_id = 100"
    assert programme.run(kept) == [(1,)]


SENSELESS: list[dict[str, object]] = [
    {"title": None},
    {"title": " "},
    {"title": "x" * 201},
    {"title": "nul \0"},
    {"description": "x" * 20_001},
    {"start_time": None},
    {"start_time": "2030-01-01"},
    {"start_time": "2030-01-01T10:00:00"},
    {"start_time": 1893456000},
    {"start_time": "1893456000"},
    {"start_time": "0001-01-01T00:00:00+14:00"},
    {"start_time": "9999-12-31T23:59:59-14:00"},
    {"end_time": (SOON - HOUR).isoformat()},
    {"end_time": SOON.isoformat()},
    {"max_seats": -1},
    {"max_seats": 2**63},
    {"max_seats": "3"},
    {"lat": 46.77},
    {"lat": 91, "lon": 0},
    {"lat": True, "lon": 0},
    {"tags": ["x"] * 21},
    {"tags": [""]},
    {"status": "published"},
    {"owner_id": 1},
]


def test_an_event_that_makes_no_sense_is_refused(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    people.event(1, owner_id=ORGANIZER, start_time=SOON)
    for fields in SENSELESS:
        for method, path, body in (
            ("POST", "/api/events", draft(**fields)),
            ("PATCH", "/api/events/1", fields),
        ):
            answer = client.request(method, path, json=body, headers=sign_in(ORGANIZER))
            assert (method, fields, answer.status_code) == (method, fields, 422)


def test_a_change_leaves_the_rest_and_null_forgets(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    del programme
    mine = sign_in(ORGANIZER)
    changed = client.patch("/api/events/100", json={"category": None, "max_seats": 5}, headers=mine)
    event = changed.json()
    assert (event["category"], event["max_seats"]) == (None, 5)
    assert (event["city"], event["title"]) == ("Cluj-Napoca", "Event 100")
    assert [tag["name"] for tag in event["tags"]] == ["jazz"]


def test_there_cannot_be_fewer_seats_than_are_taken(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    del programme
    mine = sign_in(ORGANIZER)
    assert client.patch("/api/events/102", json={"max_seats": 1}, headers=mine).status_code == 409
    assert client.patch("/api/events/102", json={"max_seats": 2}, headers=mine).status_code == 200


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ({"title": "Other"}, True),
        ({"tags": ["chess"]}, True),
        ({"tags": []}, True),
        ({"tags": ["JAZZ"]}, False),
        ({"title": "Event 100"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_change_that_matters_dates_the_event(
    change: dict[str, object], touched: bool, programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    changed = "SELECT updated_at FROM events WHERE id = 100"
    before = programme.run(changed)
    answer = client.patch("/api/events/100", json=change, headers=sign_in(ORGANIZER))
    assert answer.status_code == 200
    assert (programme.run(changed) > before) is touched


def test_a_list_is_filtered(programme: Site, client: TestClient) -> None:
    assert found(client) == [100, 101, 102, 103]
    assert found(client, q="jazz") == [100, 102, 103]
    assert found(client, q=" EVENT  jazz ") == [100, 102, 103]
    assert found(client, q="100% jazz_fans") == [103]
    assert found(client, q="%") == [103]
    assert found(client, q="\\") == []
    assert found(client, q=" ") == [100, 101, 102, 103]
    assert found(client, q="chess BOARD") == [101]
    assert found(client, q="nothing of the kind") == []
    assert found(client, tag="CHESS") == [101, 102]
    assert found(client, category="Music") == [100]
    assert found(client, city=" cluj-napoca ") == [100]
    assert found(client, organizer=RIVAL) == [101, 103]
    assert found(client, free_seats=True) == [101, 103]
    assert found(client, free_seats=False) == [100, 102]
    assert found(client, tag="jazz", organizer=ORGANIZER, city="Cluj-Napoca") == [100]
    span = {"from": (SOON + HOUR).isoformat(), "to": (SOON + DAY).isoformat()}
    assert found(client, **span) == [101]
    programme.event(90, start_time=NOW - DAY)
    assert 90 not in found(client)
    assert 90 in found(client, **{"from": "2020-01-01T00:00:00Z"})


def test_a_list_is_read_page_by_page(programme: Site, client: TestClient) -> None:
    del programme
    pages = [
        client.get("/api/events", params={"limit": 3, "offset": offset}).json()
        for offset in (0, 3, 6)
    ]
    assert [[event["id"] for event in page["items"]] for page in pages] == [
        [100, 101, 102],
        [103],
        [],
    ]
    assert {page["total"] for page in pages} == {4}


def test_popular_events_come_first_if_asked_for(programme: Site, client: TestClient) -> None:
    del programme
    assert found(client, sort="popular") == [102, 100, 101, 103]


def test_recommended_events_come_first_for_whom_they_are(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    # The organizer, who was a student until lately, is ranked no more.
    for user_id, event_ids in ((ANA, [103, 101]), (ORGANIZER, [102])):
        ranking = {"event_ids": event_ids, "scores": [0.5] * len(event_ids)}
        ranking["reasons"] = ["popular"] * len(event_ids)
        row = {"user_id": user_id, "model_version": "m", "generated_at": NOW} | ranking
        programme.add("recommendation_overlay", row)
    assert found(client, sign_in(ANA), sort="recommended") == [103, 101, 100, 102]
    assert found(client, sign_in(ORGANIZER), sort="recommended") == [100, 101, 102, 103]
    assert found(client, sign_in(RIVAL), sort="recommended") == [100, 101, 102, 103]
    assert found(client, sort="recommended") == [100, 101, 102, 103]


def test_in_the_control_arm_recommended_events_are_in_order_of_time(
    programme: Site, client: TestClient, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking = {"event_ids": [103, 101], "scores": [0.5] * 2, "reasons": ["popular"] * 2}
    row = {"user_id": ANA, "model_version": "m", "generated_at": NOW} | ranking
    programme.add("recommendation_overlay", row)
    monkeypatch.setenv("RECOMMENDATIONS_CONTROL_SHARE", "0.5")
    lists = {}
    for number in range(20):
        monkeypatch.setenv("RECOMMENDATIONS_EXPERIMENT", f"e{number}")
        settings.cache_clear()
        events = tuple(found(client, sign_in(ANA), sort="recommended"))
        lists.setdefault(arm_of(ANA, is_rankable=True), set()).add(events)
    assert lists == {Arm.TREATMENT: {(103, 101, 100, 102)}, Arm.CONTROL: {(100, 101, 102, 103)}}


@pytest.mark.parametrize("sort", ["time", "popular", "recommended"])
def test_a_list_leaves_out_what_the_reader_never_wants_to_be_shown(
    sort: str, programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    programme.add("user_blocked_organizers", {"user_id": ANA, "organizer_id": RIVAL})
    programme.add("user_hidden_tags", {"user_id": ANA, "tag_id": CHESS})
    programme.add("user_hidden_tags", {"user_id": ORGANIZER, "tag_id": JAZZ})
    assert found(client, sign_in(ANA), sort=sort) == [100]
    assert set(found(client, sign_in(ORGANIZER), sort=sort)) == {100, 101, 102, 103}


def test_a_reader_sees_how_they_stand_to_an_event(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    programme.add("favorite_events", {"user_id": ANA, "event_id": 100})
    seen = client.get("/api/events/100", headers=sign_in(ANA)).json()
    assert (seen["is_registered"], seen["is_favorite"]) == (True, True)
    assert (seen["seats_taken"], seen["max_seats"], seen["favorites"]) == (1, 1, 1)
    others = client.get("/api/events/100").json()
    assert (others["is_registered"], others["is_favorite"]) == (False, False)
    listed = client.get("/api/events", headers=sign_in(RIVAL)).json()["items"]
    assert [event["id"] for event in listed if event["is_registered"]] == [102]


def test_what_is_not_public_is_there_for_its_organizer_and_administrators_only(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    del programme
    for event_id in (104, 105, 106, 107):
        statuses = [
            client.get(f"/api/events/{event_id}", headers=headers).status_code
            for headers in ({}, sign_in(ANA), sign_in(RIVAL), sign_in(ORGANIZER), sign_in(ADMIN))
        ]
        assert statuses == [404, 404, 404, 200, 200]
    own = client.get("/api/profile/events", headers=sign_in(ORGANIZER)).json()
    assert {event["id"] for event in own["items"]} == {100, 102, 104, 105, 107}


def test_an_event_is_changed_by_its_organizer_and_administrators_only(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    del programme

    def statuses(event_id: int) -> list[int]:
        return [
            client.patch(f"/api/events/{event_id}", json={}, headers=headers).status_code
            for headers in ({}, sign_in(ANA), sign_in(RIVAL), sign_in(ORGANIZER), sign_in(ADMIN))
        ]

    assert statuses(100) == [401, 403, 403, 200, 200]
    assert statuses(104) == [401, 403, 404, 200, 200]


def test_an_infinite_instant_does_not_break_the_list(programme: Site, client: TestClient) -> None:
    programme.event(108, start_time="infinity", created_at="-infinity", end_time="infinity")
    assert found(client)[-1] == 108
    assert client.get("/api/events/108").status_code == 200


def test_tags_are_listed_by_how_many_events_have_them(programme: Site, client: TestClient) -> None:
    programme.add("tags", {"id": UNUSED, "name": "unused"})
    programme.event(108, (JAZZ,), start_time=SOON)
    tags = client.get("/api/tags").json()
    assert [(tag["name"], tag["events"]) for tag in tags] == [
        ("jazz", 3),
        ("Chess", 2),
        ("unused", 0),
    ]
    assert [tag["name"] for tag in client.get("/api/tags", params={"q": "ch"}).json()] == ["Chess"]


def test_an_organizers_page_says_what_they_hold_and_who_follows(
    programme: Site, client: TestClient, sign_in: SignIn
) -> None:
    programme.add("user_followed_organizers", {"user_id": ANA, "organizer_id": ORGANIZER})
    page = client.get(f"/api/organizers/{ORGANIZER}", headers=sign_in(ANA)).json()
    assert page == {
        "id": ORGANIZER,
        "name": "Jazz Club",
        "events": 2,
        "followers": 1,
        "is_followed": True,
        "is_blocked": False,
    }
    assert client.get(f"/api/organizers/{ORGANIZER}").json()["is_followed"] is False
    assert client.get(f"/api/organizers/{ANA}").status_code == 404
    assert client.get("/api/organizers/999").status_code == 404


def test_the_same_new_tags_at_once_are_made_once(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    for spelling in ("Techno", "techno", "TECHNO"):
        create(
            client,
            sign_in(ORGANIZER),
            tags=[spelling],
            end_time=(SOON + timedelta(hours=3)).isoformat(),
        )
    assert people.run("SELECT name FROM tags WHERE lower(name) = 'techno'") == [("Techno",)]


def test_two_spellings_of_a_new_tag_at_once_are_one_tag(
    people: Site, client: TestClient, sign_in: SignIn
) -> None:
    made = create(client, sign_in(ORGANIZER), tags=["Swing", "SWING"])
    assert [tag["name"] for tag in made["tags"]] == ["Swing"]
    waiting = "SELECT FROM pg_locks WHERE NOT granted"
    with transaction() as conn, ThreadPoolExecutor(1) as pool:
        set_tags(conn, made["id"], ["Techno"])
        other = pool.submit(create, client, sign_in(RIVAL), tags=["TECHNO", "swing"])
        assert eventually(lambda: people.run(f"SELECT 1 WHERE EXISTS ({waiting})"))
        conn.commit()
        assert [tag["name"] for tag in other.result()["tags"]] == ["Swing", "Techno"]
    assert people.run("SELECT count(*) FROM tags WHERE lower(name) = 'techno'") == [(1,)]
