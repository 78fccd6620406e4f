"""The demo's site, in a browser: somebody new is ranked anew while they look."""

import re
from collections.abc import Iterator

import pytest
from e2e.conftest import NARROW, PATIENCE, Platform, overflows, serving, wait_for
from playwright.sync_api import Page, expect

TIMEOUT = 1000 * PATIENCE


@pytest.fixture
def demo(database: str) -> Iterator[Platform]:
    """A small city as ``make serve`` serves it, to browsers too."""
    with serving(
        database,
        ENVIRONMENT="development",
        RECOMMENDATIONS_REALTIME_REFRESH_MIN_INTERVAL_SECONDS="0",
    ) as made:
        made.run("eventlink", "simulate", "--users", "300", "--events", "150", "--days", "30")
        made.run("eventlink", "recompute", "--skip-training", "--folds", "0")
        made.serve()
        made.start("eventlink", "worker")
        yield made


def test_somebody_new_is_ranked_anew_while_they_look(demo: Platform, page: Page) -> None:
    expect.set_options(timeout=TIMEOUT)
    page.goto(f"{demo.apis[0].base_url}")

    # Somebody new says what they like, and has a ranking of their own.
    page.get_by_label("E-mail").fill("ana@example.org")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Make a new account").click()
    for number in range(3):
        page.locator(".choice").nth(number).click()
    page.get_by_role("button", name="Show me my events").click()
    news = page.locator("#for-you .news")
    expect(news).to_contain_text("after you said what you like")
    expect(page.locator("#you .chip.liked")).to_have_count(3)
    [(ana, generated_at)] = demo.ask(
        "SELECT u.id, max(r.generated_at) FROM users AS u"
        " JOIN user_recommendations AS r ON r.user_id = u.id"
        " WHERE u.email = 'ana@example.org' GROUP BY u.id"
    )

    def acts(kind: str) -> list[tuple[int, str, int, str]]:
        """What she did of a kind: event, list and place, and who had made the list."""
        return demo.ask(
            "SELECT event_id, request_id, position, source FROM event_interactions"
            " WHERE user_id = %s AND interaction_type = %s ORDER BY id",
            ana,
            kind,
        )

    # What she sees is told, with its place in its list.
    rows = page.locator("#for-you .event")
    shown = [int(row.get_attribute("data-id") or 0) for row in rows.all()]
    request_id = rows.first.locator("[data-request-id]").get_attribute("data-request-id")
    wait_for(lambda: (shown[0], request_id, 0, "cache") in acts("impression"))
    wait_for(lambda: (shown[1], request_id, 1, "cache") in acts("impression"))

    # Who asks for more reads on at the first of it.
    page.get_by_role("button", name="Show 12 more").click()
    expect(rows.nth(12).get_by_role("heading").get_by_role("button")).to_be_focused()
    shown = [int(row.get_attribute("data-id") or 0) for row in rows.all()]

    # She opens an event and registers; nothing moves behind what she reads.
    rows.nth(1).get_by_role("heading").get_by_role("button").click()
    opened = page.get_by_role("dialog")
    expect(opened.get_by_text("remembered by")).to_be_visible()
    opened.get_by_role("button", name="Register", exact=True).click()
    expect(opened.locator("p.news")).to_contain_text("after you registered")
    assert [int(row.get_attribute("data-id") or 0) for row in rows.all()] == shown
    page.keyboard.press("Escape")

    # The list is another one now, and tells so.
    expect(page.locator(f'#for-you [data-id="{shown[1]}"]')).to_have_count(0)
    expect(news).to_contain_text("after you registered")
    expect(news).to_contain_text("1 gone")
    expect(page.locator("#you").get_by_role("button", name="Unregister")).to_be_visible()
    assert acts("click") == acts("view") == [(shown[1], request_id, 1, "cache")]
    [(renewed_at,)] = demo.ask(
        "SELECT max(generated_at) FROM user_recommendations WHERE user_id = %s", ana
    )
    assert renewed_at > generated_at
    assert demo.ask("SELECT event_id FROM registrations WHERE user_id = %s", ana) == [(shown[1],)]

    # What she searches for is told too; and the page is as wide as a telephone where that is all.
    page.set_viewport_size(NARROW)
    assert not overflows(page)
    page.get_by_role("button", name="You", exact=True).click()
    expect(page.locator("#you")).to_be_visible()
    assert not overflows(page)
    _search(demo, page)
    wait_for(
        lambda: (
            demo.ask(
                "SELECT meta ->> 'query' FROM event_interactions"
                " WHERE user_id = %s AND interaction_type = 'search'",
                ana,
            )
            == [("a",)]
        )
    )


def _search(demo: Platform, page: Page) -> None:
    """Search all events, which have no seat left by now, and ask for more of what is found."""
    demo.ask("UPDATE events SET max_seats = 0 RETURNING id")
    page.get_by_role("button", name="All events").click()
    page.get_by_label("Search events").fill("a")
    page.get_by_role("button", name="Search").click()
    when = page.locator("#all .event").first.get_by_role("paragraph").first
    expect(when).to_have_text(re.compile(r"(today|tomorrow|days)\s· No seat left"))
    assert not overflows(page)
    page.locator("#all").get_by_role("button", name="Show").click()
    title = page.locator("#all .event").nth(20).get_by_role("heading").get_by_role("button")
    expect(title).to_be_focused()


def test_where_the_heuristic_answers_for_good_no_worker_is_missed(
    database: str, page: Page
) -> None:
    expect.set_options(timeout=TIMEOUT)
    with serving(database, ENVIRONMENT="development", RECOMMENDATIONS_USE_ML_CACHE="false") as site:
        site.run("eventlink", "simulate", "--users", "300", "--events", "150", "--days", "30")
        site.serve()
        page.clock.install()
        token = site.run("eventlink", "token", "17").strip()
        page.goto(f"{site.apis[0].base_url}#token={token}")
        page.locator("#for-you .event").first.get_by_role("button", name="Remember").click()
        news = page.locator("#for-you .news")
        expect(news).to_contain_text("Ranking anew")
        page.clock.fast_forward(16_000)
        expect(news).to_contain_text("Put together by the heuristic")


def test_an_administrator_goes_on_to_their_own_page_and_nobody_else_is_shown_the_way(
    demo: Platform, page: Page
) -> None:
    expect.set_options(timeout=TIMEOUT)
    demo.run("eventlink", "create-admin", "root@example.org", text="correct horse battery\n")
    link = page.get_by_role("link", name="Administration")
    for who in ("17", "root@example.org"):
        page.goto(f"{demo.apis[0].base_url}#token={demo.run('eventlink', 'token', who).strip()}")
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        expect(link).to_have_count(int("@" in who))
        if "@" not in who:
            page.get_by_role("button", name="Sign out").click()
    link.click()
    expect(page.get_by_role("region", name="State")).to_be_visible()
