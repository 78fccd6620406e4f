"""Warm: the crowd and a ranker fitted on it, kept in memory so that a refresh reads only persons.

What does not live here: when it is loaded again, and the refreshes (``services.refresh``).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy.special import logit

from eventlink.db.dataset import Keys, PersonsReader, load_dataset
from eventlink.db.models import StoredModel, active_model
from eventlink.db.overlay import last_scores
from eventlink.db.recommendations import Lists, generation_meta, served_since
from eventlink.db.refreshes import State, state
from eventlink.db.session import transaction
from eventlink.recsys.dataset import Dataset
from eventlink.recsys.features import Features
from eventlink.recsys.options import RerankingOptions, TrainOptions
from eventlink.recsys.ranking import Ranker
from eventlink.recsys.snapshot import Snapshot
from eventlink.recsys.spread import entering
from eventlink.services.reranking import rerank_some
from eventlink.services.training import stored_scorer

MOST_AGE = timedelta(minutes=15)
"""Demand goes on while the crowd in memory stays as it was."""


@dataclass(frozen=True)
class Warm:
    """What all refreshes share, as of an instant."""

    at: datetime
    state: State
    """Of model and catalogue when they were read."""
    stale_at: datetime
    """When it is too old, or another event becomes public."""
    keys: Keys
    ranker: Ranker | None
    """None where nobody can be ranked: no model, no student or no live event."""
    reader: PersonsReader
    top_n: int
    rng: np.random.Generator
    """Source of what exploration draws."""
    entering: list[Lists]
    """New events, for those into whose rankings they belong."""


def load(now: datetime, before: Warm | None = None) -> Warm:
    """Read the database, and compute and fit what all refreshes share.

    Args:
        now: Nothing of the crowd that is dated later is seen.
        before: What was loaded before; its events are not new.

    Raises:
        EventLinkError: The database is out of reach, or its active model is of another version.
    """
    with transaction() as conn:
        seen = state(conn, now)  # first, so that a change after it is noticed
        stored, meta = active_model(conn), generation_meta(conn)
    data, keys = load_dataset()
    crowd = Snapshot(data, now.timestamp())
    options = stored.meta.get("options", {}) if stored else {}
    seed = options.get("seed", TrainOptions.seed)
    ranker = _ranker(crowd, stored, np.random.default_rng(seed))
    if ranker is not None:
        rules = RerankingOptions(**meta.get("rules", {}))
        users = np.zeros(0, np.int32)
        rerank_some(ranker, users, rules, seed, keys, meta)
    top_n = options.get("top_n", TrainOptions.top_n)
    return Warm(
        at=now,
        state=seen,
        stale_at=_stale_at(data, now),
        keys=keys,
        ranker=ranker,
        reader=PersonsReader(crowd.data, keys),
        top_n=top_n,
        rng=np.random.default_rng([seed, int(crowd.as_of) % 2**63]),
        entering=[] if ranker is None else _entering(ranker, keys, top_n, seen, before),
    )


def _ranker(crowd: Snapshot, stored: StoredModel | None, rng: np.random.Generator) -> Ranker | None:
    users = np.flatnonzero(crowd.data.users.rankable).astype(np.int32)
    if stored is None or not len(users) or not crowd.n_columns:
        return None
    scorer = stored_scorer(stored)
    ranker = Ranker(crowd, Features(crowd, scorer.forecast), scorer.model, users, rng)
    ranker.rank(users[:1], 1)  # computes what is computed on first use
    return ranker


def _entering(
    ranker: Ranker, keys: Keys, top_n: int, seen: State, before: Warm | None
) -> list[Lists]:
    """Score the events that became public since the rankings were made."""
    with transaction() as conn:
        made_at = served_since(conn)
        user_ids, last = last_scores(conn, top_n)
    crowd = ranker.snapshot
    new = np.zeros(crowd.n_columns, np.bool_)
    if before is not None and before.ranker is not None:
        known = before.keys.events[before.ranker.snapshot.columns]
        new = ~np.isin(keys.events[crowd.columns], known)
    if made_at is not None and (before is None or before.state.generation != seen.generation):
        new |= crowd.data.events.created[crowd.columns] >= made_at.timestamp()
    columns = np.flatnonzero(new & crowd.eligible).astype(np.int32)
    if not len(columns):
        return []
    user = np.minimum(np.searchsorted(keys.users, user_ids), len(keys.users) - 1)
    found = keys.users[user] == user_ids
    parts = entering(ranker, columns, user[found].astype(np.int32), logit(last[found]))
    return [Lists(part, crowd.columns, keys) for part in parts if len(part.users)]


def _stale_at(data: Dataset, now: datetime) -> datetime:
    """Tell when what was read is too old, or another event has become public."""
    coming = data.events.created - now.timestamp()
    most = MOST_AGE.total_seconds()
    return now + timedelta(seconds=float(coming[coming >= 0].min(initial=most)) + 1)
