"""Status: what an administrator wants to know at a glance, and what monitoring asks for.

What does not live here: what recommendations lead to (``services.personalization``).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from eventlink.config import Settings, settings
from eventlink.db.jobs import RECOMPUTE, Job, list_jobs
from eventlink.db.models import active_model
from eventlink.db.serving import Serving, generation_meta, serving
from eventlink.db.status import (
    Cache,
    Coverage,
    Marks,
    cache_figures,
    coverage,
    refresh_marks,
    wanted_migration,
)
from eventlink.errors import MigrationsMissingError
from eventlink.services.jobs import QueueStatus, queue_status

SHOWN_SETTINGS = (
    "environment",
    "allowed_origins",
    "task_queue_",
    "interactions_",
    "recommendations_",
    "recompute_",
    "rank_",
    "worker_",
)
"""Beginnings of their names. The others are addresses and secrets, or say nothing of serving."""


@dataclass(frozen=True)
class ActiveModel:
    """The model that refreshes and recomputes use."""

    model_version: str
    kind: str | None
    trained_at: str | None
    metrics: dict[str, Any] | None
    gate: dict[str, Any] | None
    guardrail: dict[str, Any] | None
    meta: dict[str, Any]
    """All that was stored with it."""


@dataclass(frozen=True)
class CacheStatus(Cache, Coverage):
    """The stored rankings, and who would be served one."""

    generation: int | None
    made_by: str | None
    """The model's version; the active one unless a recompute is still to come."""
    previous_generation: int | None
    previous_made_by: str | None
    age_seconds: float | None
    fresh: bool
    coverage: float | None
    """Share of active students who have a list."""
    fresh_share: float | None
    """Share of active students whose list is fresh; the others are served the heuristic."""


@dataclass(frozen=True)
class RecommenderStatus:
    """How the recommender does."""

    at: datetime
    settings: dict[str, Any]
    model: ActiveModel | None
    """None before the first recompute: then the heuristic serves."""
    cache: CacheStatus
    refreshes: Marks
    jobs: QueueStatus
    last_recompute: Job | None
    seats: dict[str, Any] | None
    """What the recompute that made the serving lists found of scarce seats, where it looked."""


def status(conn: Connection, now: datetime) -> RecommenderStatus:
    """Describe how the recommender does.

    Args:
        conn: Inside a transaction.
        now: When.
    """
    stored = active_model(conn)
    model = None
    if stored is not None:
        model = ActiveModel(
            model_version=stored.model_version,
            kind=stored.weights.get("kind"),
            trained_at=stored.meta.get("trained_at"),
            metrics=stored.meta.get("metrics"),
            gate=stored.meta.get("gate"),
            guardrail=stored.meta.get("guardrail"),
            meta=stored.meta,
        )
    return RecommenderStatus(
        at=now,
        settings=_shown(settings()),
        model=model,
        cache=_cache(conn, serving(conn), now),
        refreshes=refresh_marks(conn),
        jobs=queue_status(conn),
        last_recompute=next(iter(list_jobs(conn, 1, type_=RECOMPUTE)), None),
        seats=generation_meta(conn).get("seats"),
    )


def _shown(values: Settings) -> dict[str, Any]:
    return {
        name: value
        for name, value in values.model_dump(mode="json").items()
        if name.startswith(SHOWN_SETTINGS)
    }


def _cache(conn: Connection, served: Serving, now: datetime) -> CacheStatus:
    figures = cache_figures(conn)
    most = timedelta(seconds=settings().recommendations_cache_max_age_seconds)
    counted = coverage(conn, served.generation, figures.generated_at, now - most)
    age = None if figures.generated_at is None else now - figures.generated_at
    students = counted.active_students
    return CacheStatus(
        **vars(figures),
        **vars(counted),
        generation=served.generation,
        made_by=served.made_by,
        previous_generation=served.previous_generation,
        previous_made_by=served.previous_made_by,
        age_seconds=None if age is None else age.total_seconds(),
        fresh=age is not None and age < most,
        coverage=counted.with_list / students if students else None,
        fresh_share=counted.with_fresh_list / students if students else None,
    )


@dataclass(frozen=True)
class Gauges:
    """What monitoring asks for every few seconds; cheap at any size."""

    model_version: str | None
    cache: Cache
    marks: Marks
    queue: QueueStatus


def gauges(conn: Connection) -> Gauges:
    """Return the figures that monitoring asks for."""
    return Gauges(
        serving(conn).model_version, cache_figures(conn), refresh_marks(conn), queue_status(conn)
    )


def require_migration(found: str | None) -> None:
    """Check that a database can be served from.

    A later migration than this version's is right too: while a new version is rolled out the old
    one goes on serving, for migrations only add.

    Args:
        found: Where the database is, None if nowhere.

    Raises:
        MigrationsMissingError: It is at an earlier migration, or at one that is not ours.
    """
    wanted = wanted_migration()
    if found is None or (found != wanted and not _number(found) > _number(wanted)):
        raise MigrationsMissingError(
            f"the database is at migration {found or 'none'}, this version needs {wanted};"
            " run: eventlink migrate"
        )


def _number(migration: str) -> int:
    """Return what a migration's name begins with, -1 if it is not a number."""
    first = migration.partition("_")[0]
    return int(first) if first.isdecimal() else -1
