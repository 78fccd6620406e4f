"""Pages and scripts as files: who gets them, and what a browser is told about them."""

import pytest
from fastapi.testclient import TestClient

from eventlink.config import settings

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/admin", "text/html"),
        ("/docs", "text/html"),
        ("/tracker.js", "text/javascript"),
        ("/static/style.css", "text/css"),
        ("/static/icon.svg", "image/svg+xml"),
        ("/static/swagger-ui.css", "text/css"),
    ],
)
def test_everybody_gets_pages_and_may_keep_them(client: TestClient, path: str, kind: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpages.py", "%2e%2e/pages.py", "%00"])
def test_what_is_no_page_is_not_there(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_on_a_developers_machine_a_browser_gets_a_site_to_try(client: TestClient) -> None:
    assert client.get("/", headers=BROWSER).headers["content-type"].startswith("text/html")
    assert client.get("/").json()["name"] == "Event Link"


def test_in_production_a_browser_is_told_what_runs_here(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    settings.cache_clear()
    assert client.get("/", headers=BROWSER).json()["name"] == "Event Link"
