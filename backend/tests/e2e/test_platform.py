"""The whole, from outside: commands, two API processes, two workers, a real HTTP client."""

import time

import numpy as np
from e2e.conftest import Platform, wait_for

PEOPLE, CLICKS = 4, 10


def log_in(platform: Platform, number: int = 1) -> tuple[int, dict[str, str]]:
    """Register somebody who likes two tags; return the id and the headers of their requests."""
    api = platform.apis[0]
    made = api.post(
        "/api/auth/register",
        json={"email": f"ana{number}@example.org", "password": "correct horse battery"},
    )
    assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['access_token']}"}
    for (tag,) in platform.ask("SELECT id FROM tags ORDER BY id LIMIT 2"):
        assert api.put(f"/api/profile/interests/{tag}", headers=headers).is_success
    return api.get("/api/auth/me", headers=headers).json()["id"], headers


def test_a_night_a_click_and_a_look_at_the_figures(platform: Platform) -> None:
    first, second = platform.apis
    user, headers = log_in(platform)
    before = first.get("/api/recommendations", headers=headers)
    assert before.json()["source"] == "heuristic"

    enqueue = ("python", "backend/scripts/enqueue_scheduled_jobs.py", "--retrain-ml")
    printed = platform.run(*enqueue, "--top-n", "20")
    again = platform.run(*enqueue, "--top-n", "20")
    assert "already" not in printed
    assert "already" in again
    wait_for(lambda: platform.ask("SELECT 1 FROM recommendation_serving"))
    wait_for(lambda: first.get("/api/recommendations", headers=headers).json()["source"] == "cache")

    shown = second.get("/api/recommendations?limit=10", headers=headers).json()
    events = [item["event"]["id"] for item in shown["items"]]
    acts = [
        {
            "type": "impression",
            "event_id": event,
            "position": place,
            "request_id": shown["request_id"],
            "client_id": f"{user}-{place}",
        }
        for place, event in enumerate(events)
    ]
    sent = first.post(
        "/api/analytics/interactions", json={"interactions": acts}, headers=headers
    ).json()
    assert sent["accepted"] == len(acts)
    click = acts[3] | {"type": "click", "client_id": f"{user}-click"}
    first.post("/api/analytics/interactions", json={"interactions": [click]}, headers=headers)
    assert second.put(f"/api/events/{events[3]}/registration", headers=headers).is_success
    wait_for(
        lambda: (
            second.get("/api/recommendations", headers=headers).json()["generated_at"]
            > shown["generated_at"]
        )
    )
    now = second.get("/api/recommendations", headers=headers).json()
    assert events[3] not in [item["event"]["id"] for item in now["items"]]

    platform.run("eventlink", "create-admin", "root@example.org", text="correct horse battery\n")
    logged_in = first.post(
        "/api/auth/login", json={"email": "root@example.org", "password": "correct horse battery"}
    )
    admin = {"Authorization": f"Bearer {logged_in.json()['access_token']}"}
    figures = second.get("/api/admin/personalization/metrics?days=30", headers=admin).json()
    (served,) = [one for one in figures["by_source"] if one["source"] == "cache"]
    assert (served["impressions"], served["clicks"], served["registrations"]) == (len(acts), 1, 1)


def test_a_click_changes_the_ranking_within_a_second(platform: Platform) -> None:
    platform.run("eventlink", "recompute", "--folds", "0")
    waits: list[float] = []
    for number in range(PEOPLE):
        _, headers = log_in(platform, number)
        waits += _waits(platform, headers)
    assert np.quantile(waits, 0.95) < 1.0, sorted(waits)


def _waits(platform: Platform, headers: dict[str, str]) -> list[float]:
    """Click on one thing after the other; the interests given before are ranked by already."""
    wait_for(lambda: _list(platform, 0, headers)["source"] == "cache")
    time.sleep(0.5)
    return [_seconds_to_change(platform, headers, place) for place in range(CLICKS)]


def _list(platform: Platform, number: int, headers: dict[str, str]) -> dict[str, object]:
    answer = platform.apis[number].get("/api/recommendations", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def _seconds_to_change(platform: Platform, headers: dict[str, str], place: int) -> float:
    """Click on something, and wait until another process serves a ranking made after it."""
    before = platform.apis[1].get("/api/recommendations", headers=headers).json()
    act = {
        "type": "click",
        "event_id": before["items"][place]["event"]["id"],
        "position": place,
        "request_id": before["request_id"],
    }
    begin = time.perf_counter()
    platform.apis[0].post(
        "/api/analytics/interactions", json={"interactions": [act]}, headers=headers
    )
    wait_for(
        lambda: _list(platform, 1, headers)["generated_at"] != before["generated_at"], seconds=10
    )
    return time.perf_counter() - begin
