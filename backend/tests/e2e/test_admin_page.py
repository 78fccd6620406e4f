"""The administrators' page, as an administrator sees it: a real browser, a real platform."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from e2e.conftest import NARROW, PATIENCE, Platform, overflows, wait_for
from playwright.sync_api import Page, Route, expect

PASSWORD = "correct horse battery"  # noqa: S105 (of nobody)
SHOWN, CLICKED = 10, 3


def test_an_administrator_looks_recomputes_and_rolls_back(platform: Platform, page: Page) -> None:
    expect.set_options(timeout=1000 * PATIENCE)
    recompute = ("eventlink", "recompute", "--folds", "0", "--activate", "always")
    platform.run(*recompute)
    platform.run(*recompute)
    platform.run("eventlink", "create-admin", "root@example.org", text=f"{PASSWORD}\n")
    admin = _log_in(platform, "login", "root@example.org")
    _be_shown_something(platform)

    _sign_in(page, platform, "root@example.org")
    told = _get(platform, admin, "personalization/metrics?days=30")
    _see_the_figures(page, told)
    _wait_for_figures(page, told)
    _see_the_state(page, _get(platform, admin, "personalization/status"))
    _see_what_is_seldom(page)
    _see_whether_the_workers_guard(page)
    _see_no_overflow(page)
    _roll_back(page, platform, admin)
    _recompute(page, platform, admin)

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    _refuse_a_student(page, platform)


def _log_in(platform: Platform, how: str, email: str) -> dict[str, str]:
    """Log in, or register; return the headers of their requests."""
    who = {"email": email, "password": PASSWORD}
    answer = platform.apis[0].post(f"/api/auth/{how}", json=who)
    assert answer.is_success, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def _get(platform: Platform, admin: dict[str, str], path: str) -> Any:
    return platform.apis[1].get(f"/api/admin/{path}", headers=admin).json()


def _be_shown_something(platform: Platform) -> None:
    """Register a student who is shown a list, clicks on some of it, and registers once."""
    api = platform.apis[0]
    student = _log_in(platform, "register", "ana@example.org")
    shown = api.get(f"/api/recommendations?limit={SHOWN}", headers=student).json()
    events = [item["event"]["id"] for item in shown["items"]]
    assert len(events) == SHOWN
    acts = [
        {"type": kind, "event_id": event, "position": place, "request_id": shown["request_id"]}
        for kind, some in (("impression", events), ("click", events[:CLICKED]))
        for place, event in enumerate(some)
    ]
    sent = api.post("/api/analytics/interactions", json={"interactions": acts}, headers=student)
    assert sent.json()["accepted"] == len(acts)
    assert api.put(f"/api/events/{events[0]}/registration", headers=student).is_success


def _sign_in(page: Page, platform: Platform, email: str) -> None:
    page.goto(f"{platform.apis[0].base_url}/admin")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def _see_the_figures(page: Page, told: dict[str, Any]) -> None:
    """See what the API tells: in all, by day, by source."""
    total = told["total"]
    assert total["impressions"] > SHOWN  # the simulated people's too
    tiles = page.locator(".tile")
    expect(tiles.nth(0)).to_contain_text(f"{total['impressions']:,}")
    expect(tiles.nth(1)).to_contain_text(f"{total['users']:,}")
    ctr = total["ctr"]
    expect(tiles.nth(2)).to_contain_text(f"{ctr['rate']:.1%}")
    expect(tiles.nth(2)).to_contain_text(f"between {ctr['low']:.1%} and {ctr['high']:.1%}")
    expect(tiles.nth(2)).to_contain_text(f"{total['clicks']:,} impressions")
    expect(tiles.nth(3)).to_contain_text(f"{total['registrations']:,} impressions")
    rows = page.get_by_role("table", name="By source").get_by_role("row")
    expect(rows).to_have_count(1 + len(told["by_source"]))
    (heuristic,) = [one for one in told["by_source"] if one["source"] == "heuristic"]
    expect(rows.filter(has_text="Heuristic")).to_contain_text(f"{heuristic['impressions']}")

    today = told["by_day"][-1]
    chart = page.get_by_role("img", name="CTR by day")
    chart.press("End")
    tip = page.locator("figure", has=chart).get_by_role("status")
    expect(tip).to_contain_text(f"{today['clicks']} clicks of {today['impressions']} impressions")
    page.get_by_label("7 days").check()
    expect(tiles.nth(0)).not_to_contain_text(f"{total['impressions']:,}")
    page.get_by_label("30 days").check()
    expect(tiles.nth(0)).to_contain_text(f"{total['impressions']:,}")


def _wait_for_figures(page: Page, told: dict[str, Any]) -> None:
    """See figures that must wait come by themselves, and no late error above newer ones."""
    section = page.get_by_role("region", name="How recommendations do")
    total = f"{told['total']['impressions']:,}"
    busy = {"status": 429, "json": {"detail": "other figures are being counted"}}
    page.route("**/metrics?days=7", lambda route: route.fulfill(**busy), times=1)
    page.get_by_label("7 days").check()
    expect(section.locator(".told")).to_contain_text("Counting")
    expect(section.get_by_role("alert")).to_be_empty()
    expect(section.locator(".tile").nth(0)).not_to_contain_text(total)
    expect(section.locator(".told")).to_be_empty()

    late: list[Route] = []
    page.route(
        "**/metrics?days=90",
        lambda route: late.append(route),  # noqa: PLW0108 (Playwright notes something at it)
        times=1,
    )
    page.get_by_label("90 days").check()
    wait_for(lambda: late, pause=lambda: page.wait_for_timeout(20))
    page.get_by_label("30 days").check()
    expect(section.locator(".tile").nth(0)).to_contain_text(total)
    with page.expect_response("**/metrics?days=90"):
        late[0].fulfill(status=500, json={"detail": "too late"})
    page.wait_for_timeout(200)
    expect(section.get_by_role("alert")).to_be_empty()


def _see_the_state(page: Page, told: dict[str, Any]) -> None:
    state = page.get_by_role("region", name="State")
    expect(state).to_contain_text(told["cache"]["made_by"])
    expect(state).to_contain_text(
        f"{told['cache']['with_list']} of {told['cache']['active_students']}"
    )
    workers = state.locator("[data-part=workers]")
    expect(workers).to_contain_text("fine")
    expect(workers.locator("dt")).to_have_count(len(told["jobs"]["workers"]))


def _see_what_is_seldom(page: Page) -> None:
    """See an experiment, and what is wrong, where the API tells of them."""

    def experiment(told: dict[str, Any]) -> None:
        told["by_arm"] = [told["total"] | {"arm": arm} for arm in ("control", "treatment", None)]
        better = {"value": 0.2, "low": 0.1, "high": 0.3}
        open_ = {"value": 0.01, "low": -0.01, "high": 0.03}
        told["lift"] = {
            "experiment": "autumn",
            "ctr": {"absolute": better, "relative": better},
            "registration_conversion": {"absolute": open_, "relative": None},
        }

    def late(told: dict[str, Any]) -> None:
        told["refreshes"]["lag_seconds"] = 600
        told["model"]["guardrail"] = {"decision": "kept", "reason": "ctr surely lower"}

    def watched(told: list[dict[str, Any]]) -> None:
        for model in told:
            model["guardrail"] = {"decision": "rolled_back", "reason": "conversion surely lower"}

    expect(page.locator(".attention")).to_be_hidden()
    with (
        _edited(page, "**/metrics?*", experiment),
        _edited(page, "**/status", late),
        _edited(page, "**/models", watched),
    ):
        page.reload()
        arms = page.get_by_role("table", name="Experiment “autumn”").get_by_role("row")
        expect(arms).to_have_count(1 + 2)
        verdicts = page.locator(".tile").filter(has_text="what rankings change")
        expect(verdicts.nth(0)).to_contain_text("+20%")
        expect(verdicts.nth(0)).to_contain_text("Surely better.")
        expect(verdicts.nth(1)).to_contain_text("No sure difference yet.")
        expect(page.locator(".attention")).to_contain_text("Refreshes are 10 minutes late")
        expect(page.locator("[data-part=refreshes]")).to_contain_text("wrong")
        expect(page.locator(".attention")).to_contain_text("to do harm: ctr surely lower.")
        models = page.get_by_role("table", name="Stored models")
        expect(models.get_by_text("taken back")).not_to_have_count(0)
        expect(models).to_contain_text("conversion surely lower")
    page.reload()
    expect(page.locator("[data-part=refreshes]")).to_contain_text("fine")
    expect(page.get_by_role("table", name="By source")).to_be_visible()
    expect(page.get_by_role("table", name="Experiment")).to_have_count(0)


def _see_whether_the_workers_guard(page: Page) -> None:
    """See that workers lack an experiment's settings, unless they may not have looked yet."""
    watching = {"decision": "watching", "experiment": "autumn", "control_share": 0.1}
    for hours, found, wrong in (
        (3, None, True),
        (1, None, False),
        (3, watching | {"experiment": "spring"}, True),
        (3, watching | {"control_share": 0.2}, True),
        (3, watching, False),
    ):

        def experiment(told: dict[str, Any], hours: int = hours, found: Any = found) -> None:
            told["settings"]["recommendations_experiment"] = "autumn"
            told["settings"]["recommendations_control_share"] = 0.1
            made = datetime.fromisoformat(told["at"]) - timedelta(hours=hours)
            told["cache"]["generated_at"] = made.isoformat()
            told["model"]["guardrail"] = found

        with _edited(page, "**/status", experiment):
            page.reload()
            workers = page.locator("[data-part=workers]")
            expect(workers).to_contain_text("look here" if wrong else "fine")
            sentence = "The guardrail does not watch experiment “autumn”: give the workers"
            expect(page.locator(".attention").get_by_text(sentence)).to_have_count(int(wrong))


@contextmanager
def _edited(page: Page, path: str, edit: Callable[[Any], None]) -> Iterator[None]:
    """Let the page see another answer than the server's."""

    def answer(route: Route) -> None:
        told = route.fetch().json()
        edit(told)
        route.fulfill(json=told)

    page.route(path, answer)
    yield
    page.unroute(path)


def _see_no_overflow(page: Page) -> None:
    wide = page.viewport_size
    assert wide is not None
    for size in (NARROW, wide):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert not overflows(page)


def _roll_back(page: Page, platform: Platform, admin: dict[str, str]) -> None:
    """Take the second model back; page and API agree on what serves, before and after."""
    before = _get(platform, admin, "personalization/status")
    first, second = before["cache"]["previous_made_by"], before["cache"]["made_by"]
    models = page.get_by_role("region", name="Models")
    expect(models.get_by_role("row", name=second)).to_contain_text("active")
    models.get_by_role("button", name="Roll back").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text(f"The last rankings by {first} serve again")
    question.get_by_role("button", name="Leave it").click()
    assert _get(platform, admin, "models")[0]["model_version"] == second

    models.get_by_role("button", name="Roll back").click()
    question.get_by_role("button", name="Roll back").click()
    # The rankings it went back to are older: they are made anew, by the same model. Read at once,
    # for all this is told only until that is done.
    done = (
        rf"{re.escape(first)} is active now instead of {re.escape(second)}\. .* Job \d+ recomputes"
    )
    expect(models.get_by_role("status")).to_contain_text(re.compile(done))
    (job,) = _get(platform, admin, "jobs?type=recompute_recommendations_ml")
    expect(models.get_by_role("row", name=first)).to_contain_text("active")
    expect(models.get_by_role("row", name=second).get_by_role("button")).to_have_text("Activate")
    assert _get(platform, admin, "models")[0]["model_version"] == first
    _see_it_succeed(page, platform, admin, job["job_id"])
    expect(models.get_by_role("status")).to_be_empty()  # other rankings serve by now


def _recompute(page: Page, platform: Platform, admin: dict[str, str]) -> None:
    section = page.get_by_role("region", name="Recomputes")
    section.get_by_label("Only rank").check()

    def is_now(status: str) -> Callable[[list[dict[str, Any]]], None]:
        return lambda told: told[0].update(status=status)

    with _edited(page, "**/jobs?*", is_now("queued")):
        button = section.get_by_role("button", name="Recompute now")
        button.click()
        expect(section.get_by_role("row")).to_have_count(1 + 2)
        latest = _get(platform, admin, "jobs?type=recompute_recommendations_ml")[0]
        assert latest["payload"]["request"]["skip_training"] is True
        job = f"Job {latest['job_id']}"
        expect(section.get_by_role("status")).to_have_text(f"{job} is queued.")
        expect(button).to_be_focused()
    with _edited(page, "**/jobs?*", is_now("running")):
        expect(section.get_by_role("status")).to_have_text(f"{job} is running.")
    _see_it_succeed(page, platform, admin, latest["job_id"])
    expect(section.get_by_role("status")).to_have_text(f"{job} succeeded.")


def _see_it_succeed(page: Page, platform: Platform, admin: dict[str, str], job_id: int) -> None:
    """See the end of a job without doing anything, and the generation that it published."""
    row = page.get_by_role("region", name="Recomputes").get_by_role("row", name=f"Job {job_id}")
    expect(row).to_contain_text("succeeded", timeout=1000 * PATIENCE)
    assert _get(platform, admin, f"jobs/{job_id}")["status"] == "succeeded"
    generation = _get(platform, admin, "personalization/status")["cache"]["generation"]
    rankings = page.locator("[data-part=rankings]")
    expect(rankings.locator("dd").first).to_have_text(str(generation))


def _refuse_a_student(page: Page, platform: Platform) -> None:
    _sign_in(page, platform, "ana@example.org")
    expect(page.get_by_role("alert")).to_contain_text(
        "ana@example.org is signed in, but is no administrator"
    )
    page.get_by_role("button", name="Sign in as someone else").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
