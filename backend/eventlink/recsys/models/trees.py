"""The linear ranker with small boosted trees on top, for what a line cannot say."""

from functools import cached_property
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from eventlink.recsys.dataset import Bools, Ints
from eventlink.recsys.examples import Examples
from eventlink.recsys.matrices import Dense
from eventlink.recsys.models.choice import (
    first_rows,
    importance,
    recency,
    shares,
    softmax,
)
from eventlink.recsys.models.contract import ALL, OfEvents
from eventlink.recsys.models.forest import Forest
from eventlink.recsys.models.linear import ConditionalLogit
from eventlink.recsys.models.logistic import calibrate
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import Report, silent

ROUNDS = 150
HARDEST = 30
"""Candidates of a group that the trees learn from: those the linear model ranks first."""
LONGER_MEMORY = 2.0
"""Times as long as in the linear model is an example's half-life. Measured, not derived."""
PARAMETERS = {
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_data_in_leaf": 300,
    "min_sum_hessian_in_leaf": 0.0,
    "lambda_l2": 100.0,
    "feature_fraction": 0.5,
    "max_bin": 63,
    "feature_pre_filter": False,  # which fails where there are too few examples for any split
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
"""Small on purpose: larger or less regularised trees rank new days worse."""


class LinearWithTrees:
    """A ``ConditionalLogit`` whose margins boosted trees correct, under the same softmax loss.

    Boosting by Newton steps (Friedman, 2001; LightGBM: Ke et al., NeurIPS 2017) that starts from
    the linear margins, so the trees only learn what these leave unexplained. They learn it where
    it decides: for every (user, day), on the drawn candidates that the linear model ranks first.
    Since a softmax is independent of irrelevant alternatives, a choice among those is as good an
    example as one among all. A last calibration to the true rates changes no order.
    """

    kind: ClassVar[str] = "trees"
    joint: ClassVar[bool] = True

    feature_names_: tuple[str, ...]
    linear_: ConditionalLogit
    booster_: lgb.Booster
    slope_: float
    intercept_: float

    def fit(
        self,
        examples: Examples,
        options: TrainOptions,
        rng: np.random.Generator,
        report: Report = silent,
    ) -> Self:
        """Learn from examples; the same generator state gives the same model.

        Args:
            examples: At least one group with a positive and a negative.
            options: As for the linear model.
            rng: Source of the order of the examples, and of the features that each tree may use.
            report: Told of the progress.
        """
        self.linear_ = ConditionalLogit().fit(examples, options, rng, report)
        self.feature_names_ = self.linear_.feature_names_
        margin = self.linear_.margin(examples.x)
        biased = margin + np.float32(self.linear_.position_) * examples.position
        weight = importance(examples, LONGER_MEMORY * options.half_life_days)
        self.booster_ = _boost(examples, biased, weight, rng)
        report("fitting", 1.0)
        margin = margin + self._corrections(examples.x)
        recent = recency(examples, options.half_life_days)
        self.slope_, self.intercept_ = calibrate(margin, examples.y, recent * examples.weight)
        return self

    def _corrections(self, x: Dense) -> Dense:
        """Return what the trees add to the linear margins, shape (n,)."""
        return self._forest.sums(x)

    @cached_property
    def _forest(self) -> Forest:
        return Forest(self.booster_)

    def of_events(self, x: Dense) -> OfEvents:
        """Add up what features say that are the same for every user: one sum of shape (n,)."""
        return self.linear_.of_events(x)

    def margin(self, x: Dense, of_events: OfEvents | None = None) -> Dense:
        """Return the log-odds of the score, shape (n,)."""
        margins = self.linear_.margin(x, of_events) + self._corrections(x)
        return np.float32(self.slope_) * margins + np.float32(self.intercept_)

    def score(self, x: Dense) -> Dense:
        """Return the probability of a registration within a day, shape (n,)."""
        probability: Dense = expit(self.margin(x))
        return probability

    def explain(self, x: Dense) -> tuple[Dense, Dense]:
        """Split log-odds into contributions of shape (n, k) and constants of shape (n,).

        The trees' part are their exact Shapley values (Lundberg et al., 2020), about 70 µs a pair.
        """
        contributions, constant = self.linear_.explain(x)
        # A row of zeros goes along, so that there is an answer for no pairs as well.
        probed = np.concatenate([x, np.zeros((1, x.shape[1]), np.float32)])
        shapley = np.asarray(self.booster_.predict(probed, pred_contrib=True, num_threads=1))
        contributions = contributions + shapley[:-1, :-1].astype(np.float32)
        expected = np.float32(shapley[-1, -1])  # of the trees, the same for all pairs
        total = np.float32(self.slope_) * (constant + expected) + np.float32(self.intercept_)
        return np.float32(self.slope_) * contributions, total

    def outline(self, x: Dense, part: slice = ALL) -> Dense:
        """Return the linear part's contributions, shape (n, k), at a hundredth of the cost."""
        return np.float32(self.slope_) * self.linear_.outline(x, part)

    def to_json(self) -> dict[str, Any]:
        """Return the linear model, the trees in LightGBM's text format, and the scale of both."""
        return {
            "kind": self.kind,
            "linear": self.linear_.to_json(),
            "trees": self.booster_.model_to_string(),
            "slope": self.slope_,
            "intercept": self.intercept_,
        }

    @classmethod
    def from_json(cls, feature_names: tuple[str, ...], weights: dict[str, Any]) -> Self:
        """Make the model of its stored form."""
        model = cls()
        model.feature_names_ = feature_names
        model.linear_ = ConditionalLogit.from_json(feature_names, weights["linear"])
        model.booster_ = lgb.Booster(model_str=weights["trees"])
        model.slope_ = float(weights["slope"])
        model.intercept_ = float(weights["intercept"])
        return model


def _boost(
    examples: Examples, margin: Dense, weight: Dense, rng: np.random.Generator
) -> lgb.Booster:
    """Boost trees from given margins.

    Args:
        examples: Of which the hardest are learned from.
        margin: The linear model's, shape (n,); that of a place in a shown list included.
        weight: Of each group.
        rng: Source of the features that each tree may use.
    """
    kept = _hardest(examples, margin)
    groups, counts = np.unique(examples.group[kept], return_counts=True)
    length: Ints = counts.astype(np.int32)
    weight = np.repeat(weight[np.isin(np.unique(examples.group), groups)], length)
    weight /= weight.mean()
    gain = examples.gain[kept]
    share = shares(gain, length)

    def loss(
        margins: npt.NDArray[np.float64], _: lgb.Dataset
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the softmax loss's first and second derivatives by margin."""
        p = softmax(margins.astype(np.float32), length)
        return weight * (p - share), weight * np.maximum(p * (1 - p), np.float32(1e-9))

    parameters = {**PARAMETERS, "seed": int(rng.integers(2**31))}
    data = lgb.Dataset(
        examples.x[kept],
        gain,
        init_score=margin[kept].astype(np.float64),
        params=parameters,
    )
    trained = lgb.train({**parameters, "objective": loss}, data, ROUNDS)
    # Only what is stored; the training data go, and a restored model is the very same.
    return lgb.Booster(model_str=trained.model_to_string())


def _hardest(examples: Examples, margin: Dense) -> Bools:
    """Mark the first candidates by margin of every group that has a positive among them."""
    first = first_rows(examples)
    length = np.diff(np.append(first, len(examples)))
    order = np.lexsort((-margin, examples.group))
    rank = np.empty(len(examples), np.int32)
    rank[order] = np.arange(len(examples)) - np.repeat(first, length)
    hard = rank < HARDEST
    found = np.add.reduceat(((examples.gain > 0) & hard).astype(np.int32), first) > 0
    kept: Bools = hard & np.repeat(found, length)
    # Where every positive is ranked behind, all examples are hard.
    return kept if kept.any() else np.ones(len(examples), bool)
