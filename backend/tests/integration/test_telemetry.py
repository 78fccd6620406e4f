"""Telemetry: a line and figures for every request, nothing personal in them, and who may read."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from integration.conftest import SECRET
from integration.sites import DAY, HOUR, NOON, Site, lists_of
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from eventlink.config import settings
from eventlink.db.models import StoredModel, store_model
from eventlink.db.overlay import store_refreshed
from eventlink.db.recommendations import build_generation, serve_generation
from eventlink.db.session import connection, transaction
from eventlink.main import create_app
from eventlink.web import telemetry

SignIn = Callable[[int], dict[str, str]]


@pytest.fixture(autouse=True)
def _no_figures_of_other_tests() -> Iterator[None]:
    telemetry.REQUESTS.clear()
    telemetry._requests.cache_clear()
    telemetry.of_database = telemetry.CollectorRegistry()
    telemetry.of_database.register(telemetry.DatabaseFigures())
    return iter([None])


def figures(client: TestClient, **headers: str) -> dict[tuple[str, ...], float]:
    """Read /metrics: (name, sorted labels' values) to value."""
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def lines(logs: list[Any]) -> list[dict[str, Any]]:
    return [line for line in logs if line["event"] == "request"]


# Logs -------------------------------------------------------------------------------------------


def test_each_request_is_one_line_with_its_route_and_user(
    client: TestClient, site: Site, sign_in: SignIn
) -> None:
    site.users(7, role="admin")
    with capture_logs() as logs:
        client.get("/api/admin/jobs/12345?secret=word", headers=sign_in(7))
    [line] = lines(logs)
    ms = line.pop("ms")
    assert 0 < ms < 10_000
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "route": "/api/admin/jobs/{job_id}",
        "status": 404,
        "user_id": 7,
    }


def test_a_line_as_it_is_written_carries_the_id_and_nothing_personal(
    site: Site,
    sign_in: SignIn,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site.users(7, role="admin", email="ana@example.org")
    monkeypatch.setenv("ENVIRONMENT", "development")
    monkeypatch.setenv("SECRET_KEY", SECRET)
    settings.cache_clear()
    headers = sign_in(7) | {"X-Request-ID": "abc-123", "Cookie": "word=private"}
    with TestClient(create_app()) as client:  # which logs to what is captured here
        client.get("/api/admin/jobs/12345?email=ana@example.org", headers=headers)
        client.get("/ana@example.org")
    written = capsys.readouterr().err
    first, second = map(json.loads, written.splitlines())
    assert first["x_request_id"] == "abc-123"
    assert second["x_request_id"] != "abc-123"
    assert second["route"] == "unmatched"
    for secret in ("ana@", "private", headers["Authorization"].split()[1], "12345"):
        assert secret not in written


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1_2.3", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ('"x"', False)],
)
def test_an_id_that_is_a_plain_word_is_kept_and_any_other_replaced(
    client: TestClient, given: str, kept: bool
) -> None:
    answered = client.get("/live", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert (answered == given) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answered)


def test_requests_get_ids_of_their_own(client: TestClient) -> None:
    assert len({client.get("/live").headers["X-Request-ID"] for _ in range(10)}) == 10


def test_probes_are_told_only_if_they_fail(client: TestClient, site: Site) -> None:
    with capture_logs() as logs:
        client.get("/live")
        client.get("/ready")
        assert lines(logs) == []
        site.run("DELETE FROM alembic_version")
        client.get("/ready")
    assert [line["status"] for line in lines(logs)] == [503]


@pytest.fixture
def crashing() -> TestClient:
    app = FastAPI()
    telemetry.install(app)

    @app.get("/crash/{name}")
    def crash(name: str) -> None:
        raise ValueError(f"{name} cannot be read")

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.usefixtures("database")
def test_a_crash_is_told_by_kind_and_place_without_its_message(crashing: TestClient) -> None:
    with capture_logs() as logs:
        answer = crashing.get("/crash/ana@example.org", headers={"X-Request-ID": "word"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (500, "word")
    assert "x-request-id" in answer.json()["detail"]
    told, line = logs
    assert (told["event"], told["error"]) == ("request crashed", "ValueError")
    assert told["trace"][-1].endswith(" crash")
    assert (line["status"], line["route"]) == (500, "/crash/{name}")
    assert "ana" not in str(logs)


# Figures ------------------------------------------------------------------------------------------


def test_requests_are_counted_and_timed_by_template_and_status(
    client: TestClient, site: Site, sign_in: SignIn
) -> None:
    site.users(7, role="admin")
    for job in (1, 2, 3):
        client.get(f"/api/admin/jobs/{job}", headers=sign_in(7))
    client.get("/api/admin/jobs", headers=sign_in(7))
    client.get("/no/such/path")
    client.request("BREW", "/another")
    found = figures(client)
    name = "eventlink_http_request_duration_seconds"
    assert found[f"{name}_count", "GET", "/api/admin/jobs/{job_id}", "404"] == 3
    assert found[f"{name}_count", "GET", "/api/admin/jobs", "200"] == 1
    assert found[f"{name}_count", "GET", "unmatched", "404"] == 1
    assert found[f"{name}_count", "OTHER", "unmatched", "404"] == 1
    assert found[f"{name}_sum", "GET", "/api/admin/jobs", "200"] > 0


def test_the_database_s_figures(client: TestClient, site: Site) -> None:
    site.users(1, 2, 3)
    with connection() as conn:
        lists = [lists_of({1: [100], 2: [100]})]
        generation = build_generation(conn, "m1", NOON, lists)
        with conn.begin():
            serve_generation(conn, generation)
            store_model(conn, StoredModel("m1", [], {}, {}), activate=True)
    with transaction() as conn:
        store_refreshed(conn, "m1", NOON + HOUR, lists_of({1: [100]}))
    site.run(
        "INSERT INTO recommendation_refreshes (user_id, sequence, due_at)"
        " VALUES (1, 1, now() - interval '1 minute'), (2, 1, now() + interval '1 day')"
    )
    site.run("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('training', 'x')")
    site.run(
        "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '9 s'),"
        " (now() - interval '1 hour')"
    )
    found = figures(client)
    assert found["eventlink_database_up",] == 1
    assert found["eventlink_active_model_info", "m1"] == 1
    assert found["eventlink_cache_lists",] == 2
    assert found["eventlink_cache_refreshed_lists",] == 1
    assert found["eventlink_cache_age_seconds",] == pytest.approx(
        time.time() - NOON.timestamp(), abs=60
    )
    assert found["eventlink_refreshes_waiting",] == 2
    assert found["eventlink_refresh_lag_seconds",] == pytest.approx(60, abs=10)
    assert found["eventlink_jobs", "training", "waiting"] == 1
    assert found["eventlink_jobs", "refresh", "waiting"] == 0
    assert found["eventlink_worker_silent_seconds",] == pytest.approx(9, abs=5)


def test_the_database_is_asked_at_most_every_few_seconds(
    client: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = ("eventlink_refreshes_waiting",)
    monkeypatch.setattr(telemetry.DatabaseFigures, "KEPT", 0)
    assert figures(client)[waiting] == 0
    site.users(1)
    site.add("recommendation_refreshes", {"user_id": 1, "sequence": 1, "due_at": NOON + DAY})
    monkeypatch.setattr(telemetry.DatabaseFigures, "KEPT", 60)
    assert figures(client)[waiting] == 0
    monkeypatch.setattr(telemetry.DatabaseFigures, "KEPT", 0)
    assert figures(client)[waiting] == 1


def test_recommendations_and_interactions_have_counters(client: TestClient) -> None:
    before = figures(client)
    telemetry.RECOMMENDATIONS.labels("cache").inc()
    telemetry.INTERACTIONS.labels("accepted").inc(20)
    after = figures(client)
    for name, label, count in (("recommendations", "cache", 1), ("interactions", "accepted", 20)):
        key = (f"eventlink_{name}_total", label)
        assert after[key] - before.get(key, 0) == count


@pytest.mark.once
def test_the_processes_of_a_server_add_their_figures_up(tmp_path: Any) -> None:
    count = (
        "from eventlink.web import telemetry;"
        "telemetry.RECOMMENDATIONS.labels('cache').inc(3);"
        "telemetry._requests('GET', '/', 200).observe(0.1);"
    )
    read = (
        "telemetry.of_database = telemetry.CollectorRegistry();"
        "print(telemetry.metrics().body.decode())"
    )
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": ""}
    for script in (count, count + read):
        found = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
    assert 'eventlink_recommendations_total{source="cache"} 6.0' in found.stdout
    assert re.search(r"duration_seconds_count\{.*\} 2.0", found.stdout)


# Who may read --------------------------------------------------------------------------------------


def test_in_production_the_figures_are_closed_without_a_token(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    settings.cache_clear()
    answer = client.get("/metrics")
    assert answer.status_code == 404
    assert "METRICS_TOKEN" in answer.json()["detail"]


def test_with_a_token_only_who_knows_it_reads(
    client: TestClient, site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.users(7, role="admin")
    monkeypatch.setenv("METRICS_TOKEN", "a word for Prometheus")
    settings.cache_clear()
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=sign_in(7)).status_code == 401
    assert (
        client.get(
            "/metrics", headers={"Authorization": "Bearer ünknown".encode("latin-1")}
        ).status_code
        == 401
    )
    assert figures(client, Authorization="Bearer a word for Prometheus")
