"""Recompute: train, evaluate, rank everybody, publish. The nightly job, told top to bottom.

What does not live here: the mathematics (``recsys``), the SQL (``db``), the clock (the callers).
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection

from eventlink.config import revision
from eventlink.db.dataset import Keys, load_dataset
from eventlink.db.models import (
    StoredModel,
    active_model,
    is_version_taken,
    store_active_model,
    version_taken,
)
from eventlink.db.recommendations import (
    Lists,
    build_generation,
    clean_up,
    recompute_lock,
    serve_generation,
    store_refreshed,
)
from eventlink.db.session import connection, require_migrations
from eventlink.errors import NoEventsError, NoPositivesError, NoUsersError, UnknownUserError
from eventlink.recsys.dataset import Dataset, Ints
from eventlink.recsys.evaluation import Outcome, evaluate, folds_before
from eventlink.recsys.examples import Examples, replay
from eventlink.recsys.features import NAMES, Features, Forecast, forecast
from eventlink.recsys.models import Model, PriorModel, fit_model, model_from_json
from eventlink.recsys.models.contract import require_features
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.ranking import Ranker
from eventlink.recsys.snapshot import Snapshot


@dataclass(frozen=True)
class Request:
    """What to recompute."""

    now: datetime
    """When it is asked for; names the model and dates the rankings."""
    as_of: datetime
    """Nothing dated at or after it is seen."""
    options: TrainOptions = field(default_factory=TrainOptions)
    user_id: int | None = None
    """Rewrite only this user's ranking."""
    dry_run: bool = False
    """Train and evaluate, write nothing."""
    skip_training: bool = False
    """Score with the active model, or the prior where there is none."""
    model_version: str | None = None
    """Made from the date if None."""
    folds: int = 7
    """Days to evaluate on; 0 turns the evaluation off."""


@dataclass(frozen=True)
class Metrics:
    """How a system did by the evaluation protocol."""

    ndcg_10: float
    ndcg_10_interval: tuple[float, float]
    hitrate_10: float
    recall_10: float
    recall_50: float
    mrr: float


@dataclass(frozen=True)
class Result:
    """What a recompute did."""

    model: str
    """Kind of the model."""
    model_version: str | None
    """None if nothing was written."""
    as_of: datetime
    users: int
    """Users who get rankings."""
    events: int
    """Events that may be shown to somebody."""
    positives: int
    """Registrations that were trained on."""
    judged: int
    """(user, fold) pairs that the metrics are means of."""
    metrics: dict[str, Metrics]
    """By system, ``model`` and the baselines; empty without an evaluation."""
    published: int
    """Users whose rankings were written."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {**asdict(self), "as_of": self.as_of.isoformat()}


def recompute(request: Request, report: Report = silent) -> Result:
    """Train on what was known at an instant, evaluate, and publish everybody's rankings.

    Args:
        request: What to do.
        report: Told of the progress.

    Raises:
        EventLinkError: One of its kinds; nothing is then half-written.
    """
    with connection() as conn:
        with conn.begin():
            require_migrations(conn)
        with _alone(conn, request):
            stored = _stored_model(conn, request)
            report("reading the database", 0.0)
            data, keys = load_dataset()
            report("reading the database", 1.0)
            snapshot = Snapshot(data, request.as_of.timestamp())
            users = _users_to_rank(data, keys, request.user_id)
            _require_events(data, snapshot, request.as_of)
            rng = np.random.default_rng(request.options.seed)
            if request.skip_training:
                trained = _untrained(stored)
            else:
                trained = _train(data, snapshot, request, rng, report)
            published = None
            if not request.dry_run:
                features = Features(snapshot, trained.forecast)
                ranker = Ranker(snapshot, features, trained.model, users, rng)
                with closing(_lists(ranker, users, request.options.top_n, keys, report)) as lists:
                    published = _publish(conn, request, trained, data, lists, report)
    return _result(request, snapshot, users, trained, published)


@contextmanager
def _alone(conn: Connection, request: Request) -> Iterator[None]:
    """Let one recompute run at a time, and remove what a killed one left.

    A dry run changes nothing, so it neither waits for another one nor is in its way.
    """
    if request.dry_run:
        yield
        return
    with recompute_lock(conn):
        clean_up()
        yield


@dataclass(frozen=True)
class _Trained:
    """A model and what is known of it."""

    model: Model
    forecast: Forecast
    version: str | None
    """None if it is not stored yet."""
    positives: int
    outcomes: dict[str, Outcome]
    metrics: dict[str, Metrics]


def _stored_model(conn: Connection, request: Request) -> StoredModel | None:
    with conn.begin():
        if request.model_version and is_version_taken(conn, request.model_version):
            raise version_taken(request.model_version)
        return active_model(conn)


def _users_to_rank(data: Dataset, keys: Keys, user_id: int | None) -> Ints:
    if user_id is None:
        users = np.flatnonzero(data.users.rankable).astype(np.int32)
        if not len(users):
            raise NoUsersError(
                "there is no active student to recommend to; bring users with: eventlink import"
                " DIR, or eventlink simulate"
            )
        return users
    index = keys.user_index(user_id)
    if index is None or not data.users.rankable[index]:
        raise UnknownUserError(f"user {user_id} does not exist or is not an active student")
    return np.array([index], np.int32)


def _require_events(data: Dataset, snapshot: Snapshot, as_of: datetime) -> None:
    if not data.n_events:
        raise NoEventsError(
            "there are no events; bring some with: eventlink import DIR, or eventlink simulate"
        )
    if not snapshot.n_columns:
        raise NoEventsError(
            f"no published event that was known at {as_of.isoformat()} starts after it;"
            " publish events, or give another --as-of"
        )


def _untrained(stored: StoredModel | None) -> _Trained:
    """Take the active model, or the prior weights of a site that has none."""
    if stored is None:
        return _Trained(PriorModel(), Forecast(), None, 0, {}, {})
    model = model_from_json(stored.feature_names, stored.weights)
    require_features(model, NAMES)
    expected = Forecast.from_json(stored.weights.get("forecast", []))
    return _Trained(model, expected, stored.model_version, 0, {}, {})


def _train(
    data: Dataset,
    snapshot: Snapshot,
    request: Request,
    rng: np.random.Generator,
    report: Report,
) -> _Trained:
    if not np.isfinite(snapshot.data.last_instant()):
        raise NoPositivesError(
            f"no registration, favourite or interaction is dated before"
            f" {request.as_of.isoformat()}: there is nothing to learn from; to rank with prior"
            " weights add --skip-training"
        )
    options = request.options
    replay_rng, fold_rng, fit_rng, interval_rng = rng.spawn(4)

    # The folds and the final training replay the same days, so each is made once.
    n_days = options.replay_days + request.folds
    instants = folds_before(snapshot.as_of, n_days)
    replayed = replay(data, instants, options, replay_rng, report)

    def fit(examples: Examples, rng: np.random.Generator) -> Model:
        return fit_model(examples, options, rng)

    outcomes: dict[str, Outcome] = {}
    if request.folds:
        folds = instants[options.replay_days :]
        outcomes = evaluate(data, folds, {"model": fit}, options, fold_rng, report, replayed)
    examples = replayed.between(instants[request.folds], snapshot.as_of)
    model = fit_model(examples, options, fit_rng, report)
    metrics = {name: _metrics(outcome, interval_rng) for name, outcome in outcomes.items()}
    expected = forecast.fit_as_of(data, snapshot.as_of)
    return _Trained(model, expected, None, examples.n_positives, outcomes, metrics)


def _metrics(outcome: Outcome, rng: np.random.Generator) -> Metrics:
    return Metrics(
        ndcg_10=outcome.mean("ndcg"),
        ndcg_10_interval=outcome.interval("ndcg", rng),
        hitrate_10=outcome.mean("hit_rate"),
        recall_10=outcome.mean("recall"),
        recall_50=outcome.mean("recall_50"),
        mrr=outcome.mean("mrr"),
    )


def _lists(
    ranker: Ranker, users: Ints, top_n: int, keys: Keys, report: Report
) -> Generator[Lists, None, None]:
    for rankings in ranker.rank_all(users, top_n, report):
        yield Lists(rankings, ranker.snapshot.columns, keys)


def _publish(
    conn: Connection,
    request: Request,
    trained: _Trained,
    data: Dataset,
    lists: Iterator[Lists],
    report: Report,
) -> tuple[str, int]:
    """Write model and rankings so that both change at once; return version and user count."""
    version = trained.version or _new_version(conn, request, trained.model)
    count = 0

    def counted() -> Iterator[Lists]:
        nonlocal count
        for part in lists:
            count += len(part.rankings.users)
            yield part

    generation = None
    if request.user_id is None:
        generation = build_generation(conn, version, request.now, counted())
    report("publishing", 0.0)
    with conn.begin():
        if generation is not None:
            serve_generation(conn, generation)
        else:
            for part in counted():
                store_refreshed(conn, version, request.now, part)
        if trained.version is None:
            store_active_model(conn, _to_store(version, request, trained, data))
    clean_up()
    report("publishing", 1.0)
    return version, count


def _new_version(conn: Connection, request: Request, model: Model) -> str:
    """Name a model by kind and date; a second one of the same second gets a number."""
    if request.model_version:
        return request.model_version
    name = f"{model.kind}-{request.now.astimezone(UTC):%Y%m%dT%H%M%S}"
    with conn.begin():
        candidate, number = name, 2
        while is_version_taken(conn, candidate):
            candidate, number = f"{name}-{number}", number + 1
    return candidate


def _to_store(version: str, request: Request, trained: _Trained, data: Dataset) -> StoredModel:
    known = data.before(request.as_of.timestamp())
    meta = {
        "options": request.options.to_json(),
        "as_of": request.as_of.isoformat(),
        "trained_at": request.now.isoformat(),
        "replay_days": request.options.replay_days,
        "counts": {
            "users": known.n_users,
            "events": int(np.isfinite(known.events.start).sum()),
            "registrations": len(known.registrations),
            "favorites": len(known.favorites),
            "interactions": len(known.interactions),
            "positives": trained.positives,
        },
        "metrics": {name: asdict(metrics) for name, metrics in trained.metrics.items()},
        "folds": request.folds,
        "revision": revision(),
    }
    weights = {**trained.model.to_json(), "forecast": trained.forecast.to_json()}
    return StoredModel(version, list(trained.model.feature_names_), weights, meta)


def _result(
    request: Request,
    snapshot: Snapshot,
    users: Ints,
    trained: _Trained,
    published: tuple[str, int] | None,
) -> Result:
    version, count = published or (trained.version, 0)
    return Result(
        model=trained.model.kind,
        model_version=version,
        as_of=request.as_of,
        users=len(users),
        events=int(snapshot.eligible.sum()),
        positives=trained.positives,
        judged=next((len(outcome.users) for outcome in trained.outcomes.values()), 0),
        metrics=trained.metrics,
        published=count,
    )
