import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from integration.conftest import SECRET
from integration.sites import DAY, HOUR, NOON, Site, lists_of, rank_at
from psycopg import sql
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from eventlink.config import settings
from eventlink.db.overlay import store_refreshed
from eventlink.db.recommendations import build_generation, clean_up, serve_generation
from eventlink.db.served import HEURISTIC, STORED
from eventlink.db.session import connection, transaction
from eventlink.recsys.reasons import CODES
from eventlink.services import event_cards, recommendations
from eventlink.services.experiments import Arm, arm_of, code_of
from eventlink.services.recommendations import spoken
from eventlink.services.request_ids import Source, read
from eventlink.services.tokens import Claims, Kind, issue
from eventlink.web import requests
from eventlink.web.api.recommendations import Recommendations, accepted

PATH = "/api/recommendations"
MAX_AGE = timedelta(seconds=129_600)


def publish(ranked: dict[int, list[int]], at: datetime = NOON, version: str = "m") -> int:
    with connection() as conn:
        generation = build_generation(conn, version, at, [lists_of(ranked)])
        with conn.begin():
            serve_generation(conn, generation)
    return generation


def refresh(ranked: dict[int, list[int]], at: datetime, version: str = "r") -> None:
    with transaction() as conn:
        store_refreshed(conn, version, at, lists_of(ranked))


class Reader:
    """Asks for a user's recommendations; answers must match the documented model."""

    def __init__(self, client: TestClient, sign_in: Callable[[int], dict[str, str]]) -> None:
        self.client, self.sign_in = client, sign_in
        self.travel(NOON)

    def travel(self, now: datetime) -> None:
        async def asking(request: Request) -> requests.Asking:
            return replace(await requests._asking(request), now=now)

        self.client.app.dependency_overrides[requests._asking] = asking  # type: ignore[attr-defined]

    def ask(self, user_id: int = 1, limit: int | None = None, language: str = "") -> Any:
        response = self.client.get(
            PATH,
            headers=self.sign_in(user_id) | {"Accept-Language": language},
            params={} if limit is None else {"limit": limit},
        )
        assert response.status_code == 200, response.text
        documented = TypeAdapter(Recommendations).validate_json(response.content)
        assert from_json(to_json(documented)) == response.json()
        assert [item["rank"] for item in response.json()["items"]] == list(
            range(1, len(response.json()["items"]) + 1)
        )
        return response.json()

    def events(self, user_id: int = 1, limit: int | None = None) -> list[int]:
        return [item["event"]["id"] for item in self.ask(user_id, limit)["items"]]


@pytest.fixture
def reader(client: TestClient, sign_in: Callable[[int], dict[str, str]]) -> Reader:
    return Reader(client, sign_in)


@pytest.fixture
def town(site: Site) -> Site:
    """Four events that all may see, an organizer for each two, tags, and a crowd to fill seats."""
    site.users(1, 2, 3, city="Cluj")
    site.users(10, 11, role="organizer", full_name="Ana")
    site.add("tags", {"id": 1, "name": "jazz"}, {"id": 2, "name": "chess"})
    site.event(100, tags=(1,), owner_id=10, category="music", city="Cluj", venue="Park")
    site.event(101, tags=(2,), owner_id=11, start_time=NOON + 20 * DAY)
    site.event(102, owner_id=10, start_time=NOON + 21 * DAY)
    site.event(103, owner_id=11, start_time=NOON + 22 * DAY)
    return site


def use(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    settings.cache_clear()


# The stored list ----------------------------------------------------------------------------


@pytest.mark.usefixtures("town")
def test_the_stored_list_is_served_in_its_order(reader: Reader) -> None:
    publish({1: [102, 100, 101, 103], 2: [103]}, version="v7")
    answer = reader.ask(limit=3)
    assert [item["event"]["id"] for item in answer["items"]] == [102, 100, 101]
    assert [item["source"] for item in answer["items"]] == ["cache"] * 3
    assert (answer["source"], answer["model_version"]) == ("cache", "v7")
    assert datetime.fromisoformat(answer["generated_at"]) == NOON
    assert [item["score"] for item in answer["items"]] == pytest.approx(
        [0.9, 0.9 - 0.8 / 3, 0.9 - 1.6 / 3], abs=1e-5
    )


def test_an_item_shows_what_a_person_wants_to_know(town: Site, reader: Reader) -> None:
    town.run("UPDATE events SET max_seats = 3 WHERE id = 100")
    town.registration(2, 100)
    publish({1: [100]})
    [item] = reader.ask(limit=1)["items"]
    assert item["event"] == {
        "id": 100,
        "title": "Event 100",
        "category": "music",
        "city": "Cluj",
        "venue": "Park",
        "start_time": "2026-03-04T12:00:00Z",
        "end_time": None,
        "organizer_id": 10,
        "organizer": "Ana",
        "max_seats": 3,
        "seats_left": 2,
        "tags": [{"id": 1, "name": "jazz"}],
    }


REFUSED: dict[str, Callable[[Site], object]] = {
    "draft": lambda town: town.run("UPDATE events SET status = 'draft' WHERE id = 100"),
    "cancelled": lambda town: town.run("UPDATE events SET status = 'cancelled' WHERE id = 100"),
    "deleted": lambda town: town.run("UPDATE events SET deleted_at = %s WHERE id = 100", NOON),
    "not public yet": lambda town: town.run(
        "UPDATE events SET publish_at = %s WHERE id = 100", NOON + HOUR
    ),
    "begun": lambda town: town.run("UPDATE events SET start_time = %s WHERE id = 100", NOON),
    "full": lambda town: (
        town.run("UPDATE events SET max_seats = 1 WHERE id = 100"),
        town.registration(2, 100),
    ),
    "without seats": lambda town: town.run("UPDATE events SET max_seats = 0 WHERE id = 100"),
    "registered": lambda town: town.registration(1, 100),
    "hidden": lambda town: town.add("user_hidden_tags", {"user_id": 1, "tag_id": 1}),
    "blocked": lambda town: town.add("user_blocked_organizers", {"user_id": 1, "organizer_id": 10}),
}


@pytest.mark.parametrize("stored", [True, False], ids=["cache", "heuristic"])
@pytest.mark.parametrize("how", REFUSED)
def test_what_became_ineligible_is_not_shown(
    how: str, stored: bool, town: Site, reader: Reader
) -> None:
    if stored:
        publish({1: [100, 101]})
    assert reader.events()[0] == 100
    REFUSED[how](town)
    shown = reader.ask()
    assert 100 not in [item["event"]["id"] for item in shown["items"]]
    assert {101, 103} <= {item["event"]["id"] for item in shown["items"]}
    assert shown["source"] == ("cache" if stored else "heuristic")


def test_a_seat_given_back_is_offered_again(town: Site, reader: Reader) -> None:
    town.run("UPDATE events SET max_seats = 1 WHERE id = 100")
    town.registration(1, 100, unregistered_at=NOON)
    town.registration(2, 100, unregistered_at=NOON)
    publish({1: [100]})
    assert reader.ask(limit=1)["items"][0]["event"]["seats_left"] == 1


@pytest.mark.usefixtures("town")
def test_the_later_of_refresh_and_generation_is_served(reader: Reader) -> None:
    publish({1: [100]}, NOON - 2 * HOUR)
    refresh({1: [101]}, NOON - HOUR)
    first = reader.ask(limit=1)
    assert (first["items"][0]["event"]["id"], first["model_version"]) == (101, "r")
    publish({1: [102]}, NOON)
    assert reader.events(limit=1) == [102]


@pytest.mark.usefixtures("town")
def test_a_refresh_is_served_before_any_generation(reader: Reader) -> None:
    refresh({1: [102]}, NOON)
    answer = reader.ask(limit=1)
    assert (answer["source"], answer["items"][0]["event"]["id"]) == ("cache", 102)


@pytest.mark.usefixtures("town")
def test_a_list_is_served_up_to_the_maximum_age(reader: Reader) -> None:
    publish({1: [103]}, NOON - MAX_AGE)
    assert reader.ask()["source"] == "cache"
    reader.travel(NOON + timedelta(milliseconds=1))
    answer = reader.ask()
    assert (answer["source"], answer["model_version"]) == ("heuristic", None)
    assert datetime.fromisoformat(answer["generated_at"]) == NOON + timedelta(milliseconds=1)


@pytest.mark.usefixtures("town")
def test_the_maximum_age_is_a_setting(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    publish({1: [103]}, NOON - HOUR)
    use(monkeypatch, "RECOMMENDATIONS_CACHE_MAX_AGE_SECONDS", "60")
    assert reader.ask()["source"] == "heuristic"


@pytest.mark.usefixtures("town")
def test_the_cache_may_be_turned_off(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    publish({1: [103]})
    use(monkeypatch, "RECOMMENDATIONS_USE_ML_CACHE", "false")
    assert reader.ask()["source"] == "heuristic"


def test_a_list_that_shrank_is_filled_up_without_repeating(town: Site, reader: Reader) -> None:
    publish({1: [103, 102, 101]})
    town.registration(1, 102)
    answer = reader.ask(limit=3)
    assert answer["source"] == "cache"
    assert [(item["event"]["id"], item["source"]) for item in answer["items"]] == [
        (103, "cache"),
        (101, "cache"),
        (100, "heuristic"),
    ]


def test_a_list_of_which_nothing_is_left_is_the_heuristic_s(town: Site, reader: Reader) -> None:
    publish({1: [102]})
    town.registration(1, 102)
    answer = reader.ask()
    assert (answer["source"], answer["model_version"]) == ("heuristic", None)


def test_reading_touches_the_serving_partition_only(site: Site) -> None:
    site.users(1)
    site.event(100)
    for _ in range(3):
        serving = publish({1: [100]})
    values = {"user_id": 1, "token_version": 0, "now": NOON, "oldest": NOON, "limit": 5}
    with psycopg.connect(site.address) as conn:
        conn.execute("SET plan_cache_mode = force_generic_plan")
        explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + STORED
        [(found,)] = conn.execute(explain, values, prepare=True).fetchall()
    touched = {
        node["Relation Name"]: node["Actual Loops"]
        for node in _nodes(found[0]["Plan"])
        if node.get("Relation Name", "").startswith("recommendation_lists_g")
    }
    assert len(touched) == 3
    assert [name for name, loops in touched.items() if loops] == [
        f"recommendation_lists_g{serving}"
    ]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


# The heuristic ------------------------------------------------------------------------------


def reasons(answer: Any) -> dict[int, str]:
    return {item["event"]["id"]: item["reason"]["code"] for item in answer["items"]}


def test_an_empty_site_has_nothing_to_show(site: Site, reader: Reader) -> None:
    site.users(1)
    answer = reader.ask()
    assert (answer["items"], answer["source"]) == ([], "heuristic")


def test_without_model_and_cache_the_heuristic_answers_with_reasons(
    town: Site, reader: Reader
) -> None:
    town.add("user_followed_organizers", {"user_id": 1, "organizer_id": 11})
    town.add("user_interest_tags", {"user_id": 1, "tag_id": 1})
    answer = reader.ask()
    shown = reasons(answer)
    assert list(shown) == [101, 103, 100, 102]
    assert shown == {
        101: "followed_organizer",
        103: "followed_organizer",
        100: "interest_tag",
        102: "popular",
    }
    assert set(shown.values()) <= set(CODES)
    assert {item["source"] for item in answer["items"]} == {"heuristic"}
    texts = {item["event"]["id"]: item["reason"]["text"] for item in answer["items"]}
    assert texts[101] == "You follow Ana"
    assert texts[100] == "You like jazz"


def test_the_heuristic_knows_organizers_by_past_events(town: Site, reader: Reader) -> None:
    town.event(90, owner_id=11, start_time=NOON - DAY)
    town.registration(1, 90, registered_at=NOON - 3 * DAY)
    shown = reasons(reader.ask())
    assert shown[101] == shown[103] == "attended_organizer"
    assert list(shown)[:2] == [101, 103]


def test_the_heuristic_prefers_what_many_register_for_now(town: Site, reader: Reader) -> None:
    town.users(*range(1000, 1020))
    for user in range(1000, 1010):
        town.registration(user, 102, registered_at=NOON - HOUR)
        town.registration(user, 103, registered_at=NOON - 3 * DAY)
    for user in range(1000, 1020):
        town.registration(user, 101, registered_at=NOON - 20 * DAY)
    town.run("UPDATE events SET city = 'Iasi', start_time = %s WHERE id = 100", NOON + 40 * DAY)
    shown = reasons(reader.ask())
    assert list(shown) == [102, 103, 101, 100]
    assert shown[102] == "popular"


def test_the_heuristic_prefers_the_own_city_and_says_what_is_soon(
    town: Site, reader: Reader
) -> None:
    town.event(104, city=" CLUJ ", start_time=NOON + 21 * DAY)
    shown = reasons(reader.ask())
    assert list(shown)[:2] == [100, 104]
    assert shown[100] == "soon"


def test_the_heuristic_shows_far_instants(town: Site, reader: Reader) -> None:
    town.run("UPDATE events SET start_time = 'infinity', end_time = 'infinity' WHERE id = 103")
    assert 103 in reader.events()


def test_everybody_may_ask(town: Site, reader: Reader) -> None:
    town.users(20, role="admin")
    assert len(reader.events(10)) == len(reader.events(20)) == 4


# Language -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "accepts", "text"),
    [
        (None, "", "Popular right now"),
        (None, "ro", "Popular în acest moment"),
        (None, "de, ro-MD;q=0.8, en;q=0.3", "Popular în acest moment"),
        ("ro", "en", "Popular în acest moment"),
        ("en", "ro", "Popular right now"),
        ("de", "ro", "Popular în acest moment"),
    ],
)
def test_reasons_are_told_in_the_user_s_language(
    profile: str | None, accepts: str, text: str, town: Site, reader: Reader
) -> None:
    publish({1: [100]})
    town.run("UPDATE users SET language = %s WHERE id = 1", profile)
    assert reader.ask(limit=1, language=accepts)["items"][0]["reason"]["text"] == text


@pytest.mark.parametrize(
    ("header", "languages"),
    [
        ("", ("",)),
        ("ro", ("ro",)),
        ("en;q=0.2, ro", ("ro", "en")),
        ("en;q=0, ro;q=0.001", ("ro",)),
        ("en;q=high, *;q=0.1, ro;level=1", ("*",)),
    ],
)
def test_accept_language_is_read_by_preference(header: str, languages: tuple[str, ...]) -> None:
    assert accepted(header) == languages


def test_a_language_that_is_not_spoken_is_passed_over() -> None:
    assert spoken(None, "fr-CA", "", "RO-ro", "en") == "ro"
    assert spoken("xx") == "en"


# What is told of an event -------------------------------------------------------------------


def test_a_change_of_the_event_is_shown_at_once(town: Site, reader: Reader) -> None:
    publish({1: [100]})
    reader.ask(limit=1)
    town.run("UPDATE events SET title = 'Moved' WHERE id = 100")
    assert reader.ask(limit=1)["items"][0]["event"]["title"] == "Moved"


def test_a_change_of_names_is_shown_within_a_minute(town: Site, reader: Reader) -> None:
    publish({1: [100]})
    reader.ask(limit=1)
    town.run("UPDATE tags SET name = 'swing' WHERE id = 1")
    reader.travel(NOON + event_cards.LIFETIME + timedelta(seconds=1))
    assert reader.ask(limit=1)["items"][0]["event"]["tags"] == [{"id": 1, "name": "swing"}]


@pytest.mark.usefixtures("town")
def test_a_list_is_whole_while_cards_are_forgotten(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish({1: [100, 101, 102], 2: [100, 103]})
    monkeypatch.setattr(event_cards, "MOST", 2)
    monkeypatch.setattr(event_cards, "_cards", {})
    reader.ask(1, limit=3)
    items = reader.ask(2, limit=2)["items"]
    assert [item["event"]["id"] for item in items] == [100, 103]
    assert len(event_cards._cards) == 1


# Who asks -----------------------------------------------------------------------------------


def test_only_valid_access_tokens_are_answered(
    town: Site, client: TestClient, sign_in: Callable[..., dict[str, str]]
) -> None:
    town.users(4, is_active=False)
    town.run("UPDATE users SET token_version = 2 WHERE id = 2")
    refresh_token = issue(Claims(1, 0), Kind.REFRESH, SECRET, datetime.now(UTC))
    answers = [
        client.get(PATH, headers=headers).status_code
        for headers in (
            {},
            sign_in(2),
            sign_in(4),
            sign_in(999),
            {"Authorization": f"Bearer {refresh_token}"},
            sign_in(2, 2),
        )
    ]
    assert answers == [401] * 5 + [200]


@pytest.mark.parametrize(("limit", "status"), [(0, 422), (1, 200), (1000, 200), (1001, 422)])
@pytest.mark.usefixtures("town")
def test_the_limit_has_limits(
    limit: int, status: int, client: TestClient, sign_in: Callable[[int], dict[str, str]]
) -> None:
    answer = client.get(PATH, headers=sign_in(1), params={"limit": limit})
    assert answer.status_code == status


def test_the_request_id_says_who_made_the_list_for_whom(town: Site, reader: Reader) -> None:
    [(model_id,)] = town.run(
        "INSERT INTO recommender_models (model_version, feature_names, weights, meta)"
        " VALUES ('m', '[]', '{}', '{}') RETURNING id"
    )
    publish({1: [100]})
    first, second, other = (reader.ask(user)["request_id"] for user in (1, 1, 2))
    assert first != second
    shown = read(first, SECRET, NOON)
    assert shown is not None
    assert (shown.source, shown.model_id, shown.user_id) == (Source.CACHE, model_id, 1)
    assert shown.shown_at == NOON
    by_heuristic = read(other, SECRET, NOON)
    assert by_heuristic is not None
    assert (by_heuristic.source, by_heuristic.model_id) == (Source.HEURISTIC, 0)


# Arms of an experiment ----------------------------------------------------------------------


def experiment(monkeypatch: pytest.MonkeyPatch, share: str = "0.5", name: str = "1") -> None:
    use(monkeypatch, "RECOMMENDATIONS_CONTROL_SHARE", share)
    use(monkeypatch, "RECOMMENDATIONS_EXPERIMENT", name)


def test_users_in_control_are_answered_by_the_heuristic_and_others_as_ever(
    town: Site, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.users(*range(4, 9))
    ranked = {user: [103, 101] for user in (1, 2, 3, *range(4, 9))}
    publish(ranked, version="v7")
    before = {user: reader.ask(user) for user in ranked}
    assert {answer["arm"] for answer in before.values()} == {None}
    experiment(monkeypatch)
    arms = {user: arm_of(user, is_rankable=True) for user in ranked}
    assert set(arms.values()) == set(Arm)
    for user, arm in arms.items():
        answer = reader.ask(user)
        assert answer["arm"] == arm
        shown = read(answer["request_id"], SECRET, NOON)
        assert shown is not None
        assert (shown.source, shown.arm, shown.experiment) == (answer["source"], arm, code_of("1"))
        if arm is Arm.CONTROL:
            assert (answer["source"], answer["model_version"]) == ("heuristic", None)
            assert {item["source"] for item in answer["items"]} == {"heuristic"}
        else:
            assert answer["items"] == before[user]["items"]


@pytest.mark.usefixtures("town")
def test_a_user_in_control_asks_the_database_no_more_than_others(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[Arm | None, list[str]] = {}
    original = recommendations.rows

    async def counting(conn: Any, statement: str, values: Any, **options: Any) -> Any:
        asked[arm].append(statement)
        return await original(conn, statement, values, **options)

    monkeypatch.setattr(recommendations, "rows", counting)
    publish({1: [100]})
    arm = None
    asked[arm] = []
    reader.ask(1)
    for number in range(20):
        experiment(monkeypatch, name=f"e{number}")
        arm = arm_of(1, is_rankable=True)
        asked[arm] = []
        reader.ask(1)
    assert asked == {one: [STORED, HEURISTIC] for one in (None, *Arm)}


@pytest.mark.usefixtures("town")
def test_organizers_and_administrators_are_in_no_arm(
    town: Site, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.users(*range(20, 30), role="organizer")
    town.users(*range(30, 40), role="admin")
    town.users(*range(40, 50))
    experiment(monkeypatch)
    assert {reader.ask(user)["arm"] for user in range(40, 50)} == set(Arm)
    for user in range(20, 40):
        answer = reader.ask(user)
        assert (answer["source"], answer["arm"]) == ("heuristic", None)
        shown = read(answer["request_id"], SECRET, NOON)
        assert shown is not None
        assert (shown.arm, shown.experiment) == (None, 0)


def test_who_is_no_student_any_more_is_served_nothing_stored(
    town: Site, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish({1: [103, 101], 2: [103, 101]})
    refresh({2: [103, 101]}, NOON)
    assert {reader.ask(user)["source"] for user in (1, 2)} == {"cache"}
    town.run("UPDATE users SET role = 'organizer' WHERE id IN (1, 2) RETURNING id")
    for number in range(5):
        for user in (1, 2):
            answer = reader.ask(user)
            assert (answer["source"], answer["arm"]) == ("heuristic", None)
            assert {item["source"] for item in answer["items"]} == {"heuristic"}
        experiment(monkeypatch, name=f"e{number}")


@pytest.mark.usefixtures("town")
def test_in_control_the_token_is_checked_as_ever(
    client: TestClient, sign_in: Callable[[int], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("e1", "e2", "e3", "e4", "e5"):
        experiment(monkeypatch, name=name)
        assert client.get(PATH, headers=sign_in(99)).status_code == 401


@pytest.mark.usefixtures("town")
def test_where_the_heuristic_answers_everybody_nobody_has_an_arm(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish({1: [100]})
    experiment(monkeypatch)
    use(monkeypatch, "RECOMMENDATIONS_USE_ML_CACHE", "false")
    assert {reader.ask(user)["arm"] for user in (1, 2, 3)} == {None}


# When something is wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        "ALTER TABLE recommendation_lists RENAME TO away",
        "ALTER TABLE recommendation_serving DROP COLUMN generation CASCADE",
        "ALTER TABLE recommendation_overlay ALTER scores TYPE text USING 'x'",
    ],
)
def test_a_cache_that_cannot_be_read_is_answered_by_the_heuristic(
    wrong: str, town: Site, reader: Reader
) -> None:
    publish({1: [103]})
    assert reader.ask()["source"] == "cache"
    town.run("DROP VIEW user_recommendations")
    town.run(wrong)
    answer = reader.ask()
    assert (answer["source"], len(answer["items"])) == ("heuristic", 4)
    assert reader.client.get(PATH, headers=reader.sign_in(999)).status_code == 401


@pytest.mark.parametrize(
    "damage",
    [
        "scores = '{NaN, Infinity}'",
        "scores = '{}'",
        "reasons = '{NULL, NULL}'",
        "reasons = '{}'",
        "event_ids = '{999, NULL}'",
        "event_ids = '{}'",
    ],
)
def test_a_damaged_list_is_no_error(damage: str, town: Site, reader: Reader) -> None:
    refresh({1: [101, 100]}, NOON)
    town.run(f"UPDATE recommendation_overlay SET {damage}")
    assert {100, 101} <= set(reader.events())


def test_a_cache_that_is_locked_is_answered_by_the_heuristic(town: Site, reader: Reader) -> None:
    publish({1: [103]})
    with psycopg.connect(town.address) as conn:
        conn.execute("LOCK TABLE recommendation_lists IN ACCESS EXCLUSIVE MODE")
        assert reader.ask()["source"] == "heuristic"
    assert reader.ask()["source"] == "cache"


@pytest.mark.usefixtures("town")
def test_every_request_is_answered_from_one_generation_while_others_are_published(
    reader: Reader,
) -> None:
    lists = ([100, 101, 102, 103], [103, 102, 101, 100])
    publish({1: lists[0]}, version="v0")
    stop = threading.Event()

    def ask() -> set[tuple[str, tuple[int, ...]]]:
        seen = set()
        while not stop.is_set():
            answer = reader.ask()
            shown = tuple(item["event"]["id"] for item in answer["items"])
            seen.add((answer["model_version"], shown))
        return seen

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            for number in range(1, 13):
                publish({1: lists[number % 2]}, version=f"v{number}")
                clean_up()
        finally:
            stop.set()
    seen = asking[0].result() | asking[1].result()
    # The heuristic answers a request that finds the lists locked for longer than it waits.
    stored = {one for one in seen if one[0] is not None}
    assert stored <= {(f"v{number}", tuple(lists[number % 2])) for number in range(13)}
    assert len(stored) > 3


def _others(database: str) -> str:
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'eventlink web'"


def test_connections_that_broke_are_replaced_unnoticed(
    town: Site, reader: Reader, server: str
) -> None:
    publish({1: [103]})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: reader.ask(), range(24)))
    with psycopg.connect(server, autocommit=True) as conn:
        assert conn.execute(_others(town.address)).fetchall()
    assert [reader.ask()["source"] for _ in range(10)] == ["cache"] * 10


def test_a_database_that_is_away_is_told_soon_and_comes_back(
    town: Site, reader: Reader, server: str
) -> None:
    name = sql.Identifier(psycopg.conninfo.conninfo_to_dict(town.address)["dbname"])
    reader.ask()
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        conn.execute(_others(town.address))
        answer = reader.client.get(PATH, headers=reader.sign_in(1))
        assert (answer.status_code, answer.elapsed < timedelta(seconds=4)) == (503, True)
        assert os.environ["DATABASE_URL"] not in answer.text
        conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    statuses = []
    while 200 not in statuses and len(statuses) < 20:
        statuses.append(reader.client.get(PATH, headers=reader.sign_in(1)).status_code)
    assert statuses[-1] == 200


# A city -------------------------------------------------------------------------------------


def test_a_city_is_served_what_was_recomputed(city: Site, reader: Reader) -> None:
    rank_at()
    rankings = city.rankings()
    for user_id in list(rankings)[:20]:
        answer = reader.ask(user_id, limit=10)
        assert [item["event"]["id"] for item in answer["items"]] == [
            event_id for event_id, _ in rankings[user_id][:10]
        ]
        assert answer["source"] == "cache"
