"""What serves: the active model and the generation that readers are pointed at.

What does not live here: making generations (``db.recommendations``) and models (``db.models``).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.orm import aliased

from eventlink.db.models import lock_models
from eventlink.db.tables import (
    RecommendationGeneration,
    RecommendationOverlay,
    RecommendationServing,
    RecommenderModel,
)
from eventlink.errors import PublishRefusedError


@dataclass(frozen=True)
class Serving:
    """What serves: the active model and the generation, which another model may have made."""

    model_version: str | None
    generation: int | None
    made_by: str | None
    """The version of the model that made the generation."""
    previous_generation: int | None
    previous_made_by: str | None
    previous_at: datetime | None
    """When what the previous generation knows was read."""


def serving(conn: Connection) -> Serving:
    """Return what serves.

    Args:
        conn: Inside a transaction.
    """
    active = select(RecommenderModel.model_version).where(RecommenderModel.is_active)
    version = conn.execute(active).scalar_one_or_none()
    made, before = aliased(RecommendationGeneration), aliased(RecommendationGeneration)
    pointer = conn.execute(
        select(
            RecommendationServing.generation,
            made.model_version,
            RecommendationServing.previous_generation,
            before.model_version,
            before.generated_at,
        )
        .join(made, made.generation == RecommendationServing.generation)
        .outerjoin(before, before.generation == RecommendationServing.previous_generation)
    ).one_or_none()
    return Serving(version, *(pointer or (None,) * 5))


def generation_meta(conn: Connection) -> dict[str, Any]:
    """Return what is told of the serving generation; empty where nothing was ever published.

    Args:
        conn: An open connection.
    """
    made, serving = RecommendationGeneration, RecommendationServing
    found = select(made.meta).join(serving, serving.generation == made.generation)
    return conn.execute(found).scalar_one_or_none() or {}


def served_since(conn: Connection) -> datetime | None:
    """Return when what the serving generation knows was read; None where there is none."""
    made, serving = RecommendationGeneration, RecommendationServing
    found = select(made.generated_at).join(serving, serving.generation == made.generation)
    return conn.execute(found).scalar_one_or_none()


def require_unchanged(conn: Connection, seen: Serving) -> None:
    """Check that what serves is still what it was, and keep it so until the transaction ends.

    A recompute judges its model against the active one and reads for minutes; an administrator who
    takes a model back meanwhile must not be overruled by it.

    Args:
        conn: Inside the publishing transaction, before it locks anything else.
        seen: What served when the recompute began.

    Raises:
        PublishRefusedError: It has changed.
    """
    lock_models(conn)
    now = serving(conn)
    if (now.model_version, now.generation) != (seen.model_version, seen.generation):
        raise PublishRefusedError(
            "another model or generation was made to serve while this recompute ran; nothing was"
            " published; run it again"
        )


def serve_previous(conn: Connection) -> None:
    """Point readers at the previous generation; done twice, nothing is changed.

    Args:
        conn: Inside a transaction that holds ``lock_models``; there is a previous generation.
    """
    conn.execute(
        update(RecommendationServing).values(
            generation=RecommendationServing.previous_generation,
            previous_generation=RecommendationServing.generation,
        )
    )


def forget_refreshed(conn: Connection, model_version: str) -> int:
    """Delete the refreshed rankings of single users that other models made; return how many.

    Args:
        conn: Inside a transaction.
        model_version: The model whose rankings stay.
    """
    others = RecommendationOverlay.model_version != model_version
    return conn.execute(delete(RecommendationOverlay).where(others)).rowcount
