"""The evaluation protocol: folds of a day, full rankings, truth that no system could have seen.

What does not live here: the metrics' formulas (``recsys.metrics``) and the drawing of tables.

At each instant T a system sees only rows dated before T and ranks every event that is known at T,
starts after T and that the user has not registered for. Truth is what the user registered for in
[T, T + 1 day). For every fold the model is trained again from what was known at T.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eventlink.recsys.baselines import BASELINES
from eventlink.recsys.calibration import (
    CALIBRATION_DAYS,
    Drawn,
    Reliability,
    Sample,
    draw,
    reliability,
    to_probabilities,
)
from eventlink.recsys.dataset import DAY, Bools, Dataset, Floats, Ints
from eventlink.recsys.examples import Examples
from eventlink.recsys.features import Features, forecast
from eventlink.recsys.matrices import Dense, count
from eventlink.recsys.metrics import (
    CUT,
    UserMetrics,
    bootstrap_interval,
    concentration,
    coverage,
    gini,
    judge,
)
from eventlink.recsys.models import Model
from eventlink.recsys.options import FOLDS, TrainOptions
from eventlink.recsys.outcomes import outcomes
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.ranking import by_score
from eventlink.recsys.replay import Replay, replay
from eventlink.recsys.reranking import Reranker
from eventlink.recsys.snapshot import Pairs, Snapshot

LENGTH = 50
MOST_PAIRS = 5_000_000
"""Pairs scored a fold, about: with many candidates fewer users are judged."""
PAIRS_A_BLOCK = 400_000
"""Pairs at a time, to bound memory."""
MOST_USERS = 3000
"""Users judged a fold; more are sampled. Candidates never are."""
SLICES = ("no history", "1-2 registrations", "3+ registrations")
COLD = ("younger than a day", "no registration yet")
"""Slices of events: only those that are so count as truth, among all candidates as ever."""
COUNTS = ("popularity", "velocity")
"""The baselines that a model is always seen beside."""

Fit = Callable[[Examples, np.random.Generator], Model]


@dataclass(frozen=True)
class Outcome:
    """How one system did over all (user, fold) pairs that have truth, mean of its trainings."""

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
    cold: dict[str, Floats] = field(default_factory=dict)
    """NDCG@10 in each slice of events, ``nan`` for pairs whose truth holds no such event."""
    concentration: Floats = field(default_factory=lambda: np.zeros(0))
    """See ``metrics.concentration``, of events, mean of the folds."""
    reliability: Reliability | None = None
    """Of a model's scores, where it was asked for."""
    ndcg_by_training: tuple[float, ...] = ()
    """NDCG@10 of each training, of which all other numbers are the mean."""
    kinds: tuple[str, ...] = ()
    """Of the models that were trained: the highest rung may differ by fold. None of a baseline."""

    def mean(self, metric: str, which: Bools | None = None) -> float:
        """Return the mean of a metric, of all pairs or of some; ``nan`` of none."""
        values = getattr(self.metrics, metric)
        values = values if which is None else values[which]
        return float(values.mean()) if len(values) else float("nan")

    def slices(self) -> dict[str, Bools]:
        """Return the pairs of each slice of users."""
        none, few = self.history == 0, (self.history > 0) & (self.history < 3)
        return dict(zip(SLICES, (none, few, ~none & ~few), strict=True))

    def of_slices(self) -> dict[str, tuple[Ints, Floats]]:
        """Return users and NDCG@10 of the pairs in each slice of users and of events."""
        found = {name: (which, self.metrics.ndcg) for name, which in self.slices().items()}
        found |= {name: (~np.isnan(ndcg), ndcg) for name, ndcg in self.cold.items()}
        return {name: (self.users[which], ndcg[which]) for name, (which, ndcg) in found.items()}

    def interval(self, metric: str, rng: np.random.Generator) -> tuple[float, float]:
        """Return the 95 % interval of a metric's mean."""
        return bootstrap_interval(getattr(self.metrics, metric), self.users, rng)


@dataclass(frozen=True)
class _Judged:
    """Rankings of one fold by one system, judged."""

    metrics: UserMetrics
    cold: dict[str, Floats]
    shown: Ints
    n_columns: int
    organizers: Ints


@dataclass(frozen=True)
class _FoldResult:
    users: Ints
    history: Ints
    judged: dict[str, list[_Judged]]
    """One a training; a baseline has one."""
    drawn: Drawn | None
    margins: dict[str, list[Dense]]
    """Of the pairs drawn, by each training of a model."""
    kinds: dict[str, list[str]]
    """Of each training of a model."""


def last_folds(data: Dataset, n_folds: int = FOLDS, as_of: float = np.inf) -> Floats:
    """Return the protocol's instants: days at 00:00 UTC, ending with the last day of the data.

    A day that is not over is none of them: whoever comes in the rest of it is not known yet.

    Args:
        data: Everything.
        n_folds: How many.
        as_of: Seconds since 1970-01-01 UTC, in the first day that is not over.
    """
    last_day = min(float(data.last_instant() // DAY * DAY), as_of // DAY * DAY - DAY)
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
    replayed: Replay | None = None,
    *,
    baselines: Sequence[str] = COUNTS,
    calibrated: bool = False,
    trainings: int = 1,
) -> dict[str, Outcome]:
    """Judge models and baselines by the protocol.

    Args:
        data: Everything.
        folds: Their instants, a day apart.
        systems: Name to a function that trains on examples.
        options: Of the training.
        rng: Source of all draws.
        report: Told of the progress.
        replayed: At least ``replay_instants(folds, options)``, where already done; sampled from a
            week before the first fold on if ``calibrated``.
        baselines: Names of ``baselines.BASELINES``.
        calibrated: Calibrate the models as for serving, and measure how far that holds.
        trainings: How often each model is trained on the same examples, which differs in its draws.

    Returns:
        Name to outcome, the systems first. A fold without truth, or without anything to learn
        from, is left out.
    """
    _ = data.registrations.again  # sorted here once, and not by each of the processes below
    replay_rng = rng.spawn(1)[0]
    if replayed is None:
        instants = replay_instants(folds, options)
        sampled_from = folds[0] - CALIBRATION_DAYS * DAY if calibrated else np.inf
        report("forecasting demand", 0.0)
        forecasts = forecast.learn(data, instants[0], instants[-1])
        report("forecasting demand", 1.0)
        replayed = replay(data, instants, forecasts, options, replay_rng, report, sampled_from)
    seen = replayed
    generators = rng.spawn(len(folds))

    def one(number: int) -> _FoldResult | None:
        at = float(folds[number])
        training_rng, fold_rng = generators[number].spawn(2)
        end = at - 0.5 * DAY  # the last day that is over
        known = seen.examples.between(end - options.replay_days * DAY, end)
        if not known.n_positives:
            return None
        seeds = training_rng.integers(2**63, size=trainings)
        week = seen.samples_between(at - CALIBRATION_DAYS * DAY, at) if calibrated else []
        trained = {
            name: [to_probabilities(fit(known, np.random.default_rng(s)), week) for s in seeds]
            for name, fit in systems.items()
        }
        return _fold(data, at, trained, baselines, options, fold_rng, calibrated=calibrated)

    results = []
    report("evaluating folds", 0.0)
    for number, result in enumerate(in_processes(one, range(len(folds))), start=1):
        results.append(result)
        report("evaluating folds", number / len(folds))
    return _outcomes([*systems, *baselines], results)


def _fold(
    data: Dataset,
    as_of: float,
    models: dict[str, list[Model]],
    baselines: Sequence[str],
    options: TrainOptions,
    rng: np.random.Generator,
    *,
    calibrated: bool,
) -> _FoldResult | None:
    s = Snapshot(data, as_of)
    truth = outcomes(data, s, as_of + DAY)
    users = np.unique(truth.user[data.users.rankable[truth.user]])
    if not len(users):
        return None
    most = min(MOST_USERS, MOST_PAIRS // s.n_columns + 1)
    if len(users) > most:
        users = np.sort(rng.choice(users, most, replace=False))
    kept = np.isin(truth.user, users)
    relevant = np.zeros((len(users), s.n_columns), dtype=bool)
    relevant[np.searchsorted(users, truth.user[kept]), truth.column[kept]] = True
    features = Features(s, forecast.fit_as_of(data, as_of) if models else None)
    rules = Reranker.of(features, options, users, rng.spawn(1)[0])
    cold = _cold(s)
    judged = {
        name: [
            _Judged(
                judge(ranking, relevant),
                {part: _cold_ndcg(ranking, relevant & which) for part, which in cold.items()},
                ranking[:, :CUT],
                s.n_columns,
                s.organizer,
            )
            for ranking in rankings
        ]
        for name, rankings in _rankings(features, models, baselines, users, rules).items()
    }
    drawn, found = None, {}
    if calibrated:
        drawn = draw(data, s, rng)
        x = Sample.of(drawn, features).x
        found = {name: [model.margin(x) for model in trained] for name, trained in models.items()}
    kinds = {name: [model.kind for model in trained] for name, trained in models.items()}
    return _FoldResult(users, s.history[users], judged, drawn, found, kinds)


def _rankings(
    features: Features,
    models: dict[str, list[Model]],
    baselines: Sequence[str],
    users: Ints,
    rules: Reranker | None,
) -> dict[str, list[Ints]]:
    """Rank all candidates, without candidate generation, which is judged with the models.

    Models are judged with the rules of re-ranking, but for seats: past registrations cannot tell
    what people would have done who found no seat.

    Returns:
        Name to the rankings by each training, of shape (len(users), LENGTH).
    """
    s = features.s
    learned = {name: BASELINES[name](s) for name in baselines}
    blocks: dict[str, list[list[Ints]]] = {
        **{name: [[] for _ in trained] for name, trained in models.items()},
        **{name: [[]] for name in baselines},
    }
    at_a_time = PAIRS_A_BLOCK // s.n_columns + 1
    for begin in range(0, len(users), at_a_time):
        block = users[begin : begin + at_a_time]
        done = s.going[block].toarray() > 0
        if models:
            x = features.matrix(Pairs.every(block, s.n_columns))
        for name, trained in models.items():
            for model, ranked in zip(trained, blocks[name], strict=True):
                scores = model.score(x).reshape(len(block), s.n_columns)
                if rules is None:
                    ranked.append(by_score(scores, done, LENGTH))
                else:
                    ranked.append(rules.by_score(block, scores, done, LENGTH))
        for name, scores_of in learned.items():
            blocks[name][0].append(by_score(scores_of(block), done, LENGTH))
    return {name: [np.concatenate(ranked) for ranked in each] for name, each in blocks.items()}


def _cold(s: Snapshot) -> dict[str, Bools]:
    """Tell for each slice of events which columns are in it."""
    young = s.data.events.created[s.columns] > s.as_of - DAY
    empty = count(s.column_of[s.data.registrations.event], s.n_columns) == 0
    return dict(zip(COLD, (young, empty), strict=True))


def _cold_ndcg(ranking: Ints, relevant: Bools) -> Floats:
    return np.where(relevant.any(axis=1), judge(ranking, relevant).ndcg, np.nan)


def _outcomes(names: list[str], results: list[_FoldResult | None]) -> dict[str, Outcome]:
    folds = [(number, result) for number, result in enumerate(results) if result is not None]
    if not folds:
        return {}
    users = np.concatenate([result.users for _, result in folds])
    history = np.concatenate([result.history for _, result in folds])
    numbers = np.concatenate([np.full(len(r.users), n, np.int32) for n, r in folds])
    found = {}
    for name in names:
        by_fold = [result.judged[name] for _, result in folds]
        by_training = [
            UserMetrics.combined([judged.metrics for judged in training], np.concatenate)
            for training in zip(*by_fold, strict=True)
        ]
        every = [judged for fold in by_fold for judged in fold]
        found[name] = Outcome(
            users=users,
            folds=numbers,
            history=history,
            metrics=UserMetrics.combined(by_training, _mean),
            coverage=float(np.mean([coverage(j.shown, j.n_columns) for j in every])),
            event_gini=float(np.mean([gini(j.shown, j.n_columns) for j in every])),
            organizer_gini=float(np.mean([_organizer_gini(j) for j in every])),
            cold={
                part: np.concatenate([_mean([j.cold[part] for j in fold]) for fold in by_fold])
                for part in COLD
            },
            concentration=_mean([concentration(j.shown, j.n_columns) for j in every]),
            reliability=_reliability(name, [result for _, result in folds]),
            ndcg_by_training=tuple(float(each.ndcg.mean()) for each in by_training),
            kinds=tuple(dict.fromkeys(kind for _, r in folds for kind in r.kinds.get(name, []))),
        )
    return found


def _mean(values: Sequence[Floats]) -> Floats:
    """Return the mean of arrays of one shape, place by place."""
    mean: Floats = np.mean(values, axis=0)
    return mean


def _reliability(name: str, results: list[_FoldResult]) -> Reliability | None:
    """Compare the scores of all trainings with what happened; together they weigh as one."""
    drawn = [
        (margin, r.drawn.y, r.drawn.weight / len(r.margins[name]))
        for r in results
        if r.drawn and name in r.margins
        for margin in r.margins[name]
    ]
    if not drawn:
        return None
    margins, y, weights = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    found = reliability(margins, y, weights)
    trainings = len(drawn) / sum(r.drawn is not None for r in results)
    # What happened is the same for all of them: that each tells it makes it no surer.
    return found and replace(found, error=found.error * np.sqrt(trainings))


def _organizer_gini(judged: _Judged) -> float:
    live, number = np.unique(judged.organizers, return_inverse=True)
    return gini(np.where(judged.shown >= 0, number[judged.shown], -1), len(live))
