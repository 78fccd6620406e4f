"""Prior weights: what a site that has learned nothing yet ranks by."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit

from eventlink.recsys.examples import Examples
from eventlink.recsys.features import EVENTS, NAMES, PAIRS
from eventlink.recsys.matrices import Dense, weighted_sums
from eventlink.recsys.models.contract import ALL
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import Report, silent

INTERCEPT = -7.0
WEIGHTS = {
    "organizer.known": 2.5,
    "organizer.follows": 1.5,
    "organizer.went_lately": 1.5,
    "series.went": 0.7,
    "people.going": 0.6,
    "tags.interests": 2.5,
    "event.registrations": 0.5,
    "event.decayed_24h": 0.8,
    "event.next_of_organizer": 0.4,
    "time.closeness": 0.5,
    "time.freshness": 0.5,
    "place.distance": -0.5,
    "place.same_city": 1.0,
    "organizer.favorites": 0.5,
    "organizer.engaged": 0.6,
    "organizer.refused": -0.4,
    "organizer.skipped": -0.2,
    "event.own_favorites": 1.5,
    "event.own_engagement": 1.2,
    "event.own_refusals": -2.0,
    "event.own_skips": -0.5,
    "tags.history": 0.5,
    "tags.intent": 1.0,
    "category.share": 0.5,
    "category.intent": 1.0,
    "tags.organizer_lift": 0.3,
    "tags.category_lift": 0.3,
    "language.organizer_lift": 0.5,
    "language.event_lift": 0.5,
}
"""Log-odds per unit of a feature. Those of ties, interests, companions, demand, closeness and the
next of a series are a conditional logit's, fitted to four years around one small town (1,230
registrations on 360 days) and rounded. That town names cities where others have coordinates, and
its people never mark, click or search, nor name a language: the other weights are set by hand. No
weight was fitted to a city that quality is measured on."""


class PriorModel:
    """A logistic model whose weights are constants; it needs no example."""

    kind: ClassVar[str] = "prior"
    joint: ClassVar[bool] = False
    constants: ClassVar[Mapping[str, float]] = WEIGHTS

    feature_names_: tuple[str, ...] = NAMES
    weights_: Dense
    intercept_: float

    def __init__(self) -> None:
        self.weights_ = np.array([self.constants.get(name, 0.0) for name in NAMES], np.float32)
        self.intercept_ = INTERCEPT

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

    def of_events(self, x: Dense) -> Dense:
        """Add up what features say that are the same for every user, shape (n,)."""
        return weighted_sums(x.T, self.weights_[EVENTS])

    def margin(self, x: Dense, of_events: Dense | None = None) -> Dense:
        """Return the log-odds of the score, shape (n,)."""
        given = self.of_events(x[:, EVENTS]) if of_events is None else of_events
        weights = self.weights_[PAIRS]
        return given + weighted_sums(x[:, -len(weights) :].T, weights) + np.float32(self.intercept_)

    def score(self, x: Dense) -> Dense:
        """Return the probability of a registration within a day, shape (n,)."""
        probability: Dense = expit(self.margin(x))
        return probability

    def rescale(self, slope: float, intercept: float) -> None:
        """Turn every margin m into slope × m + intercept, which changes no order."""
        self.weights_ = np.float32(slope) * self.weights_
        self.intercept_ = slope * self.intercept_ + intercept

    def explain(self, x: Dense) -> tuple[Dense, float]:
        """Split log-odds into contributions of shape (n, k) and the intercept."""
        return x * self.weights_, self.intercept_

    def outline(self, x: Dense, part: slice = ALL) -> Dense:
        """Return the contributions, shape (n, k): they cost next to nothing."""
        return x * self.weights_[part]

    def to_json(self) -> dict[str, Any]:
        """Return the weights."""
        return {
            "kind": self.kind,
            "weights": self.weights_.tolist(),
            "intercept": self.intercept_,
        }

    @classmethod
    def from_json(cls, feature_names: tuple[str, ...], weights: dict[str, Any]) -> Self:
        """Make the model of its stored form."""
        model = cls()
        model.feature_names_ = feature_names
        model.weights_ = np.array(weights["weights"], np.float32)
        model.intercept_ = float(weights["intercept"])
        return model
