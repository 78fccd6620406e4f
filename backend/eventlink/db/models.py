"""Stored models: one row a version, at most one active.

What does not live here: what a model is (``recsys.models``).
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from eventlink.db.tables import RecommenderModel
from eventlink.errors import ModelVersionTakenError


@dataclass(frozen=True)
class StoredModel:
    """A row of ``recommender_models``."""

    model_version: str
    feature_names: list[str]
    weights: dict[str, Any]
    meta: dict[str, Any]


def active_model(conn: Connection) -> StoredModel | None:
    """Return the active model, or None if there is none."""
    row = conn.execute(
        select(
            RecommenderModel.model_version,
            RecommenderModel.feature_names,
            RecommenderModel.weights,
            RecommenderModel.meta,
        ).where(RecommenderModel.is_active)
    ).one_or_none()
    return None if row is None else StoredModel(*row)


def is_version_taken(conn: Connection, model_version: str) -> bool:
    """Tell whether a model of that version is stored."""
    same = RecommenderModel.model_version == model_version
    return conn.execute(select(func.count()).where(same)).scalar_one() > 0


def store_model(conn: Connection, model: StoredModel, *, activate: bool) -> None:
    """Store a model.

    Args:
        conn: Inside a transaction.
        model: What to store.
        activate: Whether it becomes the active one.

    Raises:
        ModelVersionTakenError: Its version is stored already.
    """
    if activate:
        active = update(RecommenderModel).where(RecommenderModel.is_active)
        conn.execute(active.values(is_active=False))
    row = {**vars(model), "is_active": activate}
    try:
        conn.execute(insert(RecommenderModel).values(row))
    except IntegrityError as error:
        raise version_taken(model.model_version) from error


def version_taken(model_version: str) -> ModelVersionTakenError:
    """Make the error of a version that is stored already."""
    return ModelVersionTakenError(
        f"a model of version {model_version} is stored already; give another --model-version"
    )
