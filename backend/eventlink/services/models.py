"""Models: list them, make another one serve, take the last change back.

What does not live here: training (``services.training``), how a model is restored
(``services.scorers``), and publishing (``services.publishing``).

All of it is one transaction that every recompute and every refresh respects: a recompute that began
before publishes nothing (``db.serving.require_unchanged``), and a refresh by a model that serves no
longer stores nothing (``db.models.hold_active``).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from eventlink.config import settings
from eventlink.db.models import activate_model, lock_models, model_rows, stored_model
from eventlink.db.serving import Serving, forget_refreshed, serve_previous, serving
from eventlink.errors import ConflictError, NotFoundError
from eventlink.services.jobs import Retrain, enqueue_retrain

log = structlog.get_logger()


@dataclass(frozen=True)
class ModelSummary:
    """A stored model and what is known of it."""

    model_version: str
    kind: str | None
    is_active: bool
    created_at: datetime
    trained_at: str | None
    metrics: dict[str, Any] | None
    """By system: the model itself, the one active when it was trained, the baselines."""
    gate: dict[str, Any] | None
    """Whether it was allowed to serve when it was trained, and why."""
    activations: list[dict[str, Any]]
    """Who made it serve by hand, and when."""
    guardrail: dict[str, Any] | None
    """What the guardrail found while it served in an experiment, and decided."""


@dataclass(frozen=True)
class Switched:
    """What serves now."""

    model_version: str
    instead_of: str | None
    rankings_made_by: str | None
    """Another version than the model's until a recompute has published; null before the first."""
    generation: int | None
    refreshed_rankings_deleted: int
    """Rankings of single users by other models, which are served no longer."""
    recompute_job_id: int | None
    """The job that ranks everybody with this model, queued now; or the one that was there before,
    which competes with this model if it trains. Null if none is needed, or ``TASK_QUEUE_ENABLED``
    is off."""
    recompute_wanted: bool
    """Whether the rankings are older than the model's time to serve, or another model's: where no
    job was queued, run ``eventlink recompute --skip-training``."""


def list_models(conn: Connection, limit: int) -> list[ModelSummary]:
    """Return the active model, then the others, the latest first.

    Args:
        conn: Inside a transaction.
        limit: At most so many.
    """
    return [
        ModelSummary(
            model_version=row.model_version,
            kind=row.kind,
            is_active=row.is_active,
            created_at=row.created_at,
            trained_at=row.meta.get("trained_at"),
            metrics=row.meta.get("metrics"),
            gate=row.meta.get("gate"),
            activations=row.meta.get("activations", []),
            guardrail=row.meta.get("guardrail"),
        )
        for row in model_rows(conn, limit)
    ]


def activate(conn: Connection, model_version: str, by: str, now: datetime) -> Switched:
    """Make a stored model the one that refreshes and recomputes use.

    If the previous generation is by this model and not too old, it serves again at once. If not,
    the rankings of everybody stay those of the other model until the recompute that is queued has
    published.

    Args:
        conn: Inside a transaction.
        model_version: Which.
        by: Who does it, for the record.
        now: When.

    Raises:
        NotFoundError: No model of that version is stored.
        ModelMismatchError: It cannot score with this version's features.
    """
    lock_models(conn)
    before = serving(conn)
    previous = model_version == before.previous_made_by and model_version != before.made_by
    if previous and before.previous_at is not None:
        oldest = now - timedelta(seconds=settings().recommendations_cache_max_age_seconds)
        previous = before.previous_at >= oldest
    return _switch(conn, before, model_version, by, now, previous=previous)


def roll_back(conn: Connection, by: str, now: datetime) -> Switched:
    """Take the last change of what serves back; done twice, nothing has changed.

    That is the previous generation together with the model that made it; or, where a model was
    activated that has not ranked everybody yet, the model that did.

    Args:
        conn: Inside a transaction.
        by: Who does it, for the record.
        now: When.

    Raises:
        ConflictError: There is nothing to go back to.
        NotFoundError: The model to go back to is not stored any more.
        ModelMismatchError: It cannot score with this version's features.
    """
    lock_models(conn)
    before = serving(conn)
    if before.made_by is not None and before.made_by != before.model_version:
        return _switch(conn, before, before.made_by, by, now, previous=False)
    if before.previous_made_by is None:
        raise ConflictError(
            "there are no earlier rankings to go back to; activate a model by its version"
        )
    return _switch(conn, before, before.previous_made_by, by, now, previous=True)


def _switch(
    conn: Connection, before: Serving, version: str, by: str, now: datetime, *, previous: bool
) -> Switched:
    from eventlink.services.scorers import stored_scorer  # noqa: PLC0415 (a second of libraries)

    stored = stored_model(conn, version)
    if stored is None:
        raise NotFoundError(f"there is no model of version {version}; list them and choose one")
    stored_scorer(stored)
    note = {"at": now.isoformat(), "by": by, "instead_of": before.model_version}
    activate_model(conn, version, note)
    if previous:
        serve_previous(conn)
    # The active model is changed first: a refresh that stores meanwhile is waited for there.
    deleted = forget_refreshed(conn, version)
    after = serving(conn)
    job_id, wanted = None, previous or after.made_by != version
    if settings().task_queue_enabled and wanted:
        job_id = enqueue_retrain(conn, Retrain(skip_training=True)).job_id
    log.warning("model activated by hand", model_version=version, **note)
    return Switched(
        model_version=version,
        instead_of=before.model_version,
        rankings_made_by=after.made_by,
        generation=after.generation,
        refreshed_rankings_deleted=deleted,
        recompute_job_id=job_id,
        recompute_wanted=wanted,
    )
