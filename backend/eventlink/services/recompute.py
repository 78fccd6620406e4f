"""Recompute: train, evaluate, rank everybody, publish. The nightly job, told top to bottom.

What does not live here: the mathematics (``recsys``), the SQL (``db``), the clock (the callers).
"""

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from sqlalchemy import Connection

from eventlink.config import revision
from eventlink.db.dataset import load_dataset
from eventlink.db.explorations import Explored, explored, store_explorations
from eventlink.db.keys import Keys
from eventlink.db.models import (
    StoredModel,
    active_model,
    is_version_taken,
    store_model,
    version_taken,
)
from eventlink.db.overlay import store_refreshed
from eventlink.db.recommendations import (
    Lists,
    begin_generation,
    build_generation,
    clean_up,
    finish_generation,
    recompute_lock,
    serve_generation,
)
from eventlink.db.refreshes import mark_overtaken
from eventlink.db.serving import Serving, generation_meta, require_unchanged, serving
from eventlink.db.session import connection, require_migrations
from eventlink.errors import InvalidOptionError, NoEventsError, NoUsersError, UnknownUserError
from eventlink.recsys.dataset import Dataset, Ints
from eventlink.recsys.features import Features
from eventlink.recsys.options import FOLDS, Activate, TrainOptions
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.ranking import Ranker
from eventlink.recsys.snapshot import Snapshot
from eventlink.services.cluster import cluster, require_cluster
from eventlink.services.reranking import rerank_everybody, rerank_some
from eventlink.services.shards import cut, work_of
from eventlink.services.training import (
    Metrics,
    Scorer,
    Trained,
    stored_metrics,
    stored_scorer,
    train,
)

Fence: TypeAlias = Callable[[Connection], None]
"""Run inside the transaction that publishes; raises if whoever asked may not publish any more."""


def unfenced(_conn: Connection) -> None:
    """Let everybody publish."""


class Engine(StrEnum):
    """Where everybody is ranked; the result is the same."""

    LOCAL = "local"
    RAY = "ray"


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
        if self.as_of > self.now:
            raise InvalidOptionError(
                f"--as-of {self.as_of.isoformat()} lies in the future: what begins before it would"
                " be missing from the rankings; leave it out for now"
            )
        if self.only_train and (self.skip_training or self.dry_run):
            raise InvalidOptionError(
                "--only-train trains and stores; leave out --skip-training and --dry-run"
            )
        if self.only_train and self.user_id is not None:
            raise InvalidOptionError(
                "--only-train ranks nobody, and --user-id trains nothing; leave out one of them"
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
    with connection() as conn:
        with conn.begin():
            require_migrations(conn)
        with _alone(conn, request):
            stored, seen = _stored_model(conn, request)
            report("reading the database", 0.0)
            data, keys = load_dataset()
            report("reading the database", 1.0)
            snapshot = Snapshot(data, request.as_of.timestamp())
            users = _users_to_rank(data, keys, request.user_id)
            _require_events(data, snapshot, request.as_of)
            rng = np.random.default_rng(request.options.seed)
            if request.trains:
                trained = train(
                    data,
                    snapshot,
                    request.options,
                    request.folds,
                    stored,
                    Activate.NEVER if request.only_train else request.activate,
                    rng,
                    report,
                )
                may_serve = trained.decision.activate
                scorer = trained.scorer if may_serve else stored_scorer(stored)
            else:
                trained, scorer = None, stored_scorer(stored)
            published, meta = None, {}
            if request.only_train and trained is not None:
                published = _keep(conn, request, trained, data, fence), 0
            elif not request.dry_run:
                features = Features(snapshot, scorer.forecast)
                top_n = request.options.top_n
                ranker = Ranker(snapshot, features, scorer.model, users, rng, top_n=top_n)
                meta = _rerank(conn, ranker, request, users, keys)
                to_rank = _ToRank(ranker, users, keys, request.options.top_n, meta)
                published = _rank_and_publish(
                    conn, request, scorer, trained, data, to_rank, report, seen, fence
                )
    metrics = trained.metrics if trained else stored_metrics(stored)
    return _result(request, snapshot, users, scorer, trained, metrics, published, meta)


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


def _stored_model(conn: Connection, request: Request) -> tuple[StoredModel | None, Serving]:
    with conn.begin():
        if request.model_version and is_version_taken(conn, request.model_version):
            raise version_taken(request.model_version)
        seen = serving(conn)  # first, so that a change between the two is noticed
        return active_model(conn), seen


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


def _rerank(
    conn: Connection, ranker: Ranker, request: Request, users: Ints, keys: Keys
) -> dict[str, Any]:
    """Let the ranker keep the rules; return what is told of a generation."""
    options = request.options
    if request.user_id is None:
        rules = rerank_everybody(ranker, users, options, options.seed, keys)
        return {"top_n": options.top_n, **rules}
    with conn.begin():
        meta = generation_meta(conn)
    rerank_some(ranker, users, options, options.seed, keys, meta)
    return {}


@dataclass(frozen=True)
class _ToRank:
    """Whom to rank, and how."""

    ranker: Ranker
    users: Ints
    keys: Keys
    top_n: int
    meta: dict[str, Any]
    """What is told of a generation."""


@dataclass
class _Ranked:
    """What came of it, besides the lists themselves."""

    users: int = 0
    drawn: list[Explored] = field(default_factory=list)


def _lists(to_rank: _ToRank, ranked: _Ranked, report: Report) -> Generator[Lists, None, None]:
    """Rank on all cores of this machine; note what is given away."""
    ranker = to_rank.ranker
    for rankings in ranker.rank_all(to_rank.users, to_rank.top_n, report):
        lists = Lists(rankings, ranker.snapshot.columns, to_rank.keys)
        ranked.users += len(rankings.users)
        ranked.drawn.append(explored(lists))
        yield lists


def _build(
    conn: Connection, version: str, request: Request, to_rank: _ToRank, report: Report
) -> tuple[int, _Ranked]:
    """Rank everybody into a generation that nobody points at yet; return its number."""
    if request.engine is Engine.RAY:
        return _build_on_cluster(conn, version, request, to_rank, report)
    report("ranking users", 0.0)
    ranked = _Ranked()
    with closing(_lists(to_rank, ranked, report)) as lists:
        generation = build_generation(conn, version, request.now, lists, to_rank.meta)
    return generation, ranked


def _build_on_cluster(
    conn: Connection, version: str, request: Request, to_rank: _ToRank, report: Report
) -> tuple[int, _Ranked]:
    ranker, users, keys = to_rank.ranker, to_rank.users, to_rank.keys
    report("starting Ray", 0.0)
    with cluster() as machines:
        report("starting Ray", 1.0)
        report("ranking users", 0.0)
        generation = begin_generation(conn, version, request.now, to_rank.meta)
        work = work_of(generation, ranker, users, keys, to_rank.top_n)
        drawn = machines.make(work, cut(ranker, users, keys, machines.cpus), report)
        return generation, _Ranked(finish_generation(conn, generation), drawn)


def _rank_and_publish(
    conn: Connection,
    request: Request,
    scorer: Scorer,
    trained: Trained | None,
    data: Dataset,
    to_rank: _ToRank,
    report: Report,
    seen: Serving,
    fence: Fence,
) -> tuple[str, int]:
    """Rank, and then let model and rankings change at once; return version and user count."""
    new: dict[str, Scorer] = {}
    if trained is not None:
        new[_new_version(conn, request.model_version, trained.scorer, request.now)] = trained.scorer
    if scorer.version is None and scorer not in new.values():
        new[_new_version(conn, None, scorer, request.now, new)] = scorer
    version = scorer.version or next(name for name, made in new.items() if made is scorer)
    generation, ranked = None, _Ranked()
    if request.user_id is None:
        generation, ranked = _build(conn, version, request, to_rank, report)
    report("publishing", 0.0)
    with conn.begin():
        require_unchanged(conn, seen)
        fence(conn)
        if generation is not None:
            serve_generation(conn, generation)
        else:
            for part in _lists(to_rank, ranked, report):
                store_refreshed(conn, version, request.now, part)
        store_explorations(conn, version, request.now, ranked.drawn)
        for name, made in new.items():
            found = trained.meta() if trained and made is trained.scorer else {}
            model = _to_store(name, request, made, found, data)
            store_model(conn, model, activate=made is scorer)
        if generation is not None:
            # After the new model is active: refreshes under way by the old one were waited for.
            mark_overtaken(conn)
    clean_up()
    report("publishing", 1.0)
    return version, ranked.users


def _keep(conn: Connection, request: Request, trained: Trained, data: Dataset, fence: Fence) -> str:
    """Store a model that does not serve; return its version."""
    version = _new_version(conn, request.model_version, trained.scorer, request.now)
    with conn.begin():
        fence(conn)
        model = _to_store(version, request, trained.scorer, trained.meta(), data)
        store_model(conn, model, activate=False)
    return version


def _new_version(
    conn: Connection,
    wanted: str | None,
    scorer: Scorer,
    now: datetime,
    chosen: Collection[str] = (),
) -> str:
    """Name a model by kind and date; a second one of the same second gets a number.

    Names that this run has chosen are taken too, though not stored yet.
    """
    if wanted:
        return wanted
    name = f"{scorer.model.kind}-{now.astimezone(UTC):%Y%m%dT%H%M%S}"
    with conn.begin():
        candidate, number = name, 2
        while candidate in chosen or is_version_taken(conn, candidate):
            candidate, number = f"{name}-{number}", number + 1
    return candidate


def _to_store(
    version: str, request: Request, scorer: Scorer, found: dict[str, Any], data: Dataset
) -> StoredModel:
    known = data.before(request.as_of.timestamp())
    meta = {
        "options": request.options.to_json(),
        "as_of": request.as_of.isoformat(),
        # The prior that ranks a site where nothing was trained yet has no such date.
        **({"trained_at": request.now.isoformat(), "folds": request.folds} if found else {}),
        "counts": {
            "users": known.n_users,
            "events": int(np.isfinite(known.events.start).sum()),
            "registrations": len(known.registrations),
            "favorites": len(known.favorites),
            "interactions": len(known.interactions),
        },
        **found,
        "revision": revision(),
    }
    return StoredModel(version, list(scorer.model.feature_names_), scorer.to_json(), meta)


def _result(
    request: Request,
    snapshot: Snapshot,
    users: Ints,
    scorer: Scorer,
    trained: Trained | None,
    metrics: dict[str, Metrics],
    published: tuple[str, int] | None,
    meta: dict[str, Any],
) -> Result:
    version, count = published or (None, 0)
    would_activate = trained is not None and trained.decision.activate
    seats = meta.get("seats", {})
    return Result(
        model=(trained.scorer if trained else scorer).model.kind,
        model_version=version,
        activated=would_activate and not request.dry_run,
        would_activate=would_activate,
        decision=trained.decision.reason if trained else "",
        as_of=request.as_of,
        users=len(users),
        events=int(snapshot.eligible.sum()),
        positives=trained.positives if trained else 0,
        judged=trained.judged if trained else 0,
        metrics=metrics,
        active_has_seen=trained is not None and trained.active_has_seen,
        published=count,
        seats={name: told for name, told in seats.items() if name != "events"},
    )
