"""Ranking metrics over full rankings, with binary relevance; never over sampled candidates.

What does not live here: which users and instants are judged (``recsys.evaluation``).

Sampled metrics reorder systems (Krichene and Rendle, KDD 2020), so none is offered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from eventlink.recsys.dataset import Bools, Floats, Ints

CUT = 10
LONG_CUT = 50


@dataclass(frozen=True)
class UserMetrics:
    """One value a (user, fold) pair, each of shape (n,)."""

    ndcg: Floats
    hit_rate: Floats
    recall: Floats
    recall_50: Floats
    mrr: Floats

    @classmethod
    def combined(
        cls, parts: Sequence["UserMetrics"], how: Callable[[Sequence[Floats]], Floats]
    ) -> "UserMetrics":
        """Make one of several, metric by metric.

        Args:
            parts: Of other pairs, to put one after the other, or of the same, to average.
            how: What becomes of the values that they have of a metric.
        """
        return cls(*(how([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def judge(ranking: Ints, relevant: Bools) -> UserMetrics:
    """Judge rankings.

    NDCG@10 has binary gain and discount 1/log2(rank + 1), with rank from 1; the ideal holds
    min(10, n) relevant events (Järvelin and Kekäläinen, TOIS 2002). A user without a ranking
    scores 0.

    Args:
        ranking: For each user the columns best first, shape (n, length); -1 fills up.
        relevant: What each user went on to register for, shape (n, n_columns).

    Returns:
        The metrics of each user.
    """
    shown = ranking[:, :LONG_CUT]
    hits = np.take_along_axis(relevant, np.maximum(shown, 0), axis=1) & (shown >= 0)
    total = relevant.sum(axis=1)
    discount = 1 / np.log2(np.arange(2, CUT + 2))
    gain = hits[:, :CUT] @ discount[: hits[:, :CUT].shape[1]]
    ideal = np.concatenate([[np.inf], np.cumsum(discount)])[np.minimum(total, CUT)]
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    found_10, found = hits[:, :CUT].sum(axis=1), hits.sum(axis=1)
    return UserMetrics(
        ndcg=gain / ideal,
        hit_rate=(found_10 > 0).astype(float),
        recall=found_10 / np.maximum(total, 1),
        recall_50=found / np.maximum(total, 1),
        mrr=1 / first,
    )


def coverage(shown: Ints, n_things: int) -> float:
    """Share of things that are shown to anybody.

    Args:
        shown: Indices of things, any shape; -1 is nothing.
        n_things: How many could have been shown.
    """
    return len(np.unique(shown[shown >= 0])) / max(n_things, 1)


def gini(shown: Ints, n_things: int) -> float:
    """Gini coefficient of exposure: 0 when all things are shown equally, near 1 when one is.

    Args:
        shown: Indices of things, any shape; -1 is nothing.
        n_things: How many could have been shown.
    """
    counts = np.sort(np.bincount(shown[shown >= 0].ravel(), minlength=n_things))
    if counts.sum() == 0:
        return 0.0
    place = np.arange(1, n_things + 1)
    return float(((2 * place - n_things - 1) * counts).sum() / (n_things * counts.sum()))


CONCENTRATION_SHARES = np.geomspace(0.0005, 1, 45)
"""Shares of things at which ``concentration`` is told: most of it happens among the first few."""


def concentration(shown: Ints, n_things: int) -> Floats:
    """Share of exposure that the most shown things have: the Lorenz curve from its upper end.

    Args:
        shown: Indices of things, any shape; -1 is nothing.
        n_things: How many could have been shown; at least 1.

    Returns:
        Their share for each of ``CONCENTRATION_SHARES`` of the things; 0 where nothing is shown.
    """
    counts = np.sort(np.bincount(shown[shown >= 0].ravel(), minlength=n_things))[::-1]
    total = np.concatenate([[0.0], np.cumsum(counts) / max(counts.sum(), 1)])
    found: Floats = np.interp(CONCENTRATION_SHARES * n_things, np.arange(n_things + 1), total)
    return found


def bootstrap_interval(
    values: Floats, users: Ints, rng: np.random.Generator, rounds: int = 1000
) -> tuple[float, float]:
    """95 % interval of a mean over (user, fold) pairs, resampling users.

    A user who appears in several folds is drawn with all of them, for their values hang together
    (Efron and Tibshirani, 1993, on clustered data). Give differences to compare two systems.

    Args:
        values: One value a pair, shape (n,).
        users: The user of each pair, shape (n,).
        rng: Source of the resampling.
        rounds: Number of resamples.

    Returns:
        Lower and upper end; both ``nan`` without values.
    """
    if len(values) == 0:
        return float("nan"), float("nan")
    _, group = np.unique(users, return_inverse=True)
    total = np.bincount(group, values)
    count = np.bincount(group)
    means = np.empty(rounds)
    for i in range(rounds):
        drawn = rng.integers(0, len(total), len(total))
        means[i] = total[drawn].sum() / count[drawn].sum()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
