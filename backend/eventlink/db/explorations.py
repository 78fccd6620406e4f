"""The chances with which explored events were drawn: kept for estimates, beyond their ranking.

What does not live here: the drawing (``recsys.exploration``), the rankings themselves
(``db.recommendations``), and reading the chances of a list that is served (``db.served``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import Connection, delete, text

from eventlink.db.keys import Ids
from eventlink.db.recommendations import Lists, event_ids
from eventlink.db.tables import RecommendationExploration
from eventlink.recsys.matrices import Dense

KEPT = timedelta(days=90)
"""How long a draw can be looked up by what came of it."""

# Who was erased while the ranking was made is left out, and nobody can be before the commit.
STORE = text(
    """
    INSERT INTO recommendation_explorations
           (user_id, generated_at, event_id, model_version, rank, propensity)
    SELECT users.id, :generated_at, events.id, :model_version, drawn.rank, drawn.propensity
      FROM unnest(CAST(:users AS bigint[]), CAST(:events AS bigint[]),
                  CAST(:ranks AS smallint[]), CAST(:propensities AS real[]))
           AS drawn (user_id, event_id, rank, propensity)
      JOIN users ON users.id = drawn.user_id
      JOIN events ON events.id = drawn.event_id
       FOR KEY SHARE OF users, events
        ON CONFLICT DO NOTHING
    """
)


@dataclass(frozen=True)
class Explored:
    """The places of some rankings that were drawn, each of shape (n,)."""

    users: Ids
    events: Ids
    ranks: Ids
    """From 1."""
    propensities: Dense


def explored(lists: Lists) -> Explored:
    """Pick the drawn places out of rankings.

    Args:
        lists: Rankings, with or without drawn places.
    """
    ranked = lists.rankings
    chances = np.ones(ranked.columns.shape, np.float32)
    if ranked.propensities is not None:
        chances = ranked.propensities
    row, place = np.nonzero((chances < 1) & (ranked.columns >= 0))
    return Explored(
        users=lists.keys.users[ranked.users[row]],
        events=event_ids(lists)[row, place],
        ranks=place + 1,
        propensities=chances[row, place],
    )


def store_explorations(
    conn: Connection, model_version: str, generated_at: datetime, parts: Sequence[Explored]
) -> None:
    """Keep what was drawn, and forget what was drawn long ago.

    Args:
        conn: Inside the transaction that serves the rankings.
        model_version: What made the rankings.
        generated_at: That of the rankings.
        parts: What was drawn.
    """
    table = RecommendationExploration
    conn.execute(delete(table).where(table.generated_at < generated_at - KEPT))
    for part in parts:
        if len(part.users):
            conn.execute(
                STORE,
                {
                    "generated_at": generated_at,
                    "model_version": model_version,
                    "users": part.users.tolist(),
                    "events": part.events.tolist(),
                    "ranks": part.ranks.tolist(),
                    "propensities": part.propensities.tolist(),
                },
            )
