"""Warm: the crowd and a ranker fitted on it, kept in memory so that a refresh reads only persons.

What does not live here: when it is loaded again, and the refreshes (``services.refresh``).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
from scipy.special import logit

from eventlink.db.dataset import load_dataset, load_events
from eventlink.db.keys import Ids, Keys
from eventlink.db.models import StoredModel, active_model
from eventlink.db.overlay import last_scores, later_last_scores
from eventlink.db.recommendations import Lists
from eventlink.db.refreshes import State, state
from eventlink.db.serving import generation_meta, served_since
from eventlink.db.session import transaction
from eventlink.recsys.dataset import Dataset
from eventlink.recsys.features import Features
from eventlink.recsys.matrices import Dense
from eventlink.recsys.options import RerankingOptions, TrainOptions
from eventlink.recsys.ranking import Ranker
from eventlink.recsys.renewal import renewed, unchanged
from eventlink.recsys.snapshot import Snapshot
from eventlink.recsys.spread import entering
from eventlink.services.reranking import rerank_some
from eventlink.services.scorers import stored_scorer

Ends: TypeAlias = tuple[Ids, Dense]

MOST_AGE = timedelta(minutes=15)
"""Demand goes on while the crowd in memory stays as it was."""


@dataclass(frozen=True)
class Warm:
    """What all refreshes share: the crowd as of an instant, and events, perhaps of a later one."""

    at: datetime
    """When everything but events was read."""
    state: State
    """Of model and catalogue when they were read."""
    stale_at: datetime
    """When it is too old, or another event becomes public."""
    data: Dataset
    """What was read, as it was read."""
    keys: Keys
    ranker: Ranker | None
    """None where nobody can be ranked: no model, no student or no live event."""
    top_n: int
    rng: np.random.Generator
    """Source of what exploration draws."""
    ends: Ends
    """Where the serving generation's rankings end: ids of users, and the last score of each."""
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
    # Of the rankings that serve, if they tell; their model may have been trained for others.
    top_n = meta.get("top_n", options.get("top_n", TrainOptions.top_n))
    ranker = _ranker(crowd, stored, np.random.default_rng(seed), top_n)
    if ranker is not None:
        _keep_rules(ranker, keys, stored, meta)
    warm = Warm(
        at=now,
        state=seen,
        stale_at=_stale_at(data, now, now),
        data=data,
        keys=keys,
        ranker=ranker,
        top_n=top_n,
        rng=np.random.default_rng([seed, int(crowd.as_of) % 2**63]),
        ends=_ends(seen, top_n, before),
        entering=[],
    )
    return replace(warm, entering=_entering(warm, before, now))


def renew(now: datetime, before: Warm) -> Warm:
    """Load again what has changed: only events where nothing else has, and all is not too old.

    Args:
        now: As in ``load``.
        before: What was loaded before.

    Raises:
        EventLinkError: As ``load`` does.
    """
    return _with_events_of(now, before) or load(now, before)


def _with_events_of(now: datetime, before: Warm) -> Warm | None:
    """Read events alone; None where that is not enough."""
    earlier = before.ranker
    if earlier is None or now >= before.at + MOST_AGE:
        return None
    with transaction() as conn:
        seen = state(conn, before.at)
        stored, meta = active_model(conn), generation_meta(conn)
    if seen.served != before.state.served:
        return None
    found = load_events(before.data, before.keys)
    if found is None:
        return None
    data, keys, to = found
    crowd = renewed(earlier.snapshot, data, now.timestamp(), to)
    if not crowd.n_columns:
        return None
    features = earlier.features.renewed(crowd, to)
    same = unchanged(earlier.snapshot, crowd, to)
    candidates = earlier.candidates.renewed(crowd, features, earlier.model, same, to.cities)
    users = np.flatnonzero(crowd.data.users.rankable).astype(np.int32)
    ranker = Ranker(crowd, features, earlier.model, users, before.rng, candidates, before.top_n)
    ranker.rank(users[:1], 1)  # computes what is computed on first use
    _keep_rules(ranker, keys, stored, meta)
    warm = replace(
        before,
        state=seen,
        stale_at=_stale_at(data, before.at, now),
        data=data,
        keys=keys,
        ranker=ranker,
    )
    return replace(warm, entering=_entering(warm, before, now))


def _ranker(
    crowd: Snapshot, stored: StoredModel | None, rng: np.random.Generator, top_n: int
) -> Ranker | None:
    users = np.flatnonzero(crowd.data.users.rankable).astype(np.int32)
    if stored is None or not len(users) or not crowd.n_columns:
        return None
    scorer = stored_scorer(stored)
    features = Features(crowd, scorer.forecast)
    ranker = Ranker(crowd, features, scorer.model, users, rng, top_n=top_n)
    ranker.rank(users[:1], 1)  # computes what is computed on first use
    return ranker


def _keep_rules(
    ranker: Ranker, keys: Keys, stored: StoredModel | None, meta: dict[str, Any]
) -> None:
    """Let a ranker keep the rules that the serving generation was made by."""
    options = stored.meta.get("options", {}) if stored else {}
    rules = RerankingOptions(**meta.get("rules", {}))
    users = np.zeros(0, np.int32)
    rerank_some(ranker, users, rules, options.get("seed", TrainOptions.seed), keys, meta)


def _ends(seen: State, top_n: int, before: Warm | None) -> Ends:
    """Read where the generation's rankings end, which takes seconds and is the same for good."""
    if before is not None and (before.state.generation, before.top_n) == (seen.generation, top_n):
        return before.ends
    with transaction() as conn:
        return last_scores(conn, top_n)


def _entering(warm: Warm, before: Warm | None, now: datetime) -> list[Lists]:
    """Score the events that became public since the rankings were made."""
    ranker, keys = warm.ranker, warm.keys
    if ranker is None:
        return []
    with transaction() as conn:
        made_at = served_since(conn)
        later = later_last_scores(conn, warm.top_n)
    crowd = ranker.snapshot
    new = np.zeros(crowd.n_columns, np.bool_)
    if before is not None and before.ranker is not None:
        known = before.keys.events[before.ranker.snapshot.columns]
        new = ~np.isin(keys.events[crowd.columns], known)
    # Entered events go with the rankings of a generation, and with the refreshed ones of a model.
    unseen = before is None or before.ranker is None or before.state.served != warm.state.served
    if made_at is not None and unseen:
        new |= crowd.data.events.created[crowd.columns] >= made_at.timestamp()
    columns = np.flatnonzero(new & crowd.eligible_at(now.timestamp())).astype(np.int32)
    if not len(columns):
        return []
    last = np.full(len(keys.users), np.nan, np.float32)
    for ids, scores in (warm.ends, later):
        place = np.minimum(np.searchsorted(keys.users, ids), len(keys.users) - 1)
        found = keys.users[place] == ids
        last[place[found]] = scores[found]
    users = np.flatnonzero(~np.isnan(last)).astype(np.int32)
    parts = entering(ranker, columns, users, logit(last[users]))
    return [Lists(part, crowd.columns, keys) for part in parts if len(part.users)]


def _stale_at(data: Dataset, at: datetime, now: datetime) -> datetime:
    """Tell when what was read at an instant is too old, or another event has become public."""
    coming = data.events.created - now.timestamp()
    most = (at + MOST_AGE - now).total_seconds()
    return now + timedelta(seconds=float(coming[coming >= 0].min(initial=most)) + 1)
