"""Whether a score is a probability: measured over all users and candidates, and mended.

What does not live here: the order of rankings, which calibration never changes.

A score is the probability that a user registers for a candidate within the next day: any user who
gets a ranking, not only one who will register for something. A day has millions of such pairs and
hundreds of registrations, so a stratified sample stands for them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

from eventlink.recsys.dataset import DAY, Bools, Dataset, Floats, Ints
from eventlink.recsys.features import Features
from eventlink.recsys.matrices import Dense
from eventlink.recsys.models import Calibrated, Calibration, Model
from eventlink.recsys.models.calibrated import newcomers
from eventlink.recsys.models.logistic import calibrate
from eventlink.recsys.outcomes import Outcomes, outcomes
from eventlink.recsys.snapshot import Snapshot

USERS_A_STRATUM = 256
COLUMNS_A_KIND = 30
"""Candidates drawn for each user of either kind: of organizers that the user has to do with, and
others. What the user registered for is there in any case."""
CALIBRATION_DAYS = 7
"""A whole week, for weekdays differ; fewer where fewer days are replayed."""
HALF_LIFE_DAYS = 2.0
"""Sites grow and events come in waves: the last days tell tomorrow's rate best."""
BINS = 10


@dataclass(frozen=True)
class Drawn:
    """Pairs of a day that stand for all, each array of shape (n,), users ascending."""

    user: Ints
    column: Ints
    y: Bools
    """Whether the user registered within the day."""
    weight: Floats
    """How many pairs each stands for."""


@dataclass(frozen=True)
class Sample:
    """The same with their features: what a day says of scores."""

    x: Dense
    """Shape (n, number of features)."""
    y: Bools
    weight: Floats
    at: float
    """The day's first instant, seconds."""

    @classmethod
    def of(cls, drawn: Drawn, features: Features) -> Self:
        """Look at drawn pairs.

        Args:
            drawn: Of a day.
            features: Of its first instant, for the users drawn.
        """
        x = features.of_many(drawn.user, drawn.column)
        return cls(x, drawn.y, drawn.weight, features.s.as_of)


@dataclass(frozen=True)
class Reliability:
    """How far scores are probabilities.

    The arrays hold one value a bin, from the least to the most probable pairs; every bin holds
    about the same number of expected registrations.
    """

    expected: Floats
    """Mean score."""
    happened: Floats
    """Share of pairs that came to a registration."""
    error: Floats
    """Half of the 95 % interval of ``happened``."""
    error_share: float
    """Expected calibration error, the mean gap between the two, as a share of the mean rate."""
    total_expected: float
    """Registrations."""
    total_happened: float
    slope: float
    """Of a logistic regression of what happened on the log-odds: 1 is right, below is too bold."""


def draw(data: Dataset, s: Snapshot, rng: np.random.Generator) -> Drawn:
    """Draw pairs that stand for all users there are, and all candidates, of a day.

    Users who registered for something and those who did not are drawn apart. So are candidates of
    organizers the user has been with, looked at or follows, and others.

    Args:
        data: Everything; only the outcomes of [s.as_of, s.as_of + 1 day) are read.
        s: The day's first instant. Users who sign up later are left out.
        rng: Source of the draws.
    """
    truth = outcomes(data, s, s.as_of + DAY)
    everybody = np.flatnonzero(data.users.rankable & s.members).astype(np.int32)
    came = np.isin(everybody, truth.user)
    parts = [_stratum(s, truth, everybody[which], rng) for which in (came, ~came)]
    user = np.concatenate([part.user for part in parts])
    order = np.argsort(user, kind="stable")
    return Drawn(
        user=user[order],
        column=np.concatenate([part.column for part in parts])[order],
        y=np.concatenate([part.y for part in parts])[order],
        weight=np.concatenate([part.weight for part in parts])[order],
    )


def _stratum(s: Snapshot, truth: Outcomes, users: Ints, rng: np.random.Generator) -> Drawn:
    chosen = np.sort(rng.choice(users, min(USERS_A_STRATUM, len(users)), replace=False))
    y = np.zeros((len(chosen), s.n_columns), dtype=bool)
    of_chosen = np.isin(truth.user, chosen)
    y[np.searchsorted(chosen, truth.user[of_chosen]), truth.column[of_chosen]] = True
    other, tied = (s.going[chosen].toarray() == 0) & ~y, _tied(s, chosen)
    kept, weight = y.copy(), np.ones(y.shape)
    for kind in (other & tied, other & ~tied):
        share = np.minimum(COLUMNS_A_KIND / np.maximum(kind.sum(axis=1, keepdims=True), 1), 1)
        kept |= kind & (rng.random(kind.shape) < share)
        weight = np.where(kind, 1 / share, weight)
    row, column = np.nonzero(kept)
    stands_for = weight[row, column] * (len(users) / max(len(chosen), 1))
    return Drawn(chosen[row], column.astype(np.int32), y[row, column], stands_for)


def _tied(s: Snapshot, users: Ints) -> Bools:
    """Tell which columns are of organizers that users have to do with."""
    acts = (s.registered + s.engagement)[users] @ s.event_organizers
    tied: Bools = ((acts + s.follows[users]) @ s.organizers_to_columns).toarray() > 0
    return tied


def to_probabilities(model: Model, samples: Sequence[Sample]) -> Model:
    """Turn a model's scores into probabilities (``models.calibrated``).

    The last days weigh most.

    Args:
        model: Not calibrated yet.
        samples: Of days that are over, in their order; usually of ``CALIBRATION_DAYS``.

    Returns:
        What orders every user's events alike; the model itself where nothing happened.
    """
    if not samples:
        return model
    ages = np.repeat([samples[-1].at - s.at for s in samples], [len(s.y) for s in samples])
    y = np.concatenate([s.y for s in samples])
    weight = np.concatenate([s.weight for s in samples]) * np.exp2(-ages / (HALF_LIFE_DAYS * DAY))
    if not y.any() or y.all():
        return model
    margin = np.concatenate([model.margin(s.x) for s in samples])
    new = np.concatenate([newcomers(s.x) for s in samples])
    return Calibrated(model, Calibration.fit(margin, new, y, weight))


def reliability(margin: Dense, y: Bools, weight: Floats) -> Reliability | None:
    """Compare scores with what happened.

    Args:
        margin: Log-odds of the scores, shape (n,).
        y: What happened.
        weight: How many pairs each stands for.

    Returns:
        None where nothing happened, so that there is nothing to compare with.
    """
    if not y.any() or y.all():
        return None
    order = np.argsort(margin, kind="stable")
    y, weight, score = y[order], weight[order], expit(margin[order].astype(np.float64))
    mass = np.cumsum(weight * score)
    number = np.minimum((mass / mass[-1] * BINS).astype(int), BINS - 1)
    pairs = np.bincount(number, weight, BINS)
    filled = pairs > 0
    expected, happened, variance = (
        np.bincount(number, values, BINS)[filled] / pairs[filled] ** power
        for values, power in ((weight * score, 1), (weight * y, 1), (weight**2 * y, 2))
    )
    gap = (pairs[filled] * np.abs(expected - happened)).sum()
    return Reliability(
        expected=expected,
        happened=happened,
        error=1.96 * np.sqrt(variance),
        error_share=float(gap / (weight * y).sum()),
        total_expected=float(mass[-1]),
        total_happened=float((weight * y).sum()),
        slope=calibrate(margin[order], y, weight)[0],
    )
