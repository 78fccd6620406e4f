"""The ladder of models, and the one contract they all keep (``models.contract``)."""

from typing import Any

import numpy as np

from eventlink.errors import ModelMismatchError
from eventlink.recsys.examples import Examples
from eventlink.recsys.models.calibrated import Calibrated, Calibration
from eventlink.recsys.models.contract import Model, Rung
from eventlink.recsys.models.heuristic import HeuristicModel
from eventlink.recsys.models.linear import ConditionalLogit
from eventlink.recsys.models.pooling import Pooled, share_of_prior
from eventlink.recsys.models.prior import PriorModel
from eventlink.recsys.models.trees import LinearWithTrees
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import Report, silent

__all__ = [
    "KINDS",
    "Calibrated",
    "Calibration",
    "ConditionalLogit",
    "HeuristicModel",
    "LinearWithTrees",
    "Model",
    "Pooled",
    "PriorModel",
    "fit_model",
    "model_from_json",
]

KINDS: dict[str, type[Rung]] = {
    HeuristicModel.kind: HeuristicModel,
    PriorModel.kind: PriorModel,
    ConditionalLogit.kind: ConditionalLogit,
    LinearWithTrees.kind: LinearWithTrees,
}
"""The rungs of the ladder, by the name they are asked for and stored under."""


def model_from_json(feature_names: list[str], weights: dict[str, Any]) -> Model:
    """Make a model of its stored form.

    Args:
        feature_names: The features it was fitted on.
        weights: What its ``to_json`` gave.

    Raises:
        ModelMismatchError: No model of this version has that kind.
    """
    # A pool goes by the kind of its own model.
    kind: type[Rung | Pooled] | None = KINDS.get(weights.get("kind", ""))
    kind = Pooled if "own" in weights else kind
    if kind is None:
        raise ModelMismatchError(
            f"the stored model is of kind {weights.get('kind')!r}, this version knows"
            f" {', '.join(KINDS)}; train again, without --skip-training"
        )
    model = kind.from_json(tuple(feature_names), weights)
    learned = weights.get("calibration")
    return Calibrated(model, Calibration(**learned)) if learned else model


LEAST_POSITIVES = 100
"""With fewer registrations to learn from, the prior ranks alone (``docs/quality.md``)."""
LEAST_FOR_TREES = 1000
"""With fewer, trees add more noise than they find, and only the prior's are used."""


def fit_model(
    examples: Examples,
    options: TrainOptions,
    rng: np.random.Generator,
    report: Report = silent,
) -> Model:
    """Fit a rung of the ladder.

    Args:
        examples: Perhaps few, perhaps none.
        options: Of the training. Where ``model`` is ``auto``, it is the highest rung that the
            examples carry. Without a positive and a negative there is nothing to fit: what would
            have to be fitted is then the prior.
        rng: Source of all draws.
        report: Told of the progress.

    Returns:
        The model; what was learned is pooled with the prior, as far as that is worth something.
    """
    rung = options.model
    if rung != HeuristicModel.kind and not 0 < examples.n_positives < len(examples):
        rung = PriorModel.kind
    elif rung == "auto":
        rung = _highest_rung(examples.n_positives)
    own = KINDS[rung]().fit(examples, options, rng, report)
    if rung not in (ConditionalLogit.kind, LinearWithTrees.kind):
        return own
    # Who asks for a linear model wants one: it takes half the time.
    prior = PriorModel().linear_ if options.model == ConditionalLogit.kind else PriorModel()
    share = share_of_prior(KINDS[rung], prior, examples, options, rng)
    return Pooled(own, prior, share) if share else own


def _highest_rung(n_positives: int) -> str:
    if n_positives < LEAST_POSITIVES:
        return PriorModel.kind
    return LinearWithTrees.kind if n_positives >= LEAST_FOR_TREES else ConditionalLogit.kind
