"""The contract of a model: score, explain, to JSON; and of one that learns: fit.

What does not live here: any model. Learned attributes end in ``_``, after scikit-learn's habit.
"""

from typing import Any, Protocol, Self, TypeAlias

import numpy as np

from eventlink.errors import ModelMismatchError
from eventlink.recsys.examples import Examples
from eventlink.recsys.matrices import Dense
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import Report, silent

ALL = slice(None)
"""All features."""

OfEvents: TypeAlias = tuple[Dense, ...]
"""Sums of shape (n,), one for each line of a model."""


class Model(Protocol):
    """What scores (user, event) pairs from their features."""

    @property
    def kind(self) -> str:
        """Its name, as stored with the weights."""
        ...

    @property
    def joint(self) -> bool:
        """Whether features of events do more than add up, so that ``margin`` needs to see them."""
        ...

    feature_names_: tuple[str, ...]
    """The features it was fitted on, in order."""

    def score(self, x: Dense) -> Dense:
        """Return the probability of a registration within a day.

        Args:
            x: Features in the order of ``feature_names_``, shape (n, k).

        Returns:
            Shape (n,).
        """
        ...

    def of_events(self, x: Dense) -> OfEvents:
        """Add up what features say that are the same for every user.

        Args:
            x: Features of events, shape (n, number of ``features.EVENTS``).

        Returns:
            What ``margin`` may be given, so that it need not do this for every pair: sums of shape
            (n,), one for each of the lines that the model consists of.
        """
        ...

    def margin(self, x: Dense, of_events: OfEvents | None = None) -> Dense:
        """Return the log-odds of the score, without the work of splitting them.

        Args:
            x: Features, shape (n, k). Where ``of_events`` is given and the model is not ``joint``,
                those of ``features.PAIRS`` are enough.
            of_events: Of the pairs' events.

        Returns:
            Shape (n,), the same to the last bit whether or not ``of_events`` was given.
        """
        ...

    def explain(self, x: Dense) -> tuple[Dense, Dense]:
        """Split scores into contributions of the features.

        Args:
            x: Features, shape (n, k).

        Returns:
            Contributions of shape (n, k) and constants of shape (n,); a row's sum plus its constant
            is the log-odds of its score.
        """
        ...

    def outline(self, x: Dense, part: slice = ALL) -> Dense:
        """Return the main contributions of ``explain``, cheap enough for every recommendation.

        Args:
            x: Features, shape (n, k).
            part: Which of all features these are.

        Returns:
            Shape (n, k).
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """Return what was learned; ``model_from_json`` makes an equal model of it."""
        ...


class Rung(Model, Protocol):
    """A model that can be fitted by itself: a rung of the ladder."""

    def fit(
        self,
        examples: Examples,
        options: TrainOptions,
        rng: np.random.Generator,
        report: Report = silent,
    ) -> Self:
        """Learn from examples; the same generator state gives the same model."""
        ...

    @classmethod
    def from_json(cls, feature_names: tuple[str, ...], weights: dict[str, Any]) -> Self:
        """Make a model from its stored form."""
        ...


def require_features(model: Model, available: tuple[str, ...]) -> None:
    """Check that a stored model can score this version's features.

    Raises:
        ModelMismatchError: The names or their order differ.
    """
    if model.feature_names_ == available:
        return
    missing = sorted(set(model.feature_names_) - set(available))
    unknown = sorted(set(available) - set(model.feature_names_))
    raise ModelMismatchError(
        f"the model's {len(model.feature_names_)} features are not this version's"
        f" {len(available)} (gone: {', '.join(missing[:3]) or 'none'};"
        f" new: {', '.join(unknown[:3]) or 'none'}); train again, without --skip-training"
    )
