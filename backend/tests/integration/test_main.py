import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version

import pytest
import structlog
from fastapi.testclient import TestClient

from eventlink.config import settings
from eventlink.errors import WeakSecretError
from eventlink.main import create_app


@pytest.mark.parametrize("secret", ["", "short", "a" * 40])
def test_production_does_not_start_with_a_weak_secret(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", secret)
    monkeypatch.setenv("ENVIRONMENT", "production")
    settings.cache_clear()
    with pytest.raises(WeakSecretError, match="openssl rand"):
        create_app()
    settings.cache_clear()


@pytest.mark.once
def test_a_web_process_loads_nothing_that_ranks() -> None:
    script = "import sys, eventlink.main; print(sorted(m for m in sys.modules if 'lightgbm' in m"
    script += " or m.startswith(('eventlink.recsys.features', 'scipy.sparse'))))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert done.stdout == b"[]\n"


def test_who_only_knows_the_address_is_told_where_to_read_on(client: TestClient) -> None:
    answer = client.get("/").json()
    assert (answer["name"], answer["version"]) == ("Event Link", version("eventlink"))
    assert client.get(answer["docs"]).headers["content-type"].startswith("text/html")
    assert client.get(answer["openapi"]).json()["info"]["version"] == answer["version"]


@pytest.mark.usefixtures("database")
def test_behind_a_proxy_s_prefix_the_way_is_right_too(client: TestClient) -> None:
    with TestClient(client.app, root_path="/events") as behind:
        assert behind.get("/").json()["docs"] == "/events/docs"


def test_an_unknown_path_is_not_found(
    client: TestClient, sign_in: Callable[[int], dict[str, str]]
) -> None:
    assert client.get("/api/nothing", headers=sign_in(1)).status_code == 404


def test_a_body_without_end_is_refused(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"email": "'
        for _ in range(40):
            yield b"a" * 65536
        yield b'"}'

    assert client.post("/api/auth/login", content=endless()).status_code == 413


def test_a_body_said_to_be_too_large_is_refused_and_no_crash(client: TestClient) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = client.post("/api/auth/login", content=b"x", headers={"Content-Length": "9999999"})
    assert answer.status_code == 413
    assert "x-request-id" in answer.headers
    assert [line["event"] for line in logs] == ["request"]
    assert logs[0]["status"] == 413


def test_pages_of_named_sites_may_ask_and_others_not(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del database
    monkeypatch.setenv("ENVIRONMENT", "development")
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://City.example, http://localhost:3000")
    settings.cache_clear()
    with TestClient(create_app()) as client:
        for origin, told in [
            ("https://city.example", "https://city.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://other.example", None),
        ]:
            wanted = {
                "Origin": origin,
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "authorization, content-type",
            }
            asked = client.options("/api/profile/interests", headers=wanted)
            assert asked.headers.get("access-control-allow-origin") == told
            assert asked.is_success == (told is not None)
            answered = client.get("/api/tags", headers={"Origin": origin})
            assert answered.headers.get("access-control-allow-origin") == told
