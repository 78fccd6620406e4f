"""The evaluation protocol: folds of a day, full rankings, truth that no system could have seen.

What does not live here: the metrics' formulas (``recsys.metrics``) and the drawing of tables.

At each instant T a system sees only rows dated before T and ranks every event that is known at T,
starts after T and that the user has not registered for. Truth is what the user registered for in
[T, T + 1 day). For every fold the model is trained again from what was known at T.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eventlink.recsys.dataset import DAY, Bools, Dataset, Floats, Ints
from eventlink.recsys.examples import Examples, outcomes, replay
from eventlink.recsys.features import Features, forecast
from eventlink.recsys.metrics import UserMetrics, bootstrap_interval, coverage, gini, judge
from eventlink.recsys.models import Model
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.ranking import USERS_A_BLOCK, by_score
from eventlink.recsys.snapshot import Pairs, Snapshot

FOLDS = 7
LENGTH = 50
MOST_USERS = 3000
"""Users judged a fold; more are sampled. Candidates never are."""
SLICES = ("no history", "1-2 registrations", "3+ registrations")

Fit = Callable[[Examples, np.random.Generator], Model]


@dataclass(frozen=True)
class Outcome:
    """How one system did, over all (user, fold) pairs that have truth."""

    users: Ints
    """The user of each pair."""
    folds: Ints
    """The fold's number of each pair."""
    history: Ints
    """How many earlier registrations the user had."""
    metrics: UserMetrics
    coverage: float
    """Share of candidates shown to any judged user in the first ten, mean of the folds."""
    event_gini: float
    organizer_gini: float

    def mean(self, metric: str, which: Bools | None = None) -> float:
        """Return the mean of a metric, of all pairs or of some; ``nan`` of none."""
        values = getattr(self.metrics, metric)
        values = values if which is None else values[which]
        return float(values.mean()) if len(values) else float("nan")

    def slices(self) -> dict[str, Bools]:
        """Return the pairs of each slice of users."""
        none, few = self.history == 0, (self.history > 0) & (self.history < 3)
        return dict(zip(SLICES, (none, few, ~none & ~few), strict=True))

    def interval(self, metric: str, rng: np.random.Generator) -> tuple[float, float]:
        """Return the 95 % interval of a metric's mean."""
        return bootstrap_interval(getattr(self.metrics, metric), self.users, rng)


@dataclass(frozen=True)
class _Judged:
    """Rankings of one fold by one system, judged."""

    metrics: UserMetrics
    shown: Ints
    n_columns: int
    organizers: Ints


@dataclass(frozen=True)
class _FoldResult:
    users: Ints
    history: Ints
    judged: dict[str, _Judged]


def last_folds(data: Dataset, n_folds: int = FOLDS) -> Floats:
    """Return the protocol's instants: days at 00:00 UTC, ending with the last day of the data.

    Args:
        data: Everything.
        n_folds: How many.
    """
    last_day = float(data.last_instant() // DAY * DAY)
    return last_day - DAY * np.arange(n_folds - 1, -1, -1, dtype=float)


def folds_before(as_of: float, n_folds: int) -> Floats:
    """Return the instants of folds whose truth is wholly known at an instant.

    Args:
        as_of: Seconds since 1970-01-01 UTC.
        n_folds: How many days.
    """
    return as_of - DAY * np.arange(n_folds, 0, -1.0)


def replay_instants(folds: Floats, options: TrainOptions) -> Floats:
    """Return the first instants of all days that the folds' trainings replay."""
    first = folds[0] - options.replay_days * DAY
    return np.arange(first, folds[-1] - 0.5 * DAY, DAY)


def evaluate(
    data: Dataset,
    folds: Floats,
    systems: dict[str, Fit],
    options: TrainOptions,
    rng: np.random.Generator,
    report: Report = silent,
    examples: Examples | None = None,
) -> dict[str, Outcome]:
    """Judge models and the popularity baselines by the protocol.

    Args:
        data: Everything.
        folds: Their instants, a day apart.
        systems: Name to a function that trains on examples.
        options: Of the training.
        rng: Source of all draws.
        report: Told of the progress.
        examples: A replay of at least ``replay_instants(folds, options)``, where already made.

    Returns:
        Name to outcome; ``popularity`` and ``velocity`` (registrations of the last day) are
        always among them. A fold without truth, or without anything to learn from, is left out.
    """
    instants = replay_instants(folds, options)
    replay_rng = rng.spawn(1)[0]
    replayed = replay(data, instants, options, replay_rng, report) if examples is None else examples
    generators = rng.spawn(len(folds))

    def one(number: int) -> _FoldResult | None:
        end = folds[number] - 0.5 * DAY  # the last day that is over
        known = replayed.between(end - options.replay_days * DAY, end)
        if not known.n_positives:
            return None
        trained = {name: fit(known, generators[number]) for name, fit in systems.items()}
        return _fold(data, float(folds[number]), trained, generators[number])

    results = []
    for number, result in enumerate(in_processes(one, range(len(folds))), start=1):
        results.append(result)
        report("evaluating folds", number / len(folds))
    return _outcomes([*systems, "popularity", "velocity"], results)


def _fold(
    data: Dataset, as_of: float, models: dict[str, Model], rng: np.random.Generator
) -> _FoldResult | None:
    s = Snapshot(data, as_of)
    truth = outcomes(data, s, as_of + DAY)
    users = np.unique(truth.user)
    if not len(users):
        return None
    if len(users) > MOST_USERS:
        users = np.sort(rng.choice(users, MOST_USERS, replace=False))
    kept = np.isin(truth.user, users)
    relevant = np.zeros((len(users), s.n_columns), dtype=bool)
    relevant[np.searchsorted(users, truth.user[kept]), truth.column[kept]] = True
    judged = {}
    for name, ranking in _rankings(data, s, models, users).items():
        judged[name] = _Judged(judge(ranking, relevant), ranking[:, :10], s.n_columns, s.organizer)
    return _FoldResult(users, s.history[users], judged)


def _rankings(data: Dataset, s: Snapshot, models: dict[str, Model], users: Ints) -> dict[str, Ints]:
    """Rank all candidates, without candidate generation, which is judged with the models."""
    rankings: dict[str, list[Ints]] = {name: [] for name in (*models, "popularity", "velocity")}
    features = Features(s, forecast.fit_as_of(data, s.as_of) if models else None)
    log = s.data.registrations
    baselines = {
        "popularity": log.event,
        "velocity": log.event[np.searchsorted(log.at, s.as_of - DAY) :],
    }
    for begin in range(0, len(users), USERS_A_BLOCK):
        block = users[begin : begin + USERS_A_BLOCK]
        done = s.registered[block][:, s.columns].toarray() > 0
        if models:
            x = features.matrix(Pairs.every(block, s.n_columns))
        for name, model in models.items():
            scores = model.score(x).reshape(len(block), s.n_columns)
            rankings[name].append(by_score(scores, done, LENGTH))
        for name, events in baselines.items():
            counts = np.bincount(events, minlength=data.n_events)[s.columns]
            rankings[name].append(by_score(counts.astype(float), done, LENGTH))
    return {name: np.concatenate(parts) for name, parts in rankings.items()}


def _outcomes(names: list[str], results: list[_FoldResult | None]) -> dict[str, Outcome]:
    folds = [(number, result) for number, result in enumerate(results) if result is not None]
    if not folds:
        return {}
    users = np.concatenate([result.users for _, result in folds])
    history = np.concatenate([result.history for _, result in folds])
    numbers = np.concatenate([np.full(len(r.users), n, np.int32) for n, r in folds])
    found = {}
    for name in names:
        judged = [result.judged[name] for _, result in folds]
        found[name] = Outcome(
            users=users,
            folds=numbers,
            history=history,
            metrics=UserMetrics(
                **{
                    metric: np.concatenate([getattr(j.metrics, metric) for j in judged])
                    for metric in UserMetrics.__dataclass_fields__
                }
            ),
            coverage=float(np.mean([coverage(j.shown, j.n_columns) for j in judged])),
            event_gini=float(np.mean([gini(j.shown, j.n_columns) for j in judged])),
            organizer_gini=float(np.mean([_organizer_gini(j) for j in judged])),
        )
    return found


def _organizer_gini(judged: _Judged) -> float:
    live, number = np.unique(judged.organizers, return_inverse=True)
    return gini(np.where(judged.shown >= 0, number[judged.shown], -1), len(live))
