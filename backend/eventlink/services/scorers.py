"""Scorers: a model and its forecast, how they are named and stored, and restored.

What does not live here: training (``services.training``), and which stored model serves
(``services.models``).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from lightgbm.basic import LightGBMError
from sqlalchemy import Connection

from eventlink.config import revision
from eventlink.db.models import StoredModel, is_version_taken
from eventlink.errors import ModelMismatchError
from eventlink.recsys.features import NAMES, Forecast, forecast
from eventlink.recsys.models import Model, PriorModel, model_from_json
from eventlink.recsys.models.contract import require_features

DAMAGE = (
    AttributeError,
    IndexError,
    KeyError,
    LightGBMError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What reading a model may raise where somebody has written something else."""


@dataclass(frozen=True)
class Scorer:
    """What scores: a model, and the demand forecast that its features read."""

    model: Model
    forecast: Forecast
    version: str | None = None
    """None if it is not stored yet."""

    def to_json(self) -> dict[str, Any]:
        """Return the weights that ``stored_scorer`` restores it from."""
        return {**self.model.to_json(), "forecast": self.forecast.to_json()}

    def stored_as(self, version: str, meta: dict[str, Any]) -> StoredModel:
        """Return what is stored of it: ``stored_scorer`` restores it.

        Args:
            version: Its name.
            meta: What is known of it; the code's revision is added.
        """
        names = list(self.model.feature_names_)
        return StoredModel(version, names, self.to_json(), {**meta, "revision": revision()})


def new_version(
    conn: Connection, scorer: Scorer, now: datetime, chosen: Collection[str] = ()
) -> str:
    """Name a model by kind and date; a second one of the same second gets a number.

    Args:
        conn: Outside of a transaction.
        scorer: The model.
        now: When it is made.
        chosen: Names that are taken too, though not stored yet.
    """
    name = f"{scorer.model.kind}-{now.astimezone(UTC):%Y%m%dT%H%M%S}"
    with conn.begin():
        candidate, number = name, 2
        while candidate in chosen or is_version_taken(conn, candidate):
            candidate, number = f"{name}-{number}", number + 1
    return candidate


def stored_scorer(stored: StoredModel | None) -> Scorer:
    """Restore a scorer, or take the prior of a site that has none.

    Raises:
        ModelMismatchError: It was made for other features, or is damaged.
    """
    if stored is None:
        return Scorer(PriorModel(), forecast.prior())
    try:
        model = model_from_json(stored.feature_names, stored.weights)
        require_features(model, NAMES)
        expected = Forecast.from_json(stored.weights.get("forecast", []))
        margin = model.margin(np.zeros((1, len(NAMES)), np.float32))
    except ModelMismatchError:
        raise
    except DAMAGE as error:
        raise _damaged(stored, f"{type(error).__name__}: {error}") from error
    if not np.isfinite(margin).all():
        raise _damaged(stored, "its scores are not numbers")
    return Scorer(model, expected, stored.model_version)


def _damaged(stored: StoredModel, how: str) -> ModelMismatchError:
    return ModelMismatchError(
        f"the stored model {stored.model_version} is damaged ({how}); activate another one, or"
        " train again, without --skip-training"
    )


def learned_here(stored: StoredModel) -> bool:
    """Whether a stored model has learned from this site, and is not the prior."""
    return "positives" in stored.meta
