"""Routes of administrators: what recommendations lead to, how the recommender does, its models.

What does not live here: figures for monitoring (``web.telemetry``).
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, StringConstraints

from eventlink.config import settings
from eventlink.db.jobs import Enqueued, Job
from eventlink.errors import ConflictError
from eventlink.services import jobs, models
from eventlink.services.models import ModelSummary, Switched
from eventlink.services.personalization import (
    MOST_DAYS,
    PersonalizationMetrics,
    Reports,
)
from eventlink.services.status import RecommenderStatus, status
from eventlink.web.errors import answers
from eventlink.web.fields import NO_NUL, Body, Id, IdQuery, Limit
from eventlink.web.requests import Admin, Now, Transaction, require_admin

router = APIRouter(
    prefix="/admin",
    tags=["admin"],
    dependencies=[Depends(require_admin)],
    responses=answers(401, 403, 503),
)

Days = Annotated[int, Query(ge=1, le=MOST_DAYS, description="UTC days, today among them.")]
Version = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)]


class Activation(Body):
    """Which model is to serve."""

    model_version: Version = Field(examples=["trees-20260301T030000"])


class RetrainOrder(Body):
    """What to recompute; what is left out is as for ``eventlink recompute``."""

    top_n: Annotated[
        int | None, Field(strict=True, ge=1, le=1000, description="Null: RECOMMENDATIONS_TOP_N.")
    ] = None
    skip_training: Annotated[bool, Field(strict=True)] = False


@router.get("/personalization/metrics", responses=answers(429))
def metrics(
    request: Request, conn: Transaction, now: Now, days: Days = 30
) -> PersonalizationMetrics:
    """Tell what recommendations led to: clicks and registrations, with 95 % intervals."""
    reports: Reports = request.app.state.reports
    return reports.latest(conn, days, now)


@router.get("/personalization/status")
def show_status(conn: Transaction, now: Now) -> RecommenderStatus:
    """Tell how the recommender does: settings, model, cache, refreshes, jobs, workers."""
    return status(conn, now)


@router.post("/personalization/retrain", status_code=202, responses=answers(400, 409))
def retrain(conn: Transaction, order: RetrainOrder | None = None) -> Enqueued:
    """Queue a recompute, or tell which one is queued or running already."""
    _require_queue()
    wanted = order or RetrainOrder()
    options = jobs.usual_options(**wanted.model_dump(include={"top_n"}, exclude_none=True))
    return jobs.enqueue_retrain(
        conn, jobs.Retrain(options=options, skip_training=wanted.skip_training)
    )


@router.get("/models")
def list_models(conn: Transaction, limit: Limit = 20) -> list[ModelSummary]:
    """List the active model and then the others, the latest first."""
    return models.list_models(conn, limit)


@router.post("/models/activate", responses=answers(400, 404))
def activate_model(activation: Activation, admin: Admin, conn: Transaction, now: Now) -> Switched:
    """Make a stored model serve; unless its rankings are still there, a recompute is queued."""
    return models.activate(conn, activation.model_version, _name(admin.id), now)


@router.post("/models/rollback", responses=answers(400, 404, 409))
def roll_back(admin: Admin, conn: Transaction, now: Now) -> Switched:
    """Serve the last rankings by another model again, and that model, at once."""
    return models.roll_back(conn, _name(admin.id), now)


@router.get("/jobs")
def list_jobs(
    conn: Transaction,
    limit: Limit = 20,
    before: Annotated[IdQuery | None, Query(description="Only jobs with a smaller id.")] = None,
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"] | None = None,
    type: Literal["recompute_recommendations_ml", "refresh_user_recommendations_ml"]  # noqa: A002 (the query's name)
    | None = None,
) -> list[Job]:
    """List jobs with their progress, the newest first."""
    return jobs.list_jobs(conn, limit, before, status, type)


@router.get("/jobs/{job_id}", responses=answers(404))
def show_job(job_id: Id, conn: Transaction) -> Job:
    """Tell of a job: its status, how far it is, why it failed."""
    return jobs.get_job(conn, job_id)


@router.post("/jobs/{job_id}/retry", status_code=202, responses=answers(404, 409))
def retry_job(job_id: Id, conn: Transaction) -> Enqueued:
    """Queue a failed job once more."""
    _require_queue()
    return jobs.retry_job(conn, job_id)


@router.post("/jobs/{job_id}/cancel", status_code=202, responses=answers(404, 409))
def cancel_job(job_id: Id, conn: Transaction) -> Job:
    """Cancel a queued job, or make the worker stop a running one."""
    jobs.cancel_job(conn, job_id)
    return jobs.get_job(conn, job_id)


def _require_queue() -> None:
    if not settings().task_queue_enabled:
        raise ConflictError("the queue is off; set TASK_QUEUE_ENABLED, or run: eventlink recompute")


def _name(admin_id: int) -> str:
    return f"user {admin_id}"
