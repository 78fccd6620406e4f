"""The ladder of models, and the one contract they all keep (``models.contract``)."""

from typing import Any

import numpy as np

from eventlink.errors import ModelMismatchError
from eventlink.recsys.examples import Examples
from eventlink.recsys.models.contract import Model
from eventlink.recsys.models.linear import ConditionalLogit
from eventlink.recsys.models.prior import PriorModel
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import Report, silent

__all__ = ["KINDS", "ConditionalLogit", "Model", "PriorModel", "fit_model", "model_from_json"]

KINDS: dict[str, type[Model]] = {model.kind: model for model in (PriorModel, ConditionalLogit)}
"""Every model that can be stored, by the name it is stored under."""


def model_from_json(feature_names: list[str], weights: dict[str, Any]) -> Model:
    """Make a model of its stored form.

    Args:
        feature_names: The features it was fitted on.
        weights: What its ``to_json`` gave.

    Raises:
        ModelMismatchError: No model of this version has that kind.
    """
    kind = KINDS.get(weights.get("kind", ""))
    if kind is None:
        raise ModelMismatchError(
            f"the stored model is of kind {weights.get('kind')!r}, this version knows"
            f" {', '.join(KINDS)}; train again, without --skip-training"
        )
    return kind.from_json(tuple(feature_names), weights)


LEAST_POSITIVES = 100
"""With fewer registrations to learn from, the prior weights are the safer choice."""


def fit_model(
    examples: Examples, options: TrainOptions, rng: np.random.Generator, report: Report = silent
) -> Model:
    """Fit the highest rung of the ladder that the examples carry.

    Args:
        examples: Perhaps few, perhaps none.
        options: Of the training.
        rng: Source of the order of the examples.
        report: Told of the progress.
    """
    n_negatives = len(examples) - examples.n_positives
    enough = examples.n_positives >= LEAST_POSITIVES and n_negatives > 0
    model: Model = ConditionalLogit() if enough else PriorModel()
    return model.fit(examples, options, rng, report)
