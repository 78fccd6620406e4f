"""The application: the only place that wires everything. ``eventlink serve`` runs it.

What does not live here: any route.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from eventlink.config import settings
from eventlink.db.session import libpq_url
from eventlink.services.tokens import require_strong_secret
from eventlink.web import errors, health
from eventlink.web.api import (
    admin,
    auth,
    events,
    interactions,
    profile,
    recommendations,
    registrations,
)

POOL_SIZE = 8
"""Connections a process for the two asynchronous routes; more than cores help nobody."""


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
    try:
        yield
    finally:
        await pool.close()


def create_app() -> FastAPI:
    """Build the application.

    Raises:
        WeakSecretError: ``SECRET_KEY`` may not sign in production.
    """
    if settings().environment == "production":
        require_strong_secret(settings().secret_key)
    app = FastAPI(
        title="Event Link",
        description="The event recommender that lives in the Postgres you already have.",
        lifespan=lifespan,
    )
    errors.install(app)
    app.include_router(health.router)
    for nouns in (
        auth,
        profile,
        events,
        registrations,
        recommendations,
        interactions,
        admin,
    ):
        app.include_router(nouns.router, prefix="/api")
    return app
