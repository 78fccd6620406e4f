"""The guardrail takes a harmful model back once, for good reason, and tells why."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from integration.sites import DAY, HOUR, NOON, Site, a_small_site, lists_of

from eventlink.config import settings
from eventlink.db.models import StoredModel, store_model
from eventlink.db.recommendations import build_generation, serve_generation
from eventlink.db.session import connection, transaction
from eventlink.recsys.models import PriorModel
from eventlink.services import guardrail
from eventlink.services.guardrail import STORED, check
from eventlink.services.models import activate, roll_back

ADMIN = 9000
IN_EACH_ARM = 60
LATER = NOON + 6 * HOUR


@pytest.fixture
def site(database: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = a_small_site(database)
    site.users(ADMIN, role="admin")
    site.users(*range(1001, 1001 + 2 * IN_EACH_ARM))
    for event in range(200, 210):
        site.event(event)
    use(monkeypatch, RECOMMENDATIONS_CONTROL_SHARE="0.5")
    return site


def use(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()


def publish(version: str, at: datetime = NOON) -> None:
    """Publish rankings by a new model, and make it active."""
    model = PriorModel()
    stored = StoredModel(version, list(model.feature_names_), model.to_json(), {})
    with connection() as conn:
        lists = lists_of({user: [100, 101] for user in (1, 2, 3)})
        generation = build_generation(conn, version, at, [lists])
        with conn.begin():
            serve_generation(conn, generation)
            store_model(conn, stored, activate=True)


def show(site: Site, treatment: int, control: int, at: datetime = NOON + HOUR) -> None:
    """Show everybody in both arms ten events, of which they click so many."""
    rows: list[dict[str, Any]] = []
    for number in range(2 * IN_EACH_ARM):
        arm, clicks = ("treatment", treatment) if number % 2 else ("control", control)
        user = 1001 + number
        for event in range(10):
            row = {"user_id": user, "event_id": 200 + event, "occurred_at": at, "arm": arm}
            row |= {"request_id": f"{user} {at}", "experiment": "1"}
            rows.append(row | {"interaction_type": "impression"})
            # Not all alike, or nothing would be known of how users differ.
            if event < clicks + (number // 2) % 3 - 1:
                rows.append(row | {"interaction_type": "click"})
    site.add("event_interactions", *rows)


def watched(site: Site, version: str) -> Any:
    [(found,)] = site.run(
        "SELECT meta -> 'guardrail' FROM recommender_models WHERE model_version = %s", version
    )
    return found


def active(site: Site) -> str:
    [(version,)] = site.run("SELECT model_version FROM recommender_models WHERE is_active")
    return str(version)


def test_a_model_that_does_harm_is_taken_back_and_all_is_told(
    site: Site, client: TestClient, sign_in: Callable[[int], dict[str, str]]
) -> None:
    publish("good")
    publish("bad", NOON + HOUR / 2)
    check(NOON + HOUR / 2)
    assert watched(site, "bad")["decision"] == "watching"
    show(site, treatment=2, control=6)
    with structlog.testing.capture_logs() as logs:
        check(LATER)
    assert active(site) == "good"
    found = watched(site, "bad")
    known = STORED.validate_python(found)
    assert (known.decision, known.looks, known.at) == ("rolled_back", 1, LATER)
    assert found["shown"] == 20 * IN_EACH_ARM
    assert found["reason"] == "ctr surely lower than in the control arm; good serves again"
    assert found["lift"]["ctr"]["absolute"]["high"] < 0
    [line] = [line for line in logs if "guardrail" in line["event"]]
    assert (line["model_version"], line["reason"]) == ("bad", found["reason"])
    headers = sign_in(ADMIN)
    good, bad = client.get("/api/admin/models", headers=headers).json()
    assert (good["model_version"], good["guardrail"]) == ("good", None)
    assert (good["activations"][0]["by"], good["activations"][0]["instead_of"]) == (
        "guardrail",
        "bad",
    )
    assert bad["guardrail"] == found
    check(LATER + HOUR)
    answer = client.get("/api/admin/personalization/status", headers=headers).json()
    assert answer["model"]["guardrail"]["decision"] == "watching"
    assert answer["settings"]["recommendations_guardrail"] is True


def test_a_model_that_helps_or_is_not_surely_worse_stays(site: Site) -> None:
    publish("good")
    publish("new")
    check(NOON)
    show(site, treatment=5, control=5)
    check(LATER)
    assert watched(site, "new")["looks"] == 1
    show(site, treatment=7, control=5, at=LATER)
    check(LATER + DAY)
    assert watched(site, "new")["looks"] == 2
    assert active(site) == "new"


def test_what_was_shown_before_the_model_served_does_not_count(site: Site) -> None:
    publish("good")
    show(site, treatment=2, control=6)
    publish("new", NOON + 2 * HOUR)
    check(NOON + 2 * HOUR)
    check(LATER)
    assert watched(site, "new")["looks"] == 0
    assert active(site) == "new"


def test_what_has_nothing_to_go_back_to_is_told_once_and_kept(site: Site) -> None:
    publish("only")
    check(NOON)
    show(site, treatment=2, control=6)
    check(LATER)
    found = watched(site, "only")
    assert found["decision"] == "kept"
    assert "there are no earlier rankings to go back to" in found["reason"]
    assert active(site) == "only"
    with structlog.testing.capture_logs() as logs:
        check(LATER + DAY)
    assert logs == []
    assert watched(site, "only") == found


def test_older_rankings_of_the_same_model_are_nothing_to_go_back_to(site: Site) -> None:
    publish("only")
    with connection() as conn:
        again = build_generation(
            conn, "only", NOON + HOUR / 4, [lists_of({user: [101, 100] for user in (1, 2, 3)})]
        )
        with conn.begin():
            serve_generation(conn, again)
    check(NOON)
    show(site, treatment=2, control=6)
    check(LATER)
    found = watched(site, "only")
    assert found["decision"] == "kept"
    assert "no other model has rankings to go back to" in found["reason"]
    assert site.run("SELECT generation FROM recommendation_serving") == [(again,)]


def test_what_was_kept_although_it_did_harm_does_not_come_back(site: Site) -> None:
    publish("first")
    check(NOON)
    show(site, treatment=2, control=6)
    check(LATER)
    assert watched(site, "first")["decision"] == "kept"
    publish("second", LATER)
    check(LATER)
    show(site, treatment=2, control=6, at=LATER + HOUR)
    check(LATER + DAY)
    assert watched(site, "second")["decision"] == "kept"
    assert active(site) == "second"


def test_a_worker_that_is_to_stop_does_nothing_about_what_it_counted(site: Site) -> None:
    publish("good")
    publish("bad")
    check(NOON)
    show(site, treatment=2, control=6)
    check(LATER, stopped=lambda: True)
    assert (active(site), watched(site, "bad")["looks"]) == ("bad", 0)


def test_one_counts_at_a_time_for_as_long_as_it_takes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("good")
    publish("bad")
    check(NOON)
    show(site, treatment=2, control=6)
    counted = guardrail.outcomes
    limits: list[tuple[str]] = []

    def slowly(conn: Any, *asked: Any) -> Any:
        limits.extend(conn.exec_driver_sql("SHOW statement_timeout"))
        check(LATER)  # of another worker
        return counted(conn, *asked)

    database = site.run("SELECT current_database()")[0][0]
    site.run(f"ALTER DATABASE {database} SET statement_timeout = '1min'")
    with monkeypatch.context() as patch:
        patch.setattr(guardrail, "outcomes", slowly)
        check(LATER)
    assert limits == [("0",)]
    assert watched(site, "bad")["looks"] == 1


def test_what_was_counted_too_early_is_not_counted_again_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("new")
    check(NOON)
    check(LATER)
    with monkeypatch.context() as patch:
        patch.setattr(guardrail, "outcomes", None)
        check(LATER + HOUR)
    assert watched(site, "new")["looks"] == 0


@pytest.mark.parametrize("stored", ['{"since": null}', '{"looks": "many"}', "[]", '"watching"'])
def test_what_cannot_be_read_of_it_begins_anew(site: Site, stored: str) -> None:
    publish("new")
    site.run(
        "UPDATE recommender_models SET meta = jsonb_set(meta, '{guardrail}', %s::jsonb)"
        " RETURNING model_version",
        stored,
    )
    check(NOON)
    assert STORED.validate_python(watched(site, "new")).since == NOON


def test_what_was_taken_back_does_not_come_back(site: Site) -> None:
    publish("first")
    publish("second")
    check(NOON)
    show(site, treatment=2, control=6)
    check(LATER)
    assert active(site) == "first"
    check(LATER)
    show(site, treatment=2, control=6, at=LATER + HOUR)
    check(LATER + DAY)
    found = watched(site, "first")
    assert found["decision"] == "kept"
    assert "second, which served before, did harm as well" in found["reason"]
    assert active(site) == "first"


def test_whoever_activates_it_again_overrules_the_guardrail(site: Site) -> None:
    publish("first")
    publish("second")
    check(NOON)
    show(site, treatment=2, control=6)
    check(LATER)
    with transaction() as conn:
        activate(conn, "second", "a test", LATER + HOUR)
    show(site, treatment=2, control=6, at=LATER + 2 * HOUR)
    for days in (1, 2):
        check(LATER + days * DAY)
    assert active(site) == "second"
    assert watched(site, "second")["decision"] == "rolled_back"


@pytest.mark.parametrize(
    "changed", [{"RECOMMENDATIONS_EXPERIMENT": "2"}, {"RECOMMENDATIONS_CONTROL_SHARE": "0.4"}]
)
def test_another_experiment_or_share_begins_again_and_forgives_no_look(
    site: Site, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    publish("good")
    publish("new")
    check(NOON)
    show(site, treatment=5, control=5)
    check(LATER)
    use(monkeypatch, **changed)
    check(LATER + DAY)
    found = STORED.validate_python(watched(site, "new"))
    assert (found.since, found.shown, found.looks) == (LATER + DAY, 0, 1)
    assert (found.experiment, found.control_share) == (
        settings().recommendations_experiment,
        settings().recommendations_control_share,
    )


def test_a_model_that_served_with_a_break_begins_again(site: Site) -> None:
    publish("first")
    publish("second")
    check(NOON)
    for hours in (1, 2):
        with transaction() as conn:
            roll_back(conn, "a test", NOON + hours * HOUR)
    check(LATER)
    assert STORED.validate_python(watched(site, "second")).since == LATER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECOMMENDATIONS_GUARDRAIL", "false"),
        ("RECOMMENDATIONS_CONTROL_SHARE", "0"),
        ("RECOMMENDATIONS_USE_ML_CACHE", "false"),
    ],
)
def test_without_guardrail_or_experiment_nothing_is_watched(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    publish("new")
    use(monkeypatch, **{name: value})
    check(NOON)
    assert watched(site, "new") is None


def test_a_model_that_has_ranked_nobody_yet_is_not_judged(site: Site) -> None:
    for version in ("first", "second", "third"):
        publish(version)
    with transaction() as conn:
        activate(conn, "first", "a test", NOON)
    check(NOON)
    assert watched(site, "first") is None


def test_what_changes_while_it_counts_is_left_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("good")
    publish("bad")
    check(NOON)
    show(site, treatment=2, control=6)
    counted = guardrail.outcomes

    def overtaken(*asked: Any) -> Any:
        found = counted(*asked)
        publish("newer", NOON + HOUR)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(guardrail, "outcomes", overtaken)
        check(LATER)
    assert active(site) == "newer"
    assert watched(site, "bad")["looks"] == 0


def test_soon_after_a_look_nothing_is_counted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    publish("new")
    check(NOON)
    show(site, treatment=5, control=5)
    check(LATER)
    with monkeypatch.context() as patch:
        patch.setattr(guardrail, "outcomes", None)
        check(LATER + HOUR)
    check(LATER + DAY)  # no more was shown
    assert watched(site, "new")["looks"] == 1
