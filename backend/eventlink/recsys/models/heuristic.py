"""The heuristic: a rule of thumb under the models' contract, to explain and to compare with.

What does not live here: the heuristic that answers where no ranking is stored, which is a query.
"""

from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit

from eventlink.recsys.examples import Examples
from eventlink.recsys.features import EVENTS, NAMES, PAIRS
from eventlink.recsys.matrices import Dense, weighted_sums
from eventlink.recsys.models.contract import ALL, OfEvents
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import Report, silent

INTERCEPT = -7.0
RULES = {
    "organizer.known": 10.0,
    "tags.interests": 3.0,
    "place.same_city": 1.0,
    "event.registrations_24h": 1.0,
}
"""Log-odds per unit of a feature. Organizers that the user follows or has been with come first, as
nothing below outweighs them; then the cosine of tags, the city, the log of the last day's
registrations."""


class HeuristicModel:
    """Organizers one knows, then interests, city and what sells today. It learns nothing."""

    kind: ClassVar[str] = "heuristic"
    joint: ClassVar[bool] = False

    feature_names_: tuple[str, ...] = NAMES
    weights_: Dense
    intercept_: float

    def __init__(self) -> None:
        self.weights_ = np.array([RULES.get(name, 0.0) for name in NAMES], np.float32)
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

    def of_events(self, x: Dense) -> OfEvents:
        """Add up what features say that are the same for every user: one sum of shape (n,)."""
        return (weighted_sums(x.T, self.weights_[EVENTS]),)

    def margin(self, x: Dense, of_events: OfEvents | None = None) -> Dense:
        """Return the log-odds of the score, shape (n,)."""
        (given,) = of_events or self.of_events(x[:, EVENTS])
        weights = self.weights_[PAIRS]
        return given + weighted_sums(x[:, -len(weights) :].T, weights) + np.float32(self.intercept_)

    def score(self, x: Dense) -> Dense:
        """Return the probability of a registration within a day, shape (n,)."""
        probability: Dense = expit(self.margin(x))
        return probability

    def explain(self, x: Dense) -> tuple[Dense, Dense]:
        """Split log-odds into contributions of shape (n, k) and intercepts of shape (n,)."""
        return x * self.weights_, np.full(len(x), self.intercept_, np.float32)

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
