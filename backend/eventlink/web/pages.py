"""Pages for people, and the script that tracks what they do.

What does not live here: anything that pages show. They ask ``web.api`` for it, as every client
does, with a token of their own; so they may be sent to whoever asks.
"""

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

HEADERS = {
    # Scripts, styles and answers of this server alone, and in nobody else's frame.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Kept, but asked for again: a page and its scripts are of one version.
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)
# The second has Swagger UI, which the page of /docs shows the API with.
files = StaticFiles(packages=[("eventlink.web", "static"), ("fastapi_offline", "static")])


@router.get("/admin")
async def admin(request: Request) -> Response:
    """Send the administrators' page."""
    return await page("admin.html", request)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Send the page that describes the API and lets one try it."""
    answer = await page("docs.html", request)
    # Swagger UI's style sheet carries its icons within itself.
    answer.headers["Content-Security-Policy"] += "; img-src 'self' data:"
    return answer


@router.get("/tracker.js")
async def tracker(request: Request) -> Response:
    """Send the script that a platform's own pages track impressions and clicks with."""
    return await page("tracker.js", request)


@router.get("/static/{name}")
async def static(name: str, request: Request) -> Response:
    """Send what pages are made of."""
    return await page(name, request)


async def page(name: str, request: Request) -> Response:
    """Send a file of ours; nothing where the browser has it already (304).

    Raises:
        HTTPException: There is none of that name (404).
    """
    answer = await files.get_response(name, request.scope)
    answer.headers.update(HEADERS)
    return answer
