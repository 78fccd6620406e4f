"""Re-ranking: give a ranker the rules of the options, and what they need to know of seats.

What does not live here: the rules (``recsys.reranking``) and where what is told here is stored
(``db.recommendations``).
"""

from dataclasses import fields
from typing import Any

import numpy as np

from eventlink.db.keys import Keys
from eventlink.recsys.dataset import Floats, Ints
from eventlink.recsys.options import RerankingOptions
from eventlink.recsys.ranking import Ranker
from eventlink.recsys.reranking import Reranker
from eventlink.recsys.seats import Scarcity, scarcity


def rerank_everybody(
    ranker: Ranker, users: Ints, options: RerankingOptions, seed: int, keys: Keys
) -> dict[str, Any]:
    """Let a ranker keep the rules; tell which events' seats are scarce.

    Args:
        ranker: Will rank by the rules.
        users: All who will be ranked.
        options: Which rules.
        seed: Of all draws; together with the instant, or every day would draw the same.
        keys: Of the ranker's Dataset.

    Returns:
        What a generation's ``meta`` tells: the rules, and each event that is held back with the
        seats left, the registrations to expect, and what its scores are worth.
    """
    rng = _rng(ranker, seed)
    ranker.reranker = Reranker.of(ranker.features, options, users, rng)
    rules = {field.name: getattr(options, field.name) for field in fields(RerankingOptions)}
    if not options.seat_strength:
        return {"rules": rules}
    found = scarcity(ranker, users, options.head, options.seat_strength, rng)
    _damp(ranker, options, found.damping(ranker.snapshot.n_columns))
    return {"rules": rules, "seats": _told(found, keys, ranker.snapshot.columns)}


def rerank_some(
    ranker: Ranker,
    users: Ints,
    options: RerankingOptions,
    seed: int,
    keys: Keys,
    meta: dict[str, Any],
) -> None:
    """Let a ranker keep the rules for a few users, with the scarcity that was found for everybody.

    Args:
        ranker: Will rank by the rules.
        users: Who will be ranked.
        options: Which rules.
        seed: Of all draws.
        keys: Of the ranker's Dataset.
        meta: That of the serving generation.
    """
    ranker.reranker = Reranker.of(ranker.features, options, users, _rng(ranker, seed))
    events = meta.get("seats", {}).get("events", [])
    if not (options.seat_strength and events):
        return
    ids = keys.events[ranker.snapshot.columns]
    factor = dict.fromkeys(ids.tolist(), 1.0)
    factor |= {event["event_id"]: event["factor"] for event in events}
    _damp(ranker, options, np.array([factor[event_id] for event_id in ids.tolist()]))


def _rng(ranker: Ranker, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, int(ranker.snapshot.as_of) % 2**63])


def _damp(ranker: Ranker, options: RerankingOptions, damping: Floats) -> None:
    if (damping < 1).any():
        ranker.reranker = ranker.reranker or Reranker(ranker.features, options)
        ranker.reranker.damping = damping.astype(np.float32)


def _told(found: Scarcity, keys: Keys, columns: Ints) -> dict[str, Any]:
    scarce = np.flatnonzero(found.factor < 1)
    worst_first = scarce[np.argsort(found.factor[scarce], kind="stable")]
    return {
        "limited": len(found.columns),
        "held_back": len(scarce),
        "seats_left": int(found.left[scarce].sum()),
        "expected_demand": round(float(found.demand[scarce].sum()), 1),
        "events": [
            {
                "event_id": int(keys.events[columns[found.columns[place]]]),
                "seats_left": int(found.left[place]),
                "expected_demand": round(float(found.demand[place]), 2),
                "factor": float(found.factor[place]),
            }
            for place in worst_first.tolist()
        ],
    }
