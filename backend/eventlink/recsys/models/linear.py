"""The linear ranker: a conditional logit over each user's day, fitted by AdaGrad, calibrated."""

from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit
from threadpoolctl import threadpool_limits

from eventlink.recsys.examples import Examples
from eventlink.recsys.features import EVENTS, NAMES, PAIRS
from eventlink.recsys.matrices import Dense, weighted_sums
from eventlink.recsys.models.choice import (
    first_rows,
    importance,
    recency,
    rows_of,
    shares,
    softmax,
)
from eventlink.recsys.models.contract import ALL, OfEvents
from eventlink.recsys.models.logistic import calibrate
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import Report, silent

GROUPS_A_BATCH = 64
CLIP = 6.0
"""Standardised features are cut here, so that one odd event cannot carry a ranking."""
CHUNK = 1024
"""Rows at a time, so that a feature's column stays in cache."""


class ConditionalLogit:
    """A user who registers for something chooses event e with probability softmax(w · z_e).

    Logistic regression on whole choices: given that a user registered for something on a day,
    which of the candidates was it (McFadden, 1974)? What is the same for all candidates of a
    (user, day) cancels, so the weights spend nothing on how active users or days are. Choices are
    weighted by recency; the squared norm of the standardised weights is penalised (L2).

    In a list that was shown, a choice depends on the place too. There the softmax has one term
    more, a weight times the log of the place, which takes up the attention that the first places
    get whatever stands there (the additive model of Craswell et al., WSDM 2008, on the log scale
    of Joachims, Swaminathan and Schnabel, WSDM 2017). No score has that term.

    AdaGrad (Duchi, Hazan and Singer, JMLR 2011) on mini-batches of choices; the last pass's
    iterates are averaged (Polyak and Juditsky, 1992). A last step turns w · z into the probability
    of a registration, by slope and intercept of a logistic regression on the same examples at
    their true rates (Platt, 1999), which changes no order.
    """

    kind: ClassVar[str] = "linear"
    joint: ClassVar[bool] = False

    feature_names_: tuple[str, ...]
    mean_: Dense
    scale_: Dense
    weights_: Dense
    intercept_: float
    position_: float
    """Weight of the log of the place in a shown list; only the training uses it."""

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
            options: ``epochs``, ``lr``, ``l2`` and ``half_life_days``.
            rng: Source of the order of the examples.
            report: Told of the progress.
        """
        self.feature_names_ = NAMES
        self.mean_, self.scale_ = _moments(examples.x)
        with threadpool_limits(1):  # for such small products threads cost more than they save
            *weights, self.position_ = self._descend(examples, options, rng, report)
        self.weights_ = np.array(weights, np.float32)
        self.intercept_ = 0.0
        margin = self.margin(examples.x)
        weight = recency(examples, options.half_life_days)
        slope, self.intercept_ = calibrate(margin, examples.y, weight * examples.weight)
        self.weights_ *= np.float32(slope)
        return self

    def _descend(
        self,
        examples: Examples,
        options: TrainOptions,
        rng: np.random.Generator,
        report: Report,
    ) -> Dense:
        first = first_rows(examples)
        length = np.diff(np.append(first, len(examples)))
        weight = importance(examples, options.half_life_days)
        lr, l2 = np.float32(options.lr), np.float32(options.l2)
        w = np.zeros(examples.x.shape[1] + 1, np.float32)
        squares = np.full_like(w, 1e-8)
        mean_iterate, n_iterates = np.zeros(len(w)), 0
        every_z = self._with_position(examples)
        for epoch in range(options.epochs):
            order = rng.permutation(len(first))
            for begin in range(0, len(order), GROUPS_A_BATCH):
                chosen = np.sort(order[begin : begin + GROUPS_A_BATCH])
                rows = rows_of(first[chosen], length[chosen])
                z = every_z[rows]
                # The loss's derivative by margin: chosen too often, or not often enough.
                wrong = softmax(z @ w, length[chosen]) - shares(examples.gain[rows], length[chosen])
                wrong *= np.repeat(weight[chosen], length[chosen])
                gradient = wrong @ z / np.float32(len(chosen)) + l2 * w
                squares += gradient**2
                w -= lr * gradient / np.sqrt(squares)
                if epoch == options.epochs - 1:
                    mean_iterate += w
                    n_iterates += 1
            report("fitting", (epoch + 1) / options.epochs)
        averaged: Dense = (mean_iterate / n_iterates).astype(np.float32)
        return averaged

    def _with_position(self, examples: Examples) -> Dense:
        """Standardise all examples, once for all epochs; their position is one column more."""
        z = np.empty((len(examples), examples.x.shape[1] + 1), np.float32)
        for begin in range(0, len(z), CHUNK):
            rows = slice(begin, begin + CHUNK)
            z[rows, :-1] = self._standardise(examples.x[rows])
        z[:, -1] = examples.position
        return z

    def _standardise(self, x: Dense, part: slice = ALL) -> Dense:
        z: Dense = x - self.mean_[part]
        z /= self.scale_[part]
        return np.clip(z, -CLIP, CLIP, out=z)

    def _sums(self, x: Dense, part: slice) -> Dense:
        """Add up some features' contributions, shape (n,)."""
        sums = np.empty(len(x), np.float32)
        for begin in range(0, len(x), CHUNK):
            rows = slice(begin, begin + CHUNK)
            sums[rows] = weighted_sums(self._standardise(x[rows], part).T, self.weights_[part])
        return sums

    def of_events(self, x: Dense) -> OfEvents:
        """Add up what features say that are the same for every user: one sum of shape (n,)."""
        return (self._sums(x, EVENTS),)

    def margin(self, x: Dense, of_events: OfEvents | None = None) -> Dense:
        """Return the log-odds of the score, shape (n,)."""
        (given,) = of_events or self.of_events(x[:, EVENTS])
        of_pairs = self._sums(x[:, -(PAIRS.stop - PAIRS.start) :], PAIRS)
        return given + of_pairs + np.float32(self.intercept_)

    def score(self, x: Dense) -> Dense:
        """Return the probability of a registration within a day, shape (n,)."""
        probability: Dense = expit(self.margin(x))
        return probability

    def explain(self, x: Dense) -> tuple[Dense, Dense]:
        """Split log-odds into contributions of shape (n, k) and intercepts of shape (n,)."""
        intercepts = np.full(len(x), self.intercept_, np.float32)
        return self._standardise(x) * self.weights_, intercepts

    def outline(self, x: Dense, part: slice = ALL) -> Dense:
        """Return the contributions, shape (n, k): they cost next to nothing."""
        return self._standardise(x, part) * self.weights_[part]

    def to_json(self) -> dict[str, Any]:
        """Return weights, standardisation and intercept."""
        return {
            "kind": self.kind,
            "weights": self.weights_.tolist(),
            "mean": self.mean_.tolist(),
            "scale": self.scale_.tolist(),
            "intercept": self.intercept_,
            "position": float(self.position_),
        }

    @classmethod
    def from_json(cls, feature_names: tuple[str, ...], weights: dict[str, Any]) -> Self:
        """Make the model of its stored form."""
        model = cls()
        model.feature_names_ = feature_names
        model.weights_ = np.array(weights["weights"], np.float32)
        model.mean_ = np.array(weights["mean"], np.float32)
        model.scale_ = np.array(weights["scale"], np.float32)
        model.intercept_ = float(weights["intercept"])
        model.position_ = float(weights.get("position", 0.0))
        return model


def _moments(x: Dense) -> tuple[Dense, Dense]:
    """Means and standard deviations of columns; 1 where a column is constant."""
    total, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for begin in range(0, len(x), CHUNK):
        chunk = x[begin : begin + CHUNK].astype(np.float64)
        total += chunk.sum(axis=0)
        squares += (chunk**2).sum(axis=0)
    mean = total / len(x)
    deviation = np.sqrt(np.maximum(squares / len(x) - mean**2, 0))
    deviation[deviation < 1e-6] = 1.0
    return mean.astype(np.float32), deviation.astype(np.float32)
