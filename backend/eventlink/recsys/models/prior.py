"""The prior: a model learned elsewhere, which ranks alone until a site has learned.

What does not live here: how it was fitted (``benchmarks/prior.py``), and how it is pooled with a
site's own model afterwards (``models.pooling``).
"""

from copy import copy
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from eventlink.errors import ModelMismatchError
from eventlink.recsys import elsewhere
from eventlink.recsys.examples import Examples
from eventlink.recsys.models.trees import LinearWithTrees
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import Report, silent


class PriorModel(LinearWithTrees):
    """A linear model and trees that come with the program; it needs no example."""

    kind: ClassVar[str] = "prior"

    def __init__(self) -> None:
        learned = _learned(elsewhere.FILE)
        self.feature_names_ = learned.feature_names_
        self.linear_ = copy(learned.linear_)
        self.booster_ = learned.booster_
        self.slope_, self.intercept_ = learned.slope_, learned.intercept_

    def fit(
        self,
        examples: Examples,
        options: TrainOptions,
        rng: np.random.Generator,
        report: Report = silent,
    ) -> Self:
        """Return the model as it is: it learns nothing."""
        del examples, options, rng, report
        return self

    @classmethod
    def from_json(cls, feature_names: tuple[str, ...], weights: dict[str, Any]) -> Self:
        """Make the model of its stored form.

        Raises:
            ModelMismatchError: It is an older version's, which was weights set by hand.
        """
        if "linear" not in weights:
            raise ModelMismatchError(
                "the stored prior is an older version's; train again, without --skip-training"
            )
        return super().from_json(feature_names, weights)


@cache
def _learned(file: Path) -> LinearWithTrees:
    stored = elsewhere.learned(file)
    return LinearWithTrees.from_json(tuple(stored["feature_names"]), stored)
