"""Whether a score is a probability: measured over all users and candidates, and mended.

What does not live here: the order of rankings, which calibration never changes.

A score is the probability that a user registers for a candidate within the next day: any user who
gets a ranking, not only one who will register for something. A day has millions of such pairs and
hundreds of registrations, so a stratified sample stands for them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from eventlink.recsys.dataset import DAY, Bools, Dataset, Floats, Ints
from eventlink.recsys.examples import Outcomes, outcomes
from eventlink.recsys.features import Features, Forecast
from eventlink.recsys.matrices import Dense
from eventlink.recsys.models import Model
from eventlink.recsys.models.choice import calibrate
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.snapshot import Pairs, Snapshot

USERS_A_STRATUM = 256
STRANGE_COLUMNS = 30
"""Candidates drawn for each user among those whose organizer the user has nothing to do with."""
CALIBRATION_DAYS = 7
"""A whole week, for weekdays differ."""
HALF_LIFE_DAYS = 2.0
"""Sites grow and events come in waves: the last days tell tomorrow's rate best."""
LEAST_POSITIVES = 30
"""With fewer registrations in the sample a model keeps the calibration it has."""
PAIRS_A_BLOCK = 16_384
BINS = 10


@dataclass(frozen=True)
class Sample:
    """Pairs of a day, with what came of them; each array of shape (n,), grouped by user."""

    user: Ints
    column: Ints
    y: Bools
    """Whether the user registered within the day."""
    weight: Floats
    """How many pairs each stands for."""


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


def sample(data: Dataset, s: Snapshot, rng: np.random.Generator) -> Sample:
    """Draw pairs that stand for all users and candidates of the day after an instant.

    Users who registered for something and those who did not are drawn apart. So are candidates of
    organizers the user has been with, looked at or follows: few pairs, but most registrations.

    Args:
        data: Everything; only the outcomes of [s.as_of, s.as_of + 1 day) are read.
        s: The instant.
        rng: Source of the draws.
    """
    truth = outcomes(data, s, s.as_of + DAY)
    everybody = np.flatnonzero(data.users.rankable).astype(np.int32)
    came = np.isin(everybody, truth.user)
    parts = [_stratum(s, truth, everybody[which], rng) for which in (came, ~came)]
    return Sample(
        user=np.concatenate([part.user for part in parts]),
        column=np.concatenate([part.column for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        weight=np.concatenate([part.weight for part in parts]),
    )


def _stratum(s: Snapshot, truth: Outcomes, users: Ints, rng: np.random.Generator) -> Sample:
    chosen = np.sort(rng.choice(users, min(USERS_A_STRATUM, len(users)), replace=False))
    y = np.zeros((len(chosen), s.n_columns), dtype=bool)
    of_chosen = np.isin(truth.user, chosen)
    y[np.searchsorted(chosen, truth.user[of_chosen]), truth.column[of_chosen]] = True
    candidate = s.going[chosen].toarray() == 0
    certain = candidate & (y | _tied(s, chosen))
    strange = candidate & ~certain
    share = np.minimum(STRANGE_COLUMNS / np.maximum(strange.sum(axis=1, keepdims=True), 1), 1)
    drawn = strange & (rng.random(strange.shape) < share)
    row, column = np.nonzero(certain | drawn)
    weight = np.where(certain, 1.0, 1 / share) * (len(users) / max(len(chosen), 1))
    return Sample(chosen[row], column.astype(np.int32), y[row, column], weight[row, column])


def _tied(s: Snapshot, users: Ints) -> Bools:
    """Tell which columns are of organizers that users have to do with."""
    acts = (s.registered + s.engagement)[users] @ s.event_organizers
    tied: Bools = ((acts + s.follows[users]) @ s.organizers_to_columns).toarray() > 0
    return tied


def margins(features: Features, pairs: Sample, models: Sequence[Model]) -> list[Dense]:
    """Compute each model's log-odds of a sample's pairs, a block at a time.

    Args:
        features: Of the sample's instant.
        pairs: The sample.
        models: Fitted on the same features.

    Returns:
        For each model, shape (n,).
    """
    found: list[list[Dense]] = [[np.zeros(0, np.float32)] for _ in models]
    for begin in range(0, len(pairs.user), PAIRS_A_BLOCK):
        block = slice(begin, begin + PAIRS_A_BLOCK)
        asked, place = Pairs.distinct(pairs.user[block], pairs.column[block], features.s.n_columns)
        x = features.matrix(asked)
        for model, parts in zip(models, found, strict=True):
            parts.append(model.margin(x)[place])
    return [np.concatenate(parts) for parts in found]


def calibrate_models(
    data: Dataset,
    as_of: float,
    models: Sequence[Model],
    expected: Forecast,
    rng: np.random.Generator,
    report: Report = silent,
) -> None:
    """Turn models' scores into probabilities, by slope and intercept of the log-odds (Platt, 1999).

    Fitted on the last week's days over at an instant, each seen as of its own first instant, the
    last ones weighing most. Orders stay. A model is left as it is where too little happened.

    Args:
        data: Everything; nothing dated at or after ``as_of`` is read.
        as_of: Seconds since 1970-01-01 UTC.
        models: To be changed in place.
        expected: Demand, as forecast no later than ``CALIBRATION_DAYS`` before.
        rng: Source of the draws.
        report: Told of the progress.
    """
    if not models:
        return
    report("calibrating", 0.0)
    days = as_of - DAY * np.arange(CALIBRATION_DAYS, 0, -1.0)

    def one(day: tuple[float, np.random.Generator]) -> tuple[list[Dense], Bools, Floats]:
        at, day_rng = day
        s = Snapshot(data, at)
        pairs = sample(data, s, day_rng)
        found = margins(Features(s, expected, np.unique(pairs.user)), pairs, models)
        return found, pairs.y, pairs.weight * 2 ** ((at - days[-1]) / (HALF_LIFE_DAYS * DAY))

    work = list(zip(days.tolist(), rng.spawn(CALIBRATION_DAYS), strict=True))
    done = list(in_processes(one, work))
    report("calibrating", 1.0)
    y = np.concatenate([happened for _, happened, _ in done])
    weight = np.concatenate([weights for _, _, weights in done])
    if y.sum() < LEAST_POSITIVES or y.all():
        return
    for number, model in enumerate(models):
        margin = np.concatenate([found[number] for found, _, _ in done])
        model.rescale(*calibrate(margin, y, weight))


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
