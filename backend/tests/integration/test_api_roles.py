"""Every route, asked by every role for what is somebody else's: who gets in, and nothing leaks."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from integration.sites import DAY, Site

STUDENT, RIVAL, OWNER, ADMIN, VICTIM = 1, 10, 11, 20, 30
ASKING = (None, STUDENT, RIVAL, OWNER, ADMIN)
PUBLIC_EVENT, DRAFT = 100, 101
SECRET = "not for strangers"  # noqa: S105 (a word to look for)
NOW = datetime.now(UTC)

EVERYBODY = (200, 200, 200, 200, 200)
USERS = (401, 200, 200, 200, 200)
USERS_SILENTLY = (401, 204, 204, 204, 204)
ORGANIZERS = (401, 403, 200, 200, 200)
OWN = (401, 403, 403, 200, 200)
OWN_SILENTLY = (401, 403, 403, 204, 204)
ADMINISTRATORS = (401, 403, 403, 403, 200)
NOT_THERE = (401, 403, 403, 403, 404)
UNSEEN = (404, 404, 404, 200, 200)
UNSEEN_BY_USERS = (401, 404, 404, 404, 404)
OWN_UNSEEN = (401, 403, 404, 200, 200)

# What nobody, a student, another organizer, the owner and an administrator are answered.
ROUTES: dict[str, tuple[int, ...]] = {
    "GET /": EVERYBODY,
    "GET /live": EVERYBODY,
    "GET /ready": EVERYBODY,
    "GET /metrics": EVERYBODY,  # there is no METRICS_TOKEN
    "POST /api/auth/register": (409, 409, 409, 409, 409),
    "POST /api/auth/login": (401, 401, 401, 401, 401),
    "POST /api/auth/refresh": (401, 401, 401, 401, 401),
    "POST /api/auth/password": (401, 409, 409, 409, 409),
    "GET /api/auth/me": USERS,
    "POST /api/auth/logout-everywhere": USERS_SILENTLY,
    "DELETE /api/auth/me": USERS_SILENTLY,
    "GET /api/profile": USERS,
    "PATCH /api/profile": USERS,
    "GET /api/profile/export": USERS,
    "GET /api/profile/events": ORGANIZERS,
    "GET /api/profile/interests": USERS,
    "PUT /api/profile/interests": USERS,
    "PUT /api/profile/interests/{tag_id}": USERS_SILENTLY,
    "DELETE /api/profile/interests/{tag_id}": USERS_SILENTLY,
    "GET /api/profile/hidden-tags": USERS,
    "PUT /api/profile/hidden-tags/{tag_id}": USERS_SILENTLY,
    "DELETE /api/profile/hidden-tags/{tag_id}": USERS_SILENTLY,
    "GET /api/profile/followed-organizers": USERS,
    "PUT /api/profile/followed-organizers/{organizer_id}": (401, 204, 204, 409, 204),
    "DELETE /api/profile/followed-organizers/{organizer_id}": USERS_SILENTLY,
    "GET /api/profile/blocked-organizers": USERS,
    "PUT /api/profile/blocked-organizers/{organizer_id}": (401, 204, 204, 409, 204),
    "DELETE /api/profile/blocked-organizers/{organizer_id}": USERS_SILENTLY,
    "GET /api/tags": EVERYBODY,
    "GET /api/organizers/{organizer_id}": EVERYBODY,
    "GET /api/events": EVERYBODY,
    "POST /api/events": (401, 403, 201, 201, 201),
    "GET /api/events/{event_id}": EVERYBODY,
    "PATCH /api/events/{event_id}": OWN,
    "DELETE /api/events/{event_id}": OWN_SILENTLY,
    "POST /api/events/{event_id}/publish": OWN,
    "POST /api/events/{event_id}/cancel": OWN,
    "GET /api/registrations": USERS,
    "PUT /api/events/{event_id}/registration": (401, 201, 201, 201, 201),
    "DELETE /api/events/{event_id}/registration": USERS_SILENTLY,
    "GET /api/events/{event_id}/registrations": OWN,
    "PUT /api/events/{event_id}/registrations/{user_id}/attendance": (401, 403, 403, 409, 409),
    "GET /api/favorites": USERS,
    "PUT /api/events/{event_id}/favorite": USERS_SILENTLY,
    "DELETE /api/events/{event_id}/favorite": USERS_SILENTLY,
    "GET /api/recommendations": USERS,
    "POST /api/analytics/interactions": EVERYBODY,
    "GET /api/admin/users": ADMINISTRATORS,
    "PATCH /api/admin/users/{user_id}": ADMINISTRATORS,
    "GET /api/admin/personalization/metrics": ADMINISTRATORS,
    "GET /api/admin/personalization/status": ADMINISTRATORS,
    "POST /api/admin/personalization/retrain": (401, 403, 403, 403, 202),
    "GET /api/admin/models": ADMINISTRATORS,
    "POST /api/admin/models/activate": NOT_THERE,
    "POST /api/admin/models/rollback": (401, 403, 403, 403, 409),
    "GET /api/admin/jobs": ADMINISTRATORS,
    "GET /api/admin/jobs/{job_id}": NOT_THERE,
    "POST /api/admin/jobs/{job_id}/retry": NOT_THERE,
    "POST /api/admin/jobs/{job_id}/cancel": NOT_THERE,
}

# The same, where the event is the owner's draft.
OF_A_DRAFT: dict[str, tuple[int, ...]] = {
    "GET /api/events/{event_id}": UNSEEN,
    "PATCH /api/events/{event_id}": OWN_UNSEEN,
    "DELETE /api/events/{event_id}": (401, 403, 404, 204, 204),
    "POST /api/events/{event_id}/publish": OWN_UNSEEN,
    "POST /api/events/{event_id}/cancel": OWN_UNSEEN,
    "PUT /api/events/{event_id}/registration": (401, 404, 404, 409, 409),
    "DELETE /api/events/{event_id}/registration": (401, 404, 404, 204, 204),
    "GET /api/events/{event_id}/registrations": OWN_UNSEEN,
    "PUT /api/events/{event_id}/registrations/{user_id}/attendance": (401, 403, 404, 409, 409),
    "PUT /api/events/{event_id}/favorite": (401, 404, 404, 204, 204),
    "DELETE /api/events/{event_id}/favorite": USERS_SILENTLY,
}

BODIES: dict[str, Any] = {
    "POST /api/auth/register": {"email": "victim@example.com", "password": "a long sentence"},
    "POST /api/auth/login": {"email": "victim@example.com", "password": "a long sentence"},
    "POST /api/auth/refresh": {"refresh_token": "a.b.c"},
    "POST /api/auth/password": {"current_password": "none", "new_password": "a long sentence"},
    "PATCH /api/profile": {"city": "Cluj-Napoca"},
    "PUT /api/profile/interests": {"tag_ids": [60]},
    "POST /api/events": {"title": "Mine", "start_time": (NOW + DAY).isoformat()},
    "PATCH /api/events/{event_id}": {"category": "music"},
    "PUT /api/events/{event_id}/registrations/{user_id}/attendance": {"attended": True},
    "POST /api/analytics/interactions": {"interactions": []},
    "PATCH /api/admin/users/{user_id}": {"role": "organizer"},
    "POST /api/admin/models/activate": {"model_version": "of nobody"},
}


def fill(site: Site) -> None:
    """Make the people who ask, and a victim whose secrets are everywhere."""
    site.run("DELETE FROM users; DELETE FROM events; DELETE FROM tags; DELETE FROM rate_limits")
    site.users(STUDENT)
    site.users(RIVAL, role="organizer")
    site.users(OWNER, role="organizer", email=f"{SECRET} owner", city=SECRET)
    site.users(ADMIN, role="admin")
    site.users(VICTIM, email="victim@example.com", full_name=SECRET, city=SECRET)
    site.add("tags", {"id": 60, "name": "jazz"})
    soon = {"owner_id": OWNER, "start_time": NOW + DAY}
    site.event(PUBLIC_EVENT, (60,), **soon)
    site.event(DRAFT, (60,), title=SECRET, status="draft", **soon)
    site.registration(VICTIM, PUBLIC_EVENT)
    site.add("favorite_events", {"user_id": VICTIM, "event_id": PUBLIC_EVENT})
    search = {"interaction_type": "search", "meta": f'{{"query": "{SECRET}"}}'}
    site.add("event_interactions", {"user_id": VICTIM} | search)


def ask(
    client: TestClient, sign_in: Callable[[int], dict[str, str]], route: str, event_id: int
) -> tuple[tuple[int, ...], bool]:
    """Ask a route for what is the owner's or the victim's, in every role.

    Returns:
        The statuses, and whether a stranger read a secret.
    """
    method, path = route.split()
    path = path.format(
        event_id=event_id, user_id=VICTIM, organizer_id=OWNER, tag_id=60, job_id=999_999
    )
    statuses = []
    leaked = False
    for user_id in ASKING:
        answer = client.request(
            method,
            path,
            json=BODIES.get(route),
            headers={} if user_id is None else sign_in(user_id),
        )
        statuses.append(answer.status_code)
        leaked |= user_id in {None, STUDENT, RIVAL} and SECRET in answer.text
    return tuple(statuses), leaked


def routes_of(router: Any) -> Iterator[APIRoute]:
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from routes_of(route.original_router)


def described(app: FastAPI) -> set[str]:
    return {
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }


def test_every_route_has_its_entry_here(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    assert described(app) == set(ROUTES)
    undescribed = {route.path for route in routes_of(app) if not route.include_in_schema}
    assert undescribed == {
        "/admin",
        "/docs",
        "/tracker.js",
        "/static/{name}",
    }  # files, the same for all
    assert set(OF_A_DRAFT) == {route for route in ROUTES if "{event_id}" in route}


@pytest.mark.parametrize(
    ("table", "event_id"), [(ROUTES, PUBLIC_EVENT), (OF_A_DRAFT, DRAFT)], ids=["public", "draft"]
)
def test_each_role_gets_what_is_its_own(
    table: dict[str, tuple[int, ...]],
    event_id: int,
    site: Site,
    client: TestClient,
    sign_in: Callable[[int], dict[str, str]],
) -> None:
    answers, leaks = {}, []
    fill(site)
    for route in sorted(table):
        answers[route], leaked = ask(client, sign_in, route, event_id)
        if not route.startswith("GET"):
            fill(site)
        leaks += [route] * leaked
    assert answers == table
    assert leaks == []
