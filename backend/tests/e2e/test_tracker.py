"""The tracker in a browser, on a page of a platform's own: what it sends, and when."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from e2e.conftest import Platform, serving, wait_for
from playwright.sync_api import Page, Route

SHOP = """<!doctype html>
<style>article {{ height: 300px; margin: 0 0 900px }}</style>
<main>{cards}</main>
<script type="module">
  import {{ Tracker }} from "{tracker}";
  window.refused = [];
  window.tracker = new Tracker({{ token: () => window.token ?? null, refused: (one) => refused.push(one) }});
  tracker.observe(document.querySelector("main"));
</script>"""
EVENT = """<!doctype html>
<h1>An event</h1>
<script type="module">
  import {{ Tracker }} from "{tracker}";
  window.tracker = new Tracker();
  tracker.page({event});
</script>"""
CARD = """<article data-event-id="{event}" data-request-id="{request_id}" data-position="{place}">
  <a href="#event-{event}">event {event}</a> <button>Not for me</button>
</article>"""
ANSWERED = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Retry-After",
}


@pytest.fixture(scope="module")
def town(shared_database: str) -> Iterator[Platform]:
    """A server of a small city, which pages of another site may ask."""
    allowed = "http://localhost:1, http://localhost:2"
    with serving(shared_database, ALLOWED_ORIGINS=allowed) as platform:
        platform.run("eventlink", "simulate", "--users", "60", "--events", "40", "--days", "20")
        platform.serve()
        yield platform


@pytest.fixture
def api(town: Platform) -> Platform:
    """The server, which has heard of nothing yet."""
    town.ask("DELETE FROM event_interactions RETURNING id")
    return town


@pytest.fixture
def shop(api: Platform, page: Page) -> Callable[..., list[int]]:
    """Open a page with the first events of somebody's list; returns their ids."""

    def opened(origin: str = "http://localhost:1") -> list[int]:
        headers = {"Authorization": f"Bearer {api.run('eventlink', 'token', '17').strip()}"}
        shown = api.apis[0].get("/api/recommendations?limit=3", headers=headers).json()
        events = [item["event"]["id"] for item in shown["items"]]
        cards = [
            CARD.format(event=event, request_id=shown["request_id"], place=place)
            for place, event in enumerate(events)
        ]
        tracker = api.apis[0].base_url.join("/tracker.js")
        body = SHOP.format(cards="".join(cards), tracker=tracker)

        def fulfil(route: Route) -> None:
            route.fulfill(body=body, content_type="text/html")

        page.route(f"{origin}/**", fulfil)
        page.goto(f"{origin}/events")
        return events

    return opened


def until(page: Page, holds: Callable[[], Any]) -> None:
    """Wait, and let the browser go on meanwhile."""
    wait_for(holds, pause=lambda: page.wait_for_timeout(50))


def acts(api: Platform) -> list[tuple[Any, ...]]:
    """What is stored: type, event, place and user, and whether a list of ours is known."""
    return api.ask(
        "SELECT interaction_type, event_id, position, user_id, source IS NOT NULL"
        " FROM event_interactions ORDER BY interaction_type, id"
    )


def shown(page: Page, place: int) -> None:
    """Scroll to an event, and wait until everybody who watches knows."""
    page.evaluate(
        """(place) => new Promise((done) => {
             const one = document.querySelectorAll("article")[place];
             one.scrollIntoView();
             new IntersectionObserver((_, watching) => { watching.disconnect(); done(); }).observe(one);
           })""",
        place,
    )


def test_what_was_seen_for_a_second_counts_and_counts_once(
    api: Platform, shop: Callable[..., list[int]], page: Page
) -> None:
    page.clock.install()
    _, second, _ = shop()
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 5)
    page.evaluate("tracker.flush()")
    api.ask("DELETE FROM event_interactions RETURNING id")
    shown(page, 2)
    page.clock.run_for(900)
    shown(page, 1)
    page.clock.run_for(900)
    page.evaluate("tracker.flush()")
    assert acts(api) == []  # both were passed by
    page.clock.run_for(200)
    page.evaluate("tracker.flush()")
    assert acts(api) == [("impression", second, 1, 17, True)]
    for place in (0, 1, 0, 1):
        shown(page, place)
        page.clock.run_for(1100)
    page.evaluate("tracker.flush()")
    assert acts(api) == [("impression", second, 1, 17, True)]


def test_a_link_is_a_click_and_another_button_is_none(
    api: Platform, shop: Callable[..., list[int]], page: Page
) -> None:
    first, *_ = shop()
    page.get_by_role("button", name="Not for me").first.click()
    page.get_by_role("link", name=f"event {first}").click()
    page.evaluate("tracker.flush()")
    until(page, lambda: acts(api))
    # Who clicks has seen it, however soon.
    assert acts(api) == [("click", first, 0, 17, True), ("impression", first, 0, 17, True)]


def test_how_long_a_page_was_read_is_sent_as_it_is_left(
    api: Platform, shop: Callable[..., list[int]], page: Page
) -> None:
    first, *_ = shop()
    page.get_by_role("link", name=f"event {first}").click()
    page.evaluate(f"void tracker.page({first})")
    page.wait_for_timeout(1500)
    page.goto("about:blank")
    until(page, lambda: {"click", "dwell", "view"} <= {act[0] for act in acts(api)})
    # The list is remembered from the click, in this tab.
    assert ("view", first, 0, 17, True) in acts(api)
    ((seconds,),) = api.ask(
        "SELECT dwell_seconds FROM event_interactions WHERE interaction_type = 'dwell'"
    )
    assert 1 <= seconds < 30


def test_an_event_and_back_to_the_list_count_once_and_lose_nothing(
    api: Platform, shop: Callable[..., list[int]], page: Page
) -> None:
    page.add_init_script("addEventListener('pageshow', (shown) => (window.kept = shown.persisted))")
    first, second, _ = shop()
    tracker = api.apis[0].base_url.join("/tracker.js")
    body = EVENT.format(tracker=tracker, event=first)
    page.route("**/event", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.evaluate("document.querySelector('a').href = '/event'")
    clicked = [("click", first, 0, 17, True)]
    seen = [("impression", first, 0, 17, True)]
    view = [("view", first, 0, 17, True)]

    def read() -> None:
        page.wait_for_timeout(1200)  # the shortest that counts is a second

    page.get_by_role("link", name=f"event {first}").click()
    page.get_by_role("heading", name="An event").wait_for()
    read()
    page.go_back(wait_until="commit")  # what is kept is not loaded
    until(page, lambda: page.evaluate("window.kept"))
    dwell = [("dwell", first, 0, 17, True)]
    until(page, lambda: acts(api) == clicked + dwell + seen + view)
    shown(page, 1)
    seen.append(("impression", second, 1, 17, True))
    until(page, lambda: acts(api) == clicked + dwell + seen + view)
    page.go_forward(wait_until="commit")
    until(page, lambda: page.evaluate("window.kept && document.querySelector('h1') !== null"))
    read()
    page.go_back(wait_until="commit")
    dwell *= 2  # read twice, each time as long as it was
    until(page, lambda: acts(api) == clicked + dwell + seen + view)
    page.wait_for_timeout(2500)  # longer than what is seen together waits
    assert acts(api) == clicked + dwell + seen + view


def test_what_could_not_be_sent_is_sent_again_and_counts_once(
    api: Platform, shop: Callable[..., list[int]], page: Page
) -> None:
    tries: list[int] = []

    def flaky(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        tries.append(len(tries))
        if len(tries) == 1:
            route.abort()
        elif len(tries) == 2:
            route.fetch()  # the server has it, and its answer is lost
            route.abort()
        else:
            route.continue_()

    page.route("**/api/analytics/interactions", flaky)
    (first, *_) = shop()
    until(page, lambda: len(tries) >= 3)
    until(page, lambda: acts(api))
    page.evaluate("tracker.flush()")
    assert acts(api) == [("impression", first, 0, 17, True)]


def test_while_the_server_is_away_it_is_asked_as_seldom_as_it_says(
    shop: Callable[..., list[int]], page: Page
) -> None:
    tries: list[int] = []

    def refuse(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        tries.append(len(tries))
        route.fulfill(status=503, headers=ANSWERED | {"Retry-After": "30"})

    page.route("**/api/analytics/interactions", refuse)
    page.clock.install()
    shop()
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 10)
    search = "void tracker.record({ type: 'search', meta: { query: 'jazz' } })"
    page.evaluate(search)
    until(page, lambda: tries)
    page.wait_for_timeout(500)
    for _ in range(20):
        page.evaluate(search)
        page.clock.run_for(1000)
        page.wait_for_timeout(20)
    assert len(tries) == 1
    page.clock.run_for(20_000)
    until(page, lambda: len(tries) > 1)
    assert len(tries) == 2


def test_a_page_whose_beacons_are_refused_lives_on_and_loses_nothing(
    api: Platform, shop: Callable[..., list[int]], page: Page
) -> None:
    first, *_ = shop()
    page.evaluate("navigator.sendBeacon = () => false")
    page.get_by_role("link", name=f"event {first}").click()
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    until(page, lambda: len(acts(api)) == 2)
    assert {act[0] for act in acts(api)} == {"impression", "click"}


def test_an_element_that_is_given_another_event_is_seen_anew(
    api: Platform, shop: Callable[..., list[int]], page: Page
) -> None:
    first, second, _ = shop()
    until(page, lambda: len(acts(api)) == 1)
    page.evaluate(f"document.querySelector('article').dataset.eventId = {second}")
    until(page, lambda: len(acts(api)) == 2)
    assert [act[1] for act in acts(api)] == [first, second]


def test_what_the_server_does_not_take_is_told_to_the_page(
    shop: Callable[..., list[int]], page: Page
) -> None:
    shop()
    page.evaluate("tracker.record({ type: 'view', event_id: 123456789 })")
    page.evaluate("tracker.flush()")
    assert page.evaluate("refused.map((one) => one.code)") == ["unknown_event"]


def test_an_expired_token_loses_nothing_that_a_list_led_to(
    api: Platform, shop: Callable[..., list[int]], page: Page
) -> None:
    (first, *_) = shop()
    page.evaluate("window.token = 'no token at all'")
    until(page, lambda: acts(api))
    assert acts(api) == [("impression", first, 0, 17, True)]


def test_a_page_of_a_site_that_is_not_named_gets_nothing(
    shop: Callable[..., list[int]], page: Page, failures: list[str]
) -> None:
    with page.expect_console_message(lambda said: "No 'Access-Control" in said.text):
        shop("http://localhost:3")
    assert page.evaluate("window.tracker === undefined")
    failures.clear()
