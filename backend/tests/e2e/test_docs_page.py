"""The page that describes the API, in a browser that reaches nobody but our server."""

from e2e.conftest import PATIENCE, serving
from playwright.sync_api import Page, Route, expect

PASSWORD = "correct horse battery"  # noqa: S105 (of nobody)


def test_the_api_is_read_and_tried_without_the_internet(database: str, page: Page) -> None:
    expect.set_options(timeout=1000 * PATIENCE)
    with serving(database) as platform:
        api = platform.serve()
        who = {"email": "ana@example.org", "password": PASSWORD}
        token = api.post("/api/auth/register", json=who).json()["access_token"]
        ours = str(api.base_url)
        others: list[str] = []

        def keep_in(route: Route) -> None:
            if route.request.url.startswith((ours, "data:")):
                route.continue_()
            else:
                others.append(route.request.url)
                route.abort()

        page.route("**/*", keep_in)
        page.goto(f"{ours}/docs")
        page.get_by_role("button", name="Authorize").click()
        dialog = page.locator(".auth-container")
        dialog.get_by_role("textbox").fill(token)
        dialog.get_by_role("button", name="Apply credentials").click()
        dialog.get_by_role("button", name="Close").click()
        route = page.locator(".opblock", has_text="/api/recommendations")
        route.locator(".opblock-summary-control").click()
        route.get_by_role("button", name="Try it out").click()
        route.get_by_role("button", name="Execute").click()
        expect(route.locator(".live-responses-table")).to_contain_text('"source": "heuristic"')
        assert others == []
