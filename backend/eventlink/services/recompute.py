"""Recompute: train, evaluate, rank everybody, publish. The nightly job, told top to bottom.

What does not live here: the mathematics (``recsys``), training (``services.training``), ranking and
publishing (``services.publishing``), the SQL (``db``), the clock (the callers).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection

from eventlink.db.dataset import load_dataset
from eventlink.db.keys import Keys
from eventlink.db.models import (
    StoredModel,
    active_model,
    is_version_taken,
    store_model,
    version_taken,
)
from eventlink.db.recommendations import clean_up, recompute_lock
from eventlink.db.serving import Serving, generation_meta, serving
from eventlink.db.session import connection, require_migrations
from eventlink.errors import InvalidOptionError, NoEventsError, NoUsersError, UnknownUserError
from eventlink.recsys.dataset import Dataset, Ints
from eventlink.recsys.features import Features
from eventlink.recsys.options import FOLDS, Activate, TrainOptions
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.ranking import Ranker
from eventlink.recsys.snapshot import Snapshot
from eventlink.services.cluster import require_cluster
from eventlink.services.publishing import (
    Change,
    Engine,
    Fence,
    ToRank,
    rank_and_publish,
    unfenced,
)
from eventlink.services.reranking import rerank_everybody, rerank_some
from eventlink.services.scorers import Scorer, new_version, stored_scorer
from eventlink.services.training import Metrics, Trained, stored_metrics, train


@dataclass(frozen=True)
class Request:
    """What to recompute."""

    now: datetime
    """When it is asked for; names the model and dates the rankings. By the database's clock, as
    refreshes are dated."""
    as_of: datetime
    """Nothing dated at or after it is seen; not after ``now``."""
    options: TrainOptions = field(default_factory=TrainOptions)
    user_id: int | None = None
    """Rewrite only this user's ranking, by the model that serves; nothing is trained."""
    dry_run: bool = False
    """Train and evaluate, write nothing."""
    skip_training: bool = False
    """Score with the active model, or the prior where there is none."""
    only_train: bool = False
    """Store the model, which does not serve, and rank nobody."""
    model_version: str | None = None
    """Made from the date if None."""
    folds: int = FOLDS
    """Days to evaluate on; 0 turns the evaluation off."""
    activate: Activate = Activate.IF_BETTER
    """When the new model takes the active one's place."""
    engine: Engine = Engine.LOCAL
    """Where everybody is ranked; one user is always ranked here."""

    def __post_init__(self) -> None:
        """Check what does not go together.

        Raises:
            InvalidOptionError: Nothing would be left to do, or it is asked for too early.
        """
        if self.only_train and (self.skip_training or self.dry_run):
            raise InvalidOptionError(
                "--only-train trains and stores; leave out --skip-training and --dry-run"
            )
        if self.only_train and self.user_id is not None:
            raise InvalidOptionError(
                "--only-train ranks nobody, and --user-id trains nothing; leave out one of them"
            )
        if self.as_of > self.now:
            raise InvalidOptionError(
                f"--as-of {self.as_of.isoformat()} lies in the future: what begins before it would"
                " be missing from the rankings; to rank as of now leave it out"
            )

    @property
    def trains(self) -> bool:
        """Whether a model is trained, which one user's ranking is no reason for.

        It would serve while all the others' rankings are still by the one before.
        """
        return not self.skip_training and self.user_id is None


@dataclass(frozen=True)
class Result:
    """What a recompute did."""

    model: str
    """Kind of the model that was trained, or that scored if none was."""
    model_version: str | None
    """What the published rankings were made by, or what was stored if none were."""
    activated: bool
    """Whether the model that was trained became the active one."""
    would_activate: bool
    """The same, also of a dry run, which activates nothing."""
    decision: str
    """Why, in words; empty without a training."""
    as_of: datetime
    users: int
    """Users who get rankings."""
    events: int
    """Events that may be shown to somebody."""
    positives: int
    """Registrations, favourites and clicks that were learned from."""
    judged: int
    """(user, fold) pairs that the metrics are means of."""
    metrics: dict[str, Metrics]
    """By system, ``model`` and the baselines; empty without an evaluation. Where nothing was
    trained, those of the stored model's training."""
    published: int
    """Users whose rankings were written."""
    active_has_seen: bool
    """Whether the active model was trained on days it is judged on, where it is too good."""
    seats: dict[str, Any]
    """What was found of scarce seats, without the single events; empty where nobody looked."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {**asdict(self), "as_of": self.as_of.isoformat()}


def recompute(request: Request, report: Report = silent, fence: Fence = unfenced) -> Result:
    """Train on what was known at an instant, evaluate, and publish everybody's rankings.

    Args:
        request: What to do.
        report: Told of the progress.
        fence: What must hold at the moment of publishing.

    Raises:
        EventLinkError: One of its kinds; nothing is then half-written.
    """
    if request.engine is Engine.RAY and request.user_id is None:
        require_cluster()
    with _alone(request) as conn:
        run = _read(conn, request, report)
        rng = np.random.default_rng(request.options.seed)
        trained = _train(run, rng, report) if request.trains else None
        winner = trained.scorer if trained and trained.decision.activate else None
        scorer = winner or stored_scorer(run.stored)
        if request.dry_run:
            return _result(run, scorer, trained)
        new = [_to_store(conn, run, trained.scorer, trained)] if trained else []
        if request.only_train:
            _keep(conn, new[0], fence)
            return _result(run, scorer, trained, new[0].model_version)
        if scorer.version is None and scorer is not winner:  # the prior, on a site without a model
            new.append(_to_store(conn, run, scorer, None, new))
        version = scorer.version or new[-1].model_version
        to_rank = _to_rank(conn, run, scorer, version, rng)
        published = rank_and_publish(conn, to_rank, Change(new, run.seen, fence), report)
    return _result(run, scorer, trained, version, published, to_rank.meta.get("seats"))


@contextmanager
def _alone(request: Request) -> Iterator[Connection]:
    """Connect; let one recompute run at a time, and remove what a killed one left.

    A dry run changes nothing, so it neither waits for another one nor is in its way.
    """
    with connection() as conn:
        with conn.begin():
            require_migrations(conn)
        if request.dry_run:
            yield conn
            return
        with recompute_lock(conn):
            clean_up()
            yield conn


@dataclass(frozen=True)
class _Run:
    """What one run hangs on: what is asked for, and what was found when it began."""

    request: Request
    stored: StoredModel | None
    """The active model."""
    seen: Serving
    data: Dataset
    """Everything, also what came after the instant."""
    keys: Keys
    snapshot: Snapshot
    """The instant."""
    users: Ints
    """Who gets a ranking."""


def _read(conn: Connection, request: Request, report: Report) -> _Run:
    """Read all there is, and check early what would otherwise fail after the training."""
    with conn.begin():
        if request.model_version and is_version_taken(conn, request.model_version):
            raise version_taken(request.model_version)
        seen = serving(conn)  # first, so that a change between the two is noticed
        stored = active_model(conn)
    report("reading the database", 0.0)
    data, keys = load_dataset()
    report("reading the database", 1.0)
    snapshot = Snapshot(data, request.as_of.timestamp())
    users = _users_to_rank(data, keys, request.user_id)
    _require_events(snapshot, request.as_of)
    return _Run(request, stored, seen, data, keys, snapshot, users)


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
        raise UnknownUserError(
            f"user {user_id} does not exist or is not an active student;"
            " some who are: eventlink show --sample 3"
        )
    return np.array([index], np.int32)


def _require_events(snapshot: Snapshot, as_of: datetime) -> None:
    if not snapshot.data.n_events:
        raise NoEventsError(
            "there are no events; bring some with: eventlink import DIR, or eventlink simulate"
        )
    if not snapshot.n_columns:
        raise NoEventsError(
            f"no published event that was known at {as_of.isoformat()} starts after it;"
            " publish events, or give another --as-of"
        )


def _train(run: _Run, rng: np.random.Generator, report: Report) -> Trained:
    request = run.request
    rule = Activate.NEVER if request.only_train else request.activate
    return train(
        run.data, run.snapshot, request.options, request.folds, run.stored, rule, rng, report
    )


def _to_store(
    conn: Connection,
    run: _Run,
    scorer: Scorer,
    trained: Trained | None,
    others: Sequence[StoredModel] = (),
) -> StoredModel:
    """Name a model and tell what is known of it.

    Args:
        conn: Outside of a transaction.
        run: What made it.
        scorer: The model.
        trained: What its training told; the prior had none here.
        others: What this run is to store as well.
    """
    request, known = run.request, run.snapshot.data
    meta: dict[str, Any] = {
        "options": request.options.to_json(),
        "as_of": request.as_of.isoformat(),
        "counts": {
            "users": known.n_users,
            "events": int(np.isfinite(known.events.start).sum()),
            "registrations": len(known.registrations),
            "favorites": len(known.favorites),
            "interactions": len(known.interactions),
        },
    }
    if trained is not None:
        meta |= {"trained_at": request.now.isoformat(), "folds": request.folds, **trained.meta()}
    version = request.model_version if trained else None
    if not version:
        version = new_version(conn, scorer, request.now, [model.model_version for model in others])
    return scorer.stored_as(version, meta)


def _keep(conn: Connection, model: StoredModel, fence: Fence) -> None:
    """Store a model that does not serve."""
    with conn.begin():
        fence(conn)
        store_model(conn, model, activate=False)


def _to_rank(
    conn: Connection, run: _Run, scorer: Scorer, version: str, rng: np.random.Generator
) -> ToRank:
    """Make a ranker that keeps the rules; tell what is told of a generation."""
    request, options, users = run.request, run.request.options, run.users
    features = Features(run.snapshot, scorer.forecast)
    ranker = Ranker(run.snapshot, features, scorer.model, users, rng, top_n=options.top_n)
    everybody = request.user_id is None
    if everybody:
        rules = rerank_everybody(ranker, users, options, options.seed, run.keys)
        meta = {"top_n": options.top_n, **rules}
    else:
        with conn.begin():
            of_generation = generation_meta(conn)
        rerank_some(ranker, users, options, options.seed, run.keys, of_generation)
        meta = {}
    return ToRank(
        ranker=ranker,
        users=users,
        everybody=everybody,
        keys=run.keys,
        top_n=options.top_n,
        engine=request.engine,
        model_version=version,
        now=request.now,
        meta=meta,
    )


def _result(
    run: _Run,
    scorer: Scorer,
    trained: Trained | None,
    version: str | None = None,
    published: int = 0,
    seats: dict[str, Any] | None = None,
) -> Result:
    would_activate = trained is not None and trained.decision.activate
    return Result(
        model=(trained.scorer if trained else scorer).model.kind,
        model_version=version,
        activated=would_activate and not run.request.dry_run,
        would_activate=would_activate,
        decision=trained.decision.reason if trained else "",
        as_of=run.request.as_of,
        users=len(run.users),
        events=int(run.snapshot.eligible.sum()),
        positives=trained.positives if trained else 0,
        judged=trained.judged if trained else 0,
        metrics=trained.metrics if trained else stored_metrics(run.stored),
        active_has_seen=trained is not None and trained.active_has_seen,
        published=published,
        seats={name: told for name, told in (seats or {}).items() if name != "events"},
    )
