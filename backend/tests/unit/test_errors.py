"""Wrong requests are answered with a line for each field: its name, and what it must be."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import EmailStr, Field

from eventlink.web import errors
from eventlink.web.api.events import Draft
from eventlink.web.api.interactions import LARGEST_META, SentInteraction
from eventlink.web.fields import Id, IdField, Language, Limit, Prose

INSTANT = "2026-05-01T18:00:00+03:00"


class Letter(Draft):
    """A draft, and fields of other requests."""

    ids: list[IdField] = Field(default=[], max_length=2)
    email: EmailStr = Field(default="ana@example.com", max_length=254)
    language: Language = Field(default="ro")
    note: Prose = Field(default="")
    act: SentInteraction = Field(default=SentInteraction(type="click"))


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    errors.install(app)

    @app.post("/events/{event_id}")
    def change(event_id: Id, sent: Letter, limit: Limit = 20, free: bool = False) -> None:
        del event_id, sent, limit, free

    return TestClient(app)


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"title": " "}, ["title: must have at least 1 character"]),
        ({"title": None}, ["title: must be a valid string"]),
        (
            {"start_time": "tomorrow"},
            [f"start_time: write an instant with its offset, as {INSTANT}"],
        ),
        (
            {"start_time": "0001-01-01T00:00:00+14:00"},
            ["start_time: must lie in the years 1 to 9999 in every time zone"],
        ),
        ({"max_seats": "3"}, ["max_seats: write a number"]),
        (
            {"lat": 91, "lon": True},
            ["lat: must be less than or equal to 90", "lon: must be a valid number"],
        ),
        (
            {"ids": [1, "x"], "tags": ["", "y"]},
            ["tags.0: must have at least 1 character", "ids.1: write a number"],
        ),
        ({"a\nb": 1}, ["a b: there is no such field"]),
        ({"ids": [1, 2, 3]}, ["ids: must have at most 2 items"]),
        ({"email": "Zoë\x01\n@example"}, ["email: must be an email address"]),
        ({"email": "zoe"}, ["email: must be an email address"]),
        (
            {"title": "a\0", "language": "Romanian", "note": "\0"},
            [
                "title: must be text without NUL, and not blank",
                "language: must be a language tag, for example en or ro",
                "note: must be text without NUL",
            ],
        ),
        (
            {"act": {"type": "click", "client_id": "a b", "meta": {"a": "x" * LARGEST_META}}},
            [
                "act.client_id: must be printable ASCII without spaces",
                f"act.meta: must be at most {LARGEST_META} bytes of JSON without NUL",
            ],
        ),
        (
            {"act": {"type": "search", "meta": {"query": 3}}},
            ["act.meta: query and category must be strings"],
        ),
    ],
)
def test_a_field_is_named_and_what_it_must_be(
    client: TestClient, fields: dict[str, Any], lines: list[str]
) -> None:
    answer = client.post("/events/1", json={"title": "Jazz", "start_time": INSTANT} | fields)
    assert answer.status_code == 422
    assert [wrong["msg"] for wrong in answer.json()["detail"]] == lines


@pytest.mark.parametrize(
    ("path", "body", "wrong"),
    [
        ("x", b"{}", (["path", "event_id"], "event_id: must be a valid integer", "int_parsing")),
        (
            "0",
            b"{}",
            (
                ["path", "event_id"],
                "event_id: must be greater than or equal to 1",
                "greater_than_equal",
            ),
        ),
        (
            "1?limit=101",
            b"{}",
            (["query", "limit"], "limit: must be less than or equal to 100", "less_than_equal"),
        ),
        ("1?free=2", b"{}", (["query", "free"], "free: must be a valid boolean", "bool_parsing")),
        ("1", b"{}", (["body", "title"], "title: must be given", "missing")),
        ("1", b"", (["body"], "body: must be given", "missing")),
        ("1", b"[]", (["body"], "body: must be an object", "model_attributes_type")),
        ("1", b'{"a": tru}', (["body", 6], "body, character 6: must be JSON", "json_invalid")),
    ],
)
def test_place_and_type_stay_those_of_the_framework(
    client: TestClient, path: str, body: bytes, wrong: tuple[list[str | int], str, str]
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post(f"/events/{path}", content=body, headers=headers)
    assert answer.status_code == 422
    loc, msg, kind = wrong
    assert answer.json()["detail"][0] == {"loc": loc, "msg": msg, "type": kind}
