"""The answer to who only knows the address: what runs here, and where it is described.

On a developer's machine a browser gets a site to try instead: what people would see.

What does not live here: whether it runs well (``web.health``), other pages (``web.pages``).
"""

from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from eventlink.config import settings
from eventlink.web.pages import page

VERSION = version("eventlink")

router = APIRouter(tags=["health"])


class Root(BaseModel):
    """What runs here."""

    name: Literal["Event Link"] = "Event Link"
    version: str = VERSION
    docs: str
    """Path of the description to read."""
    openapi: str
    """Path of the description for machines."""


@router.get("/", response_model=Root)
async def root(request: Request) -> Root | Response:
    """Tell what runs here and where it is described."""
    if settings().environment == "development" and _wants_a_page(request):
        return await page("foryou.html", request)
    # Behind a proxy that takes a prefix off, uvicorn's --root-path puts it back.
    prefix = request.scope.get("root_path", "").rstrip("/")
    return Root(docs=f"{prefix}/docs", openapi=f"{prefix}/openapi.json")


def _wants_a_page(request: Request) -> bool:
    """Tell browsers from programs: only the former name HTML among what they accept."""
    return "text/html" in request.headers.get("accept", "")
