"""Rules of re-ranking on a site: what was drawn is kept, scarce seats are told of and remembered."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from integration.sites import DAY, HOUR, NOON, Site, rank_at, recompute_at

from eventlink.config import PROJECT_ROOT
from eventlink.db import explorations, served
from eventlink.db.serving import generation_meta
from eventlink.db.session import connection
from eventlink.services import publishing
from eventlink.web import requests

SignIn = Callable[[int], dict[str, str]]

DOCUMENT = PROJECT_ROOT / "docs" / "reranking.md"
API = PROJECT_ROOT / "docs" / "api.md"
DRAWN = """
SELECT user_id, event_id, rank, propensity, generated_at, model_version
  FROM recommendation_explorations
"""
SAID = "SELECT user_id, event_id, rank FROM user_recommendations WHERE reason = 'explored'"


def scarce(city: Site) -> None:
    """Leave one seat at each event to come."""
    city.run(
        "UPDATE events SET max_seats = 1 + (SELECT count(*) FROM registrations"
        " WHERE event_id = events.id AND unregistered_at IS NULL) WHERE start_time > %s",
        NOON,
    )


def test_what_was_drawn_is_kept_with_its_chance(city: Site) -> None:
    rank_at(explore_slots=2)
    rows = city.run(DRAWN)
    assert len(rows) > 50
    assert {row[:3] for row in rows} == set(city.run(SAID))
    assert {row[2] for row in rows} <= {5, 10}
    assert all(0.04 < row[3] < 1 for row in rows)
    assert {row[4] for row in rows} == {NOON}
    version = city.run("SELECT DISTINCT model_version FROM user_recommendations")[0][0]
    assert {row[5] for row in rows} == {version}


def read(client: TestClient, headers: dict[str, str]) -> Any:
    """Read a list at an hour after noon."""

    async def asking(request: Request) -> requests.Asking:
        return replace(await requests._asking(request), now=NOON + HOUR)

    client.app.dependency_overrides[requests._asking] = asking  # type: ignore[attr-defined]
    return client.get("/api/recommendations?limit=50", headers=headers).json()


def test_a_list_tells_with_which_chance_its_events_were_drawn(
    city: Site, client: TestClient, sign_in: SignIn
) -> None:
    rank_at(explore_slots=2)
    user = city.run(DRAWN)[0][0]
    expected = {row[1]: row[3] for row in city.run(DRAWN) if row[0] == user}
    items = read(client, sign_in(user))["items"]
    assert len(items) > 10
    for item in items:
        chance = expected.pop(item["event"]["id"], 1)
        assert item["propensity"] == pytest.approx(chance, rel=1e-5)
        assert chance == 1 or item["reason"]["code"] == "explored"
    assert expected == {}


def test_a_refreshed_list_tells_its_own_chances(
    city: Site, client: TestClient, sign_in: SignIn
) -> None:
    rank_at(explore_slots=2)
    city.run("UPDATE recommendation_explorations SET propensity = 0.99")
    rank_at(now=NOON + HOUR, user_id=1, explore_slots=2)
    own = {row[1]: row[3] for row in city.run(DRAWN) if row[4] == NOON + HOUR}
    items = read(client, sign_in(1))["items"]
    told = {item["event"]["id"]: item["propensity"] for item in items if item["propensity"] < 1}
    assert told == {event: pytest.approx(chance, rel=1e-5) for event, chance in own.items()}


@pytest.mark.usefixtures("city")
def test_without_exploration_nobody_asks_for_chances(
    client: TestClient, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_at()
    monkeypatch.setattr(served, "DRAWN", "no statement")
    items = read(client, sign_in(1))["items"]
    assert {item["propensity"] for item in items} == {1}


def test_the_api_document_joins_what_was_done_to_what_was_drawn(
    city: Site, client: TestClient, sign_in: SignIn
) -> None:
    rank_at(NOON - HOUR, explore_slots=2)
    city.run("UPDATE recommendation_explorations SET propensity = 0.99")
    rank_at(explore_slots=2)
    user = city.run(DRAWN)[0][0]
    answer = read(client, sign_in(user))
    acts = [
        {"type": "impression", "event_id": item["event"]["id"], "request_id": name}
        for item in answer["items"]
        for name in (answer["request_id"], "x" * 64, "of-another-system")
    ]
    for sent in (acts[:100], acts[100:]):
        body = {"interactions": sent}
        response = client.post("/api/analytics/interactions", json=body, headers=sign_in(user))
        assert response.json()["accepted"] == len(sent)
    [query] = re.findall(r"```sql\n(.*?)```", API.read_text(), re.DOTALL)
    found = city.run(query)
    drawn = [item for item in answer["items"] if item["propensity"] < 1]
    assert {row[:3] for row in found} == {
        ("impression", user, item["event"]["id"]) for item in drawn
    }
    assert len(found) == len(drawn) > 0
    assert all(0 < row[4] < 0.99 for row in found)


def test_every_night_draws_anew_and_a_night_repeats_itself(city: Site) -> None:
    nights = []
    for now, as_of in ((NOON, NOON), (NOON + HOUR, NOON), (NOON + 2 * HOUR, NOON + HOUR)):
        rank_at(as_of, now=now, explore_slots=2)
        nights.append(set(city.run(SAID)))
    assert nights[0] == nights[1]
    assert len(nights[0] & nights[2]) < 0.8 * len(nights[0])


def test_without_exploration_nothing_is_kept(city: Site) -> None:
    rank_at()
    assert city.run(DRAWN) == []


def test_a_refresh_of_one_user_keeps_its_draws_too(city: Site) -> None:
    rank_at()
    rank_at(now=NOON + HOUR, user_id=1, explore_slots=2)
    assert {(row[0], row[4]) for row in city.run(DRAWN)} == {(1, NOON + HOUR)}


def test_draws_are_forgotten_after_a_season(city: Site) -> None:
    rank_at(explore_slots=1)
    drawn = len(city.run(DRAWN))
    rank_at(now=NOON + explorations.KEPT, user_id=1)
    assert len(city.run(DRAWN)) == drawn
    rank_at(now=NOON + explorations.KEPT + timedelta(seconds=1), user_id=1)
    assert city.run(DRAWN) == []


def test_erasing_a_user_or_event_erases_the_draws(city: Site) -> None:
    rank_at(explore_slots=2)
    user, event = city.run(DRAWN)[0][:2]
    city.run("DELETE FROM users WHERE id = %s", user)
    city.run("DELETE FROM events WHERE id = %s", event)
    assert not {row[0] for row in city.run(DRAWN)} & {user}
    assert not {row[1] for row in city.run(DRAWN)} & {event}


def test_who_is_erased_while_the_ranking_is_made_does_not_stop_it(
    city: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = publishing.store_explorations

    def erase_first(*arguments: object) -> None:
        city.run("DELETE FROM users WHERE id = 1")
        store(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(publishing, "store_explorations", erase_first)
    rank_at(explore_slots=2)
    assert city.run(DRAWN)
    assert 1 not in {row[0] for row in city.run(DRAWN)}


def test_a_chance_of_one_is_no_draw(city: Site) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        city.run("INSERT INTO recommendation_explorations VALUES (1, now(), 1, 'by hand', 1, 1.0)")


def test_a_generation_tells_its_rules_and_which_seats_are_scarce(city: Site) -> None:
    scarce(city)
    result = rank_at(seat_strength=1.0, per_organizer=2)
    with connection() as conn:
        meta = generation_meta(conn)
    assert meta["rules"]["per_organizer"] == 2
    seats = meta["seats"]
    assert result.seats == {name: seats[name] for name in result.seats}
    assert 0 < seats["held_back"] <= seats["limited"]
    assert len(seats["events"]) == seats["held_back"]
    for event in seats["events"]:
        assert event["seats_left"] == 1 < event["expected_demand"]
        assert event["factor"] == pytest.approx(1 / event["expected_demand"], rel=0.01)
    assert seats["seats_left"] == len(seats["events"])
    json.dumps(result.to_json())


def test_an_event_with_a_single_seat_is_shown_to_fewer(city: Site) -> None:
    shown = (
        "SELECT event_id, count(*) FROM user_recommendations WHERE rank <= 10"
        " GROUP BY event_id ORDER BY sum(score) DESC"
    )
    rank_at()
    favourite, before = city.run(shown)[0]
    city.run(
        "UPDATE events SET max_seats = 1 + (SELECT count(*) FROM registrations"
        " WHERE event_id = events.id AND unregistered_at IS NULL) WHERE id = %s",
        favourite,
    )
    rank_at(now=NOON + HOUR, seat_strength=4.0)
    assert dict(city.run(shown)).get(favourite, 0) < 0.5 * before


def test_a_refresh_of_one_user_remembers_the_scarcity_found_for_all(city: Site) -> None:
    scarce(city)
    rank_at(seat_strength=1.0)
    everybody = city.rankings()
    rank_at(now=NOON + HOUR, user_id=max(everybody), seat_strength=1.0)
    found, expected = city.rankings()[max(everybody)], everybody[max(everybody)]
    assert [event for event, _ in found] == [event for event, _ in expected]
    assert [score for _, score in found] == pytest.approx([s for _, s in expected], rel=1e-5)


def test_a_dry_run_draws_nothing(city: Site) -> None:
    recompute_at(NOON - DAY, dry_run=True, explore_slots=2)
    assert city.run(DRAWN) == []


def test_the_document_s_estimate_weighs_by_propensity(city: Site) -> None:
    rank_at(explore_slots=2)
    rows = city.run(DRAWN)
    shown, chosen = [], []
    for number, (user, event, rank, _, _, version) in enumerate(rows):
        pair = {"user_id": user, "event_id": event}
        seen = {"interaction_type": "impression", "position": rank - 1, "occurred_at": NOON + HOUR}
        shown.append(pair | {"model_version": version} | seen)
        if number % 4 == 0:
            chosen.append(pair | {"registered_at": NOON + 2 * HOUR})
    city.add("event_interactions", *shown)
    city.add("registrations", *chosen)
    queries = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (found,) = city.run(next(query for query in queries if "propensity" in query))[0]
    expected = sum(1 / (10 * row[3]) for row in rows[::4]) / len(rows)
    assert float(found) == pytest.approx(expected)
    (seats,) = city.run(next(query for query in queries if "seats" in query))[0]
    assert set(seats) == {"limited", "held_back", "seats_left", "expected_demand", "events"}
