"""What administrators may do, and that taking a model back holds against whatever runs."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from integration.sites import DAY, HOUR, NOON, Site, a_small_site, eventually, lists_of, rank_at

from eventlink.cli import main
from eventlink.config import Settings, settings
from eventlink.db.models import StoredModel, hold_active, store_model
from eventlink.db.overlay import store_refreshed
from eventlink.db.recommendations import build_generation, serve_generation
from eventlink.db.serving import require_unchanged, serving
from eventlink.db.session import connection, transaction
from eventlink.errors import ConflictError, ModelMismatchError, NotFoundError, PublishRefusedError
from eventlink.recsys.models import PriorModel
from eventlink.services import publishing
from eventlink.services.models import Switched, activate, roll_back
from eventlink.services.recompute import Request, recompute
from eventlink.services.status import status

SignIn = Callable[[int], dict[str, str]]
ADMIN, STUDENT, ORGANIZER = 90, 1, 10


@pytest.fixture
def site(database: str) -> Site:
    site = a_small_site(database)
    site.users(ADMIN, role="admin")
    return site


@pytest.fixture
def headers(sign_in: SignIn) -> dict[str, str]:
    return sign_in(ADMIN)


def a_model(version: str, **meta: Any) -> StoredModel:
    model = PriorModel()
    return StoredModel(version, list(model.feature_names_), model.to_json(), meta)


def publish(
    version: str, events: list[int], at: datetime = NOON, *, store: bool = True, **meta: Any
) -> int:
    """Publish rankings of the three students, and make their model active."""
    with connection() as conn:
        generation = build_generation(
            conn, version, at, [lists_of(dict.fromkeys((1, 2, 3), events))], meta
        )
        with conn.begin():
            serve_generation(conn, generation)
            if store:
                store_model(conn, a_model(version), activate=True)
    return generation


def refresh(version: str, user: int, events: list[int], at: datetime) -> None:
    with transaction() as conn:
        store_refreshed(conn, version, at, lists_of({user: events}))


def take_back() -> Switched:
    with transaction() as conn:
        return roll_back(conn, "a test", NOON)


def make_active(version: str, now: datetime = NOON) -> Switched:
    with transaction() as conn:
        return activate(conn, version, "a test", now)


def active(site: Site) -> str:
    [(version,)] = site.run("SELECT model_version FROM recommender_models WHERE is_active")
    return str(version)


# Who may ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("site")
def test_only_administrators_may(client: TestClient, sign_in: SignIn) -> None:
    routes = [
        (method.upper(), path.format(job_id=1, user_id=1))
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
        if path.startswith("/api/admin")
    ]
    assert len(routes) >= 10
    for method, path in routes:
        assert client.request(method, path).status_code == 401, path
        for user in (STUDENT, ORGANIZER):
            answer = client.request(method, path, headers=sign_in(user))
            assert answer.status_code == 403, path


# Metrics ----------------------------------------------------------------------------------------


def test_the_metrics_are_given_for_the_days_asked_for(
    site: Site, client: TestClient, headers: dict[str, str]
) -> None:
    shown = {"interaction_type": "impression", "user_id": 1, "event_id": 100, "request_id": "a"}
    now = datetime.now(UTC)
    site.add("event_interactions", {**shown, "occurred_at": now, "source": "cache"})
    answer = client.get("/api/admin/personalization/metrics?days=3", headers=headers).json()
    assert len(answer["by_day"]) == 3
    assert answer["by_day"][-1]["day"] == now.date().isoformat()
    assert answer["by_source"][0]["source"] == "cache"
    assert answer["total"]["ctr"] == {"rate": 0, "low": None, "high": None}
    assert answer["attribution"]["registration_window_days"] == 7
    assert [arm["arm"] for arm in answer["by_arm"]] == [None]
    nothing = {"absolute": None, "relative": None}
    assert answer["lift"] == {"experiment": "1", "ctr": nothing, "registration_conversion": nothing}


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("days", ["0", "366", "-1", "1.5", "x", "99999999999999999999"])
def test_days_are_bounded(client: TestClient, headers: dict[str, str], days: str) -> None:
    path = f"/api/admin/personalization/metrics?days={days}"
    assert client.get(path, headers=headers).status_code == 422


# Status -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("site")
def test_the_status_of_a_site_that_never_recomputed(
    client: TestClient, headers: dict[str, str]
) -> None:
    answer = client.get("/api/admin/personalization/status", headers=headers).json()
    assert answer["model"] is None
    assert answer["cache"]["generation"] is None
    assert answer["cache"]["fresh"] is False
    assert (answer["cache"]["active_students"], answer["cache"]["coverage"]) == (3, 0)
    assert answer["last_recompute"] is None
    assert answer["settings"]["recommendations_control_share"] == 0
    assert answer["settings"]["recommendations_experiment"] == "1"


def test_the_status_tells_of_model_cache_refreshes_and_queue(
    site: Site, client: TestClient, headers: dict[str, str]
) -> None:
    site.users(4, 5)
    site.users(6, is_active=False)
    now = datetime.now(UTC)
    seats = {"limited": 2, "held_back": 1}
    generation = publish("old", [100, 101], now - 2 * HOUR, store=False, seats=seats)
    with transaction() as conn:
        meta = {"gate": {"activate": True}, "metrics": {"model": {"ndcg_10": 0.1}}}
        store_model(conn, a_model("new", **meta), activate=True)
    refresh("new", 4, [100], now)
    site.add("recommendation_refreshes", {"user_id": 1, "sequence": 1, "due_at": now - HOUR})
    job = client.post("/api/admin/personalization/retrain", headers=headers).json()["job_id"]

    answer = client.get("/api/admin/personalization/status", headers=headers).json()
    assert answer["model"]["model_version"] == "new"
    assert answer["model"]["kind"] == "prior"
    assert answer["model"]["gate"] == {"activate": True}
    assert answer["seats"] == seats
    cache = answer["cache"]
    assert (cache["generation"], cache["made_by"]) == (generation, "old")
    assert cache["age_seconds"] == pytest.approx(7200, abs=60)
    assert (cache["lists"], cache["refreshed_lists"]) == (3, 1)
    assert (cache["active_students"], cache["with_list"], cache["with_fresh_list"]) == (5, 4, 4)
    assert cache["coverage"] == cache["fresh_share"] == 0.8
    assert cache["fresh"] is True
    assert answer["refreshes"]["waiting"] == answer["refreshes"]["due"] == 1
    assert answer["refreshes"]["lag_seconds"] == pytest.approx(3600, abs=60)
    assert answer["last_recompute"]["job_id"] == job
    training = next(queue for queue in answer["jobs"]["queues"] if queue["queue"] == "training")
    assert training["waiting"] == 1


def test_a_stale_generation_leaves_only_the_refreshed_ones_fresh(site: Site) -> None:
    now = NOON + timedelta(seconds=settings().recommendations_cache_max_age_seconds)
    publish("m", [100], NOON)
    refresh("m", 2, [101], NOON + HOUR)
    with transaction() as conn:
        cache = status(conn, now).cache
    assert (cache.fresh, cache.with_list, cache.with_fresh_list) == (False, 3, 1)
    del site


@pytest.mark.usefixtures("site")
def test_no_secret_is_shown(client: TestClient, headers: dict[str, str], database: str) -> None:
    text = client.get("/api/admin/personalization/status", headers=headers).text
    assert settings().secret_key not in text
    assert database not in text
    hidden = set(Settings.model_fields) - set(json.loads(text)["settings"])
    # Whoever adds a setting decides whether it is shown.
    addresses_and_secrets = {"database_url", "secret_key", "metrics_token"}
    assert hidden == addresses_and_secrets | {"eventlink_data_dir", "log_format", "log_level"}


# Models -----------------------------------------------------------------------------------------


def test_models_are_listed_the_active_one_first(
    client: TestClient, headers: dict[str, str], site: Site
) -> None:
    for version in ("a", "b", "c"):
        with transaction() as conn:
            store_model(conn, a_model(version, trained_at=version), activate=version == "b")
    found = client.get("/api/admin/models?limit=2", headers=headers).json()
    assert [(one["model_version"], one["is_active"]) for one in found] == [
        ("b", True),
        ("c", False),
    ]
    assert found[0]["trained_at"] == "b"
    assert "weights" not in found[0]
    del site


def test_rolling_back_serves_the_previous_rankings_and_their_model_at_once(
    site: Site, client: TestClient, headers: dict[str, str]
) -> None:
    first = publish("good", [100, 101], NOON)
    second = publish("bad", [101, 100], NOON + DAY)
    refresh("bad", 2, [101], NOON + DAY + HOUR)
    refresh("good", 3, [101], NOON + DAY + HOUR)
    with structlog.testing.capture_logs() as logs:
        answer = client.post("/api/admin/models/rollback", headers=headers)
    assert answer.status_code == 200
    found = answer.json()
    assert found["model_version"] == found["rankings_made_by"] == "good"
    assert (found["instead_of"], found["refreshed_rankings_deleted"]) == ("bad", 1)
    assert site.serving() == (first, second)
    assert active(site) == "good"
    assert site.events_of(1) == site.events_of(2) == [100, 101]
    assert site.events_of(3) == [101]
    assert site.run("SELECT DISTINCT model_version FROM user_recommendations") == [("good",)]
    [(job, queued)] = site.run(
        "SELECT id, args -> 'request' ->> 'skip_training' FROM procrastinate_jobs"
    )
    assert (found["recompute_job_id"], queued) == (job, "true")
    told = next(line for line in logs if line["event"] == "model activated by hand")
    assert (told["model_version"], told["by"]) == ("good", f"user {ADMIN}")
    [listed, _] = client.get("/api/admin/models", headers=headers).json()
    assert listed["activations"][0]["by"] == f"user {ADMIN}"
    assert listed["activations"][0]["instead_of"] == "bad"


def test_rolling_back_twice_changes_nothing(site: Site) -> None:
    publish("a", [100], NOON)
    second = publish("b", [101], NOON + DAY)
    take_back()
    take_back()
    assert site.serving()[0] == second
    assert active(site) == "b"
    assert site.events_of(1) == [101]


def test_however_often_a_model_ranked_what_another_one_ranked_comes_back(site: Site) -> None:
    first = publish("good", [100, 101], NOON)
    publish("bad", [101, 100], NOON + HOUR)
    for hours in (2, 3):
        rank_at(NOON + hours * HOUR)
    found = take_back()
    assert (found.model_version, found.rankings_made_by) == ("good", "good")
    assert site.serving()[0] == first
    assert site.events_of(1) == [100, 101]


def test_there_must_be_something_to_go_back_to(site: Site) -> None:
    with pytest.raises(ConflictError, match="no earlier rankings"):
        take_back()
    publish("a", [100])
    before = site.contents()
    with pytest.raises(ConflictError, match="activate a model by its version"):
        take_back()
    assert site.contents() == before


def test_activating_the_model_of_the_previous_rankings_brings_them_back(site: Site) -> None:
    first = publish("a", [100], NOON)
    publish("b", [101], NOON + DAY)
    assert make_active("a").rankings_made_by == "a"
    assert site.serving()[0] == first
    assert site.events_of(1) == [100]


def test_activating_a_model_whose_rankings_are_too_old_ranks_everybody_anew(site: Site) -> None:
    publish("a", [100], NOON)
    second = publish("b", [101], NOON + 2 * DAY)
    found = make_active("a", NOON + 2 * DAY)
    assert (found.model_version, found.rankings_made_by) == ("a", "b")
    assert found.recompute_wanted
    assert site.serving()[0] == second


def test_activating_any_other_model_ranks_everybody_anew(site: Site) -> None:
    for version in ("a", "b", "c"):
        publish(version, [100], NOON)
    refresh("c", 2, [101], NOON + HOUR)
    found = make_active("a")
    assert (found.model_version, found.rankings_made_by) == ("a", "c")
    assert found.refreshed_rankings_deleted == 1
    assert found.recompute_job_id is not None
    assert active(site) == "a"
    rank_at()  # what the job does
    assert site.run("SELECT DISTINCT model_version FROM user_recommendations") == [("a",)]


def test_rolling_back_an_activation_returns_to_the_model_that_ranked(site: Site) -> None:
    for version in ("a", "b", "c"):
        serves = publish(version, [100], NOON)
    make_active("a")
    found = take_back()
    assert (found.model_version, found.generation) == ("c", serves)
    assert active(site) == "c"


def test_a_model_of_other_features_or_none_cannot_be_activated(site: Site) -> None:
    publish("a", [100])
    with transaction() as conn:
        weights = PriorModel().to_json()
        store_model(conn, StoredModel("alien", ["x"], weights, {}), activate=False)
    before = site.contents()
    with pytest.raises(ModelMismatchError):
        make_active("alien")
    with pytest.raises(NotFoundError, match="no model of version missing"):
        make_active("missing")
    assert site.contents() == before


@pytest.mark.usefixtures("site")
def test_refusals_are_answered_with_their_status(
    client: TestClient, headers: dict[str, str]
) -> None:
    path = "/api/admin/models/activate"
    assert client.post(path, headers=headers, json={"model_version": "x"}).status_code == 404
    assert client.post(path, headers=headers, json={}).status_code == 422
    assert client.post(path, headers=headers, json={"model_version": "\x00"}).status_code == 422
    assert client.post("/api/admin/models/rollback", headers=headers).status_code == 409


def test_without_the_queue_nothing_is_queued(
    site: Site, client: TestClient, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("a", [100], NOON)
    publish("b", [101], NOON + DAY)
    monkeypatch.setenv("TASK_QUEUE_ENABLED", "false")
    settings.cache_clear()
    answer = client.post("/api/admin/models/rollback", headers=headers).json()
    assert answer["recompute_job_id"] is None
    refused = client.post("/api/admin/personalization/retrain", headers=headers)
    assert refused.status_code == 409
    assert site.run("SELECT count(*) FROM procrastinate_jobs") == [(0,)]
    [(failed,)] = site.run(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status)"
        " VALUES ('training', 'recompute_recommendations_ml', 'failed') RETURNING id"
    )
    again = client.post(f"/api/admin/jobs/{failed}/retry", headers=headers)
    assert (again.status_code, again.json()) == (409, refused.json())
    assert site.run("SELECT id FROM procrastinate_jobs") == [(failed,)]


def test_users_are_served_what_was_rolled_back_to(
    client: TestClient, headers: dict[str, str], sign_in: SignIn, site: Site
) -> None:
    now = datetime.now(UTC)
    for event_id in (200, 201):
        site.event(event_id, start_time=now + 2 * DAY)
    publish("good", [200, 201], now - 3 * HOUR)
    publish("bad", [201, 200], now - 2 * HOUR)
    refresh("bad", 1, [201], now - HOUR)

    def served() -> tuple[str, list[int]]:
        answer = client.get("/api/recommendations?limit=2", headers=sign_in(1)).json()
        return answer["model_version"], [item["event"]["id"] for item in answer["items"]]

    # The heuristic answers where the stored lists take too long, as on a busy machine.
    assert eventually(lambda: served() == ("bad", [201, 200]))
    client.post("/api/admin/models/rollback", headers=headers)
    assert eventually(lambda: served() == ("good", [200, 201]))


def test_the_command_line_lists_activates_and_rolls_back(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stopped:
            main(["models", *words])
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, capsys.readouterr().out

    assert run() == (0, "no model is stored; the first recompute stores one\n")
    assert run("--rollback")[0] == ConflictError.exit_code
    first = publish("a[b]:c", [100], NOON)
    publish("b", [101], NOON + DAY)
    code, told = run("--rollback")
    assert code == 0
    [(job,)] = site.run("SELECT id FROM procrastinate_jobs")
    assert told.splitlines() == [
        "a[b]:c serves instead of b",
        f"everybody's rankings are by a[b]:c (generation {first})",
        f"job {job} is to rank everybody anew",
    ]
    code, told = run()
    assert [line.split()[:2] for line in told.splitlines()[1:]] == [["*", "a[b]:c"], ["b", "prior"]]
    site.run(
        'UPDATE recommender_models SET meta = meta || \'{"trained_at": "2026-03-01T03:04:05+02:00"}\''
        " WHERE model_version = 'b'"
    )
    assert "2026-03-01 01:04" in run()[1]
    refresh("a[b]:c", 1, [100], NOON + 2 * DAY)
    monkeypatch.setenv("TASK_QUEUE_ENABLED", "false")
    settings.cache_clear()
    code, told = run("--activate", "b")
    assert code == 0
    assert "rankings of single users by other models: 1 deleted" in told
    assert "run: eventlink recompute --skip-training" in told
    assert active(site) == "b"
    assert run("--activate", "b", "--rollback")[0] == 2
    assert run("--limit", "0")[0] == 2
    [(notes,)] = site.run(
        "SELECT meta -> 'activations' FROM recommender_models WHERE model_version = 'b'"
    )
    assert [note["by"] for note in notes] == ["command line"]
    # Everybody's rankings are by that one already.
    code, told = run("--activate", "a[b]:c")
    assert (code, "run: eventlink recompute" in told) == (0, False)


# Against what runs meanwhile ----------------------------------------------------------------------


@pytest.mark.parametrize("skip_training", [True, False])
def test_a_recompute_that_began_before_does_not_overrule_an_administrator(
    site: Site, monkeypatch: pytest.MonkeyPatch, skip_training: bool
) -> None:
    site.add(
        "event_interactions",
        {"user_id": 1, "event_id": 100, "interaction_type": "click", "occurred_at": NOON - DAY},
    )
    publish("good", [100, 101], NOON - 2 * DAY)
    publish("bad", [101, 100], NOON - DAY)
    ranks = publishing.build_generation

    def meanwhile(*arguments: Any) -> int:
        generation = ranks(*arguments)
        take_back()
        return generation

    monkeypatch.setattr(publishing, "build_generation", meanwhile)
    with pytest.raises(PublishRefusedError, match="run it again"):
        rank_at() if skip_training else recompute(Request(now=NOON, as_of=NOON, folds=0))
    assert active(site) == "good"
    assert site.events_of(1) == [100, 101]
    monkeypatch.undo()
    rank_at()
    assert site.run("SELECT DISTINCT model_version FROM user_recommendations") == [("good",)]


def test_an_administrator_waits_for_a_publish_and_takes_that_one_back(site: Site) -> None:
    publish("a", [100], NOON)
    generation = publish("b", [101], NOON + DAY)
    with connection() as conn:
        coming = build_generation(
            conn, "c", NOON + 2 * DAY, [lists_of({1: [100], 2: [100], 3: [100]})]
        )
        with conn.begin():
            require_unchanged(conn, serving(conn))
            serve_generation(conn, coming)
            store_model(conn, a_model("c"), activate=True)
            admin = threading.Thread(target=take_back)
            admin.start()
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            assert eventually(lambda: site.run(waits) == [(1,)])
    admin.join()
    assert site.serving() == (generation, coming)
    assert active(site) == "b"


def test_a_refresh_by_a_model_taken_back_stores_nothing(site: Site) -> None:
    publish("a", [100], NOON)
    publish("b", [101], NOON + DAY)
    take_back()
    with transaction() as conn:
        assert not hold_active(conn, "b")
        assert hold_active(conn, "a")
    del site


def test_a_refresh_under_way_is_waited_for_and_forgotten(site: Site) -> None:
    publish("a", [100], NOON)
    publish("b", [101], NOON + DAY)
    with transaction() as conn:
        assert hold_active(conn, "b")
        store_refreshed(conn, "b", NOON + DAY + HOUR, lists_of({1: [101]}))
        admin = threading.Thread(target=take_back)
        admin.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        assert eventually(lambda: site.run(waits) == [(1,)])
    admin.join()
    assert site.events_of(1) == [100]
    assert site.run("SELECT count(*) FROM recommendation_overlay") == [(0,)]


# Jobs -------------------------------------------------------------------------------------------


def test_a_retrain_is_queued_once(client: TestClient, headers: dict[str, str], site: Site) -> None:
    path = "/api/admin/personalization/retrain"
    answers = [client.post(path, headers=headers, json={"top_n": 20}) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {202}
    assert [answer.json()["created"] for answer in answers] == [True, False, False]
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert site.run(
        "SELECT args -> 'request' -> 'options' ->> 'top_n' FROM procrastinate_jobs"
    ) == [("20",)]


@pytest.mark.parametrize(
    ("body", "status"), [(b'{"nonsense": 1}', 422), (b'{"top_n":', 422), (b'{"\xff": 1}', 400)]
)
def test_a_body_with_unknown_fields_or_without_json_queues_nothing(
    client: TestClient, headers: dict[str, str], site: Site, body: bytes, status: int
) -> None:
    path, json_ = "/api/admin/personalization/retrain", {"Content-Type": "application/json"}
    assert client.post(path, headers=headers | json_, content=body).status_code == status
    assert site.run("SELECT count(*) FROM procrastinate_jobs") == [(0,)]


def test_a_retrain_is_as_the_site_has_set_it_unless_asked_otherwise(
    client: TestClient, headers: dict[str, str], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/admin/personalization/retrain"
    with monkeypatch.context() as patch:
        patch.setenv("RECOMMENDATIONS_TOP_N", "30")
        settings.cache_clear()
        for order, top_n in (({}, 30), ({"top_n": None}, 30), ({"top_n": 20}, 20)):
            job = client.post(path, headers=headers, json=order).json()["job_id"]
            options = site.run(
                "SELECT args -> 'request' -> 'options' FROM procrastinate_jobs WHERE id = %s", job
            )[0][0]
            assert options["top_n"] == top_n
            site.run("DELETE FROM procrastinate_jobs")
    settings.cache_clear()


def test_jobs_are_listed_filtered_cancelled_and_tried_again(
    client: TestClient, headers: dict[str, str], site: Site
) -> None:
    job = client.post("/api/admin/personalization/retrain", headers=headers).json()["job_id"]
    site.run(
        "INSERT INTO procrastinate_jobs (queue_name, task_name)"
        " VALUES ('refresh', 'refresh_user_recommendations_ml')"
    )

    def listed(query: str) -> list[int]:
        found = client.get(f"/api/admin/jobs?{query}", headers=headers).json()
        return [one["job_id"] for one in found]

    assert listed("") == [job + 1, job]
    assert listed("type=recompute_recommendations_ml") == [job]
    assert listed(f"before={job + 1}") == [job]
    assert listed("limit=1") == [job + 1]
    assert listed("status=queued") == [job + 1, job]
    site.run("UPDATE procrastinate_jobs SET status = 'doing' WHERE id = %s", job + 1)
    assert listed("status=running") == [job + 1]
    cancelled = client.post(f"/api/admin/jobs/{job}/cancel", headers=headers)
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert client.post(f"/api/admin/jobs/{job}/cancel", headers=headers).status_code == 409
    assert listed("status=cancelled") == [job]
    again = client.post(f"/api/admin/jobs/{job}/retry", headers=headers)
    assert (again.status_code, again.json()["created"]) == (202, True)
    assert client.get(f"/api/admin/jobs/{job}", headers=headers).json()["status"] == "cancelled"


@pytest.mark.usefixtures("site")
def test_jobs_that_are_not_there_are_not_found(client: TestClient, headers: dict[str, str]) -> None:
    for method, path in (("GET", "7"), ("POST", "7/retry"), ("POST", "7/cancel")):
        assert client.request(method, f"/api/admin/jobs/{path}", headers=headers).status_code == 404
    assert client.get("/api/admin/jobs?status=lost", headers=headers).status_code == 422
    assert client.get(f"/api/admin/jobs/{2**63}", headers=headers).status_code == 422
