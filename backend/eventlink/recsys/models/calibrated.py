"""Calibration: the map from a model's log-odds to those of what happens.

What does not live here: the days it is learned from (``recsys.calibration``).
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from scipy.special import expit

from eventlink.recsys.dataset import Bools, Floats
from eventlink.recsys.features import NAMES
from eventlink.recsys.matrices import Dense
from eventlink.recsys.models.contract import ALL, Model, OfEvents
from eventlink.recsys.models.logistic import calibrate, logistic, set_level

LEAST_FOR_SLOPE = 30
"""With fewer registrations a model keeps its slope, and is only set to their rate."""
VARIANCE = 1.0
"""Of bend and step before anything is known: where nothing tells of them, they are nothing."""
LEAST_SLOPE = 0.1
"""Beyond the knee, as a share of the slope before it: no order may be turned round."""
AGE, AHEAD = (NAMES.index(f"newcomer*time.{name}") - len(NAMES) for name in ("age", "ahead"))
"""Places, from the end, of features that are above 0 only if the user is new. Then one of them is:
every event has been known for a while or is still to come."""


@dataclass(frozen=True)
class Calibration:
    """A line of log-odds with a knee, and a step between users with a past and those without.

    A model that is trained on choices knows which event somebody takes, but not who takes one. So
    the pairs it is surest of are those of users to whom many events would suit, and they take only
    one: there the line bends. And users without a registration may come more or less often than
    their margins say. The scores of one user keep their order.
    """

    slope: float = 1.0
    bend: float = 0.0
    """What the slope changes by beyond the knee."""
    knee: float = 0.0
    newcomer: float = 0.0
    """Added for users who have not registered yet."""
    intercept: float = 0.0

    @classmethod
    def fit(cls, margin: Dense, newcomer: Bools, y: Bools, weight: Floats) -> Self:
        """Learn from what happened: Platt's logistic regression (1999) with two terms more.

        The knee is where half of the registrations that Platt's line expects are below.

        Args:
            margin: A model's log-odds of pairs, shape (n,).
            newcomer: Whether the user had no registration yet.
            y: Whether the user registered; something of both.
            weight: How many pairs each stands for.
        """
        if y.sum() < LEAST_FOR_SLOPE:
            slope, intercept = set_level(margin, y, weight)
            return cls(slope, intercept=intercept)
        slope, intercept = calibrate(margin, y, weight)
        order = np.argsort(margin, kind="stable")
        expected = np.cumsum((weight * expit(slope * margin + intercept))[order])
        knee = float(margin[order][np.searchsorted(expected, expected[-1] / 2)])
        line = margin.astype(np.float64)
        terms = [line, np.maximum(line - knee, 0), newcomer, np.ones(len(line))]
        start, ridge = np.array([slope, 0, 0, intercept]), np.array([0, 1, 1, 0]) / VARIANCE
        slope, bend, step, _ = logistic(np.stack(terms, axis=1), y, weight, start, ridge).tolist()
        slope = max(slope, 1e-3)
        rising = cls(slope, max(bend, (LEAST_SLOPE - 1) * slope), knee, step)
        # Where a bound was met, what was fitted beside it no longer gives the rate.
        mapped = (rising.line(margin) + step * newcomer).astype(np.float32)
        _, level = set_level(mapped, y, weight)
        return replace(rising, intercept=level)

    def line(self, margin: Dense) -> Dense:
        """Map log-odds of users with a past, shape (n,)."""
        knee = np.float32(self.knee)
        below, beyond = np.minimum(margin, knee), np.maximum(margin - knee, np.float32(0))
        steep, flat = np.float32(self.slope), np.float32(self.slope + self.bend)
        mapped: Dense = steep * below + flat * beyond + np.float32(self.intercept)
        return mapped

    def step(self, x: Dense) -> Dense:
        """Return what is added for the user of each pair, shape (n,)."""
        added: Dense = np.float32(self.newcomer) * newcomers(x)
        return added


def newcomers(x: Dense) -> Bools:
    """Tell which pairs are of users without a registration, from their features."""
    new: Bools = x[:, AGE] + x[:, AHEAD] > 0
    return new


class Calibrated:
    """A model with a calibration of its log-odds.

    Args:
        model: What orders.
        calibration: What turns its log-odds into those of a registration within a day.
    """

    def __init__(self, model: Model, calibration: Calibration) -> None:
        self.model, self.calibration = model, calibration
        self.kind, self.joint = model.kind, model.joint
        self.feature_names_ = model.feature_names_

    def of_events(self, x: Dense) -> OfEvents:
        """Add up what features say that are the same for every user."""
        return self.model.of_events(x)

    def margin(self, x: Dense, of_events: OfEvents | None = None) -> Dense:
        """Return the log-odds of the score, shape (n,)."""
        return self.calibration.line(self.model.margin(x, of_events)) + self.calibration.step(x)

    def score(self, x: Dense) -> Dense:
        """Return the probability of a registration within a day, shape (n,)."""
        probability: Dense = expit(self.margin(x))
        return probability

    def explain(self, x: Dense) -> tuple[Dense, Dense]:
        """Split log-odds into contributions of shape (n, k) and constants of shape (n,).

        The model's contributions are stretched, a pair's all alike, until they add up again. What
        is said of newcomers is part of their constant.
        """
        contributions, constant = self.model.explain(x)
        total = contributions.sum(axis=1)
        mapped = self.calibration.line(constant)
        away = self.calibration.line(constant + total) - mapped
        with np.errstate(divide="ignore", invalid="ignore"):
            stretch = np.where(
                np.abs(total) > 1e-3, away / total, np.float32(self.calibration.slope)
            )
        return contributions * stretch[:, None], mapped + self.calibration.step(x)

    def outline(self, x: Dense, part: slice = ALL) -> Dense:
        """Return the model's main contributions, not stretched: a pair's would all be alike."""
        return self.model.outline(x, part)

    def to_json(self) -> dict[str, Any]:
        """Return the model, and the calibration beside it."""
        return {**self.model.to_json(), "calibration": asdict(self.calibration)}
