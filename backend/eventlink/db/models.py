"""Stored models: one row a version, at most one active.

What does not live here: what a model is (``recsys.models``).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from eventlink.db.session import driver
from eventlink.db.tables import RecommenderModel
from eventlink.errors import ModelVersionTakenError


@dataclass(frozen=True)
class StoredModel:
    """A row of ``recommender_models``."""

    model_version: str
    feature_names: list[str]
    weights: dict[str, Any]
    meta: dict[str, Any]


@dataclass(frozen=True)
class ModelRow:
    """A row of ``recommender_models`` without its weights, which may be megabytes."""

    model_version: str
    kind: str | None
    is_active: bool
    created_at: datetime
    meta: dict[str, Any]


STORED = select(
    RecommenderModel.model_version,
    RecommenderModel.feature_names,
    RecommenderModel.weights,
    RecommenderModel.meta,
)

HOLD = """
SELECT id FROM recommender_models WHERE model_version = %s AND is_active FOR SHARE
"""


def active_model(conn: Connection) -> StoredModel | None:
    """Return the active model, or None if there is none."""
    row = conn.execute(STORED.where(RecommenderModel.is_active)).one_or_none()
    return None if row is None else _stored(*row)


def stored_model(conn: Connection, model_version: str) -> StoredModel | None:
    """Return a model by its version, or None."""
    same = RecommenderModel.model_version == model_version
    row = conn.execute(STORED.where(same)).one_or_none()
    return None if row is None else _stored(*row)


def model_rows(conn: Connection, limit: int) -> list[ModelRow]:
    """Return the active model and then the others, the latest first.

    Args:
        conn: An open connection.
        limit: At most so many.
    """
    return [
        ModelRow(version, kind, is_active, created_at, _object(meta))
        for version, kind, is_active, created_at, meta in conn.execute(
            select(
                RecommenderModel.model_version,
                RecommenderModel.weights["kind"].astext,
                RecommenderModel.is_active,
                RecommenderModel.created_at,
                RecommenderModel.meta,
            )
            .order_by(RecommenderModel.is_active.desc(), RecommenderModel.id.desc())
            .limit(limit)
        )
    ]


def lock_models(conn: Connection) -> None:
    """Let nobody else change which model is active until the transaction ends; reading goes on.

    To be taken before any other lock of the transaction, as everybody does.

    Args:
        conn: Inside a transaction.
    """
    conn.execute(text("LOCK TABLE recommender_models IN SHARE ROW EXCLUSIVE MODE"))


def hold_active(conn: Connection, model_version: str) -> bool:
    """Tell whether a model is the active one, and keep it so until the transaction ends.

    For whoever publishes with a model held in memory: it may have been taken back meanwhile.

    Args:
        conn: Inside a transaction; it may be ``pipelined``.
        model_version: The model.
    """
    return driver(conn).execute(HOLD, (model_version,)).fetchone() is not None


def activate_model(conn: Connection, model_version: str, note: dict[str, Any]) -> None:
    """Make a stored model the active one.

    Args:
        conn: Inside a transaction that holds ``lock_models``.
        model_version: Which; it is stored.
        note: Who did it, when and how; added to the list ``meta.activations``.
    """
    active = update(RecommenderModel).where(RecommenderModel.is_active)
    conn.execute(active.values(is_active=False))
    same = RecommenderModel.model_version == model_version
    meta = conn.execute(select(RecommenderModel.meta).where(same)).scalar_one()
    meta = _object(meta)
    meta = {**meta, "activations": [*meta.get("activations", []), note]}
    conn.execute(update(RecommenderModel).where(same).values(is_active=True, meta=meta))


def stored_meta(conn: Connection, model_version: str) -> dict[str, Any]:
    """Return what is told of a model; nothing where it is not stored."""
    same = RecommenderModel.model_version == model_version
    return _object(conn.execute(select(RecommenderModel.meta).where(same)).scalar_one_or_none())


def note_guardrail(conn: Connection, model_version: str, note: dict[str, Any]) -> None:
    """Store what the guardrail found of a model, as ``meta.guardrail``.

    Args:
        conn: Inside a transaction that holds ``lock_models``.
        model_version: Which.
        note: What is known now.
    """
    meta = {**stored_meta(conn, model_version), "guardrail": note}
    same = RecommenderModel.model_version == model_version
    conn.execute(update(RecommenderModel).where(same).values(meta=meta))


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


def _stored(version: str, names: list[str], weights: dict[str, Any], meta: Any) -> StoredModel:
    return StoredModel(version, names, weights, _object(meta))


def _object(meta: Any) -> dict[str, Any]:
    """Read what is no object, which only another hand can have written, as nothing known."""
    return meta if isinstance(meta, dict) else {}


def version_taken(model_version: str) -> ModelVersionTakenError:
    """Make the error of a version that is stored already."""
    return ModelVersionTakenError(
        f"a model of version {model_version} is stored already; give another --model-version"
    )
