"""The application: the only place that wires everything. ``eventlink serve`` runs it.

What does not live here: any route.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware

from eventlink.config import settings
from eventlink.db.session import libpq_url
from eventlink.services.personalization import Reports
from eventlink.services.tokens import require_strong_secret
from eventlink.web import errors, health, pages, root, telemetry
from eventlink.web.api import (
    admin,
    auth,
    events,
    interactions,
    profile,
    recommendations,
    registrations,
)
from eventlink.web.requests import TURNS

LARGEST_BODY = 1024 * 1024
"""Bytes that a request may carry; more is answered with 413."""
POOL_SIZE = 8
"""Connections a process for the two asynchronous routes; more than cores help nobody."""
NOUNS = (recommendations, interactions, auth, profile, events, registrations, admin)
"""The routes of the API. A request's path is compared with one after the other: the two of every
page first."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold the pool of the asynchronous routes open; they start although the database is down."""
    pool = AsyncConnectionPool(
        libpq_url(),
        min_size=1,
        max_size=POOL_SIZE,
        timeout=5,
        open=False,
        kwargs={"autocommit": True, "application_name": "eventlink web"},
    )
    await pool.open(wait=False)
    app.state.pool = pool
    app.state.turns = asyncio.Semaphore(TURNS)
    app.state.reports = Reports()
    try:
        yield
    finally:
        await pool.close()


def create_app() -> FastAPI:
    """Build the application.

    Raises:
        WeakSecretError: ``SECRET_KEY`` may not sign in production.
    """
    require_strong_secret(settings().secret_key, settings().environment)
    app = FastAPI(
        title="Event Link",
        description="The event recommender that lives in the Postgres you already have.",
        version=root.VERSION,
        lifespan=lifespan,
        openapi_tags=[{"name": noun.router.tags[0]} for noun in NOUNS],  # what is read first
        # FastAPI's pages fetch their viewers from elsewhere; ``web.pages`` has one of our own.
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    # Within telemetry, which knows an answer of 413 from a crash.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=LARGEST_BODY)
    if settings().origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings().origins,
            allow_methods=["*"],
            allow_headers=["Authorization"],
            expose_headers=["Retry-After", "X-Request-ID"],
            max_age=3600,
        )
    telemetry.install(app)
    app.include_router(health.router)
    for noun in NOUNS:
        app.include_router(noun.router, prefix="/api")
    app.include_router(root.router)
    app.include_router(pages.router)
    return app
