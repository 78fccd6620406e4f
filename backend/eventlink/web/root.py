"""The answer to who only knows the address: what runs here, and where it is described.

What does not live here: whether it runs well (``web.health``).
"""

from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

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


@router.get("/")
async def root(request: Request) -> Root:
    """Tell what runs here and where it is described."""
    # Behind a proxy that takes a prefix off, uvicorn's --root-path puts it back.
    prefix = request.scope.get("root_path", "").rstrip("/")
    return Root(docs=f"{prefix}/docs", openapi=f"{prefix}/openapi.json")
