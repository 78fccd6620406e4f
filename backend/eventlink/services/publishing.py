"""Publishing: users are ranked, and then model and rankings change at once.

What does not live here: which model ranks (``services.recompute``), the ranking itself
(``recsys.ranking``), how lists are stored (``db.recommendations``, ``db.overlay``), and what is
done for a shard on another machine (``services.shards``).
"""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from sqlalchemy import Connection

from eventlink.db.explorations import Explored, explored, store_explorations
from eventlink.db.keys import Keys
from eventlink.db.models import StoredModel, store_model
from eventlink.db.overlay import store_refreshed
from eventlink.db.recommendations import (
    Lists,
    begin_generation,
    build_generation,
    clean_up,
    finish_generation,
    serve_generation,
)
from eventlink.db.refreshes import mark_overtaken
from eventlink.db.serving import Serving, require_unchanged
from eventlink.recsys.dataset import Ints
from eventlink.recsys.progress import Report
from eventlink.recsys.ranking import Ranker
from eventlink.services.cluster import cluster
from eventlink.services.shards import cut, work_of

Fence: TypeAlias = Callable[[Connection], None]
"""Run inside the transaction that publishes; raises if whoever asked may not publish any more."""


def unfenced(_conn: Connection) -> None:
    """Let everybody publish."""


class Engine(StrEnum):
    """Where everybody is ranked; the result is the same."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True)
class ToRank:
    """Whom to rank, and how; and how what comes of it is signed."""

    ranker: Ranker
    users: Ints
    everybody: bool
    """Whether a generation is made; if not, these users' rankings are replaced."""
    keys: Keys
    top_n: int
    engine: Engine
    """Of everybody; some users are always ranked here."""
    model_version: str
    """Of the model that ranks."""
    now: datetime
    """Dates the rankings."""
    meta: dict[str, Any]
    """What is told of a generation."""


@dataclass(frozen=True)
class Change:
    """What changes together with the rankings, and what must hold then."""

    models: list[StoredModel]
    """Are stored; the one that ranks, if it is among them, becomes the active one."""
    seen: Serving
    """Must serve still."""
    fence: Fence


@dataclass
class _Ranked:
    """What came of it, besides the lists themselves."""

    users: int = 0
    drawn: list[Explored] = field(default_factory=list)


def rank_and_publish(conn: Connection, to_rank: ToRank, change: Change, report: Report) -> int:
    """Rank, and then let model and rankings change at once; return how many users were ranked.

    Args:
        conn: Outside of a transaction.
        to_rank: Whom, and how.
        change: What changes with the rankings.
        report: Told of the progress.

    Raises:
        PublishRefusedError: Something else serves by now, or a score is not a number.
        EventLinkError: The fence's, or the cluster's.
    """
    version, now = to_rank.model_version, to_rank.now
    generation, ranked = None, _Ranked()
    if to_rank.everybody:
        generation, ranked = _build(conn, to_rank, report)
    report("publishing", 0.0)
    with conn.begin():
        require_unchanged(conn, change.seen)
        change.fence(conn)
        if generation is not None:
            serve_generation(conn, generation)
        else:
            for part in _lists(to_rank, ranked, report):
                store_refreshed(conn, version, now, part)
        store_explorations(conn, version, now, ranked.drawn)
        for model in change.models:
            store_model(conn, model, activate=model.model_version == version)
        if generation is not None:
            # After the new model is active: refreshes under way by the old one were waited for.
            mark_overtaken(conn)
    clean_up()
    report("publishing", 1.0)
    return ranked.users


def _build(conn: Connection, to_rank: ToRank, report: Report) -> tuple[int, _Ranked]:
    """Rank everybody into a generation that nobody points at yet; return its number."""
    if to_rank.engine is Engine.RAY:
        return _build_on_cluster(conn, to_rank, report)
    report("ranking users", 0.0)
    ranked = _Ranked()
    with closing(_lists(to_rank, ranked, report)) as lists:
        version, now, meta = to_rank.model_version, to_rank.now, to_rank.meta
        generation = build_generation(conn, version, now, lists, meta)
    return generation, ranked


def _lists(to_rank: ToRank, ranked: _Ranked, report: Report) -> Generator[Lists, None, None]:
    """Rank on all cores of this machine; note what is given away."""
    ranker = to_rank.ranker
    for rankings in ranker.rank_all(to_rank.users, to_rank.top_n, report):
        lists = Lists(rankings, ranker.snapshot.columns, to_rank.keys)
        ranked.users += len(rankings.users)
        ranked.drawn.append(explored(lists))
        yield lists


def _build_on_cluster(conn: Connection, to_rank: ToRank, report: Report) -> tuple[int, _Ranked]:
    ranker, users, keys = to_rank.ranker, to_rank.users, to_rank.keys
    report("starting Ray", 0.0)
    with cluster() as machines:
        report("starting Ray", 1.0)
        report("ranking users", 0.0)
        generation = begin_generation(conn, to_rank.model_version, to_rank.now, to_rank.meta)
        work = work_of(generation, ranker, users, keys, to_rank.top_n)
        drawn = machines.make(work, cut(ranker, users, keys, machines.cpus), report)
        return generation, _Ranked(finish_generation(conn, generation), drawn)
