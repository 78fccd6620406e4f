"""The gate: whether a newly trained model may take the place of the active one.

What does not live here: the evaluation whose outcomes are compared (``recsys.evaluation``).
"""

from dataclasses import dataclass

import numpy as np

from eventlink.recsys.dataset import Bools
from eventlink.recsys.evaluation import Outcome
from eventlink.recsys.metrics import bootstrap_interval

MOST_LOSS = 0.02
"""Share of the active model's NDCG@10 that a slice may surely lose."""
LEAST_PAIRS = 30
"""A comparison over fewer (user, day) pairs says nothing."""


@dataclass(frozen=True)
class Comparison:
    """The new model against the active one on the same pairs."""

    name: str
    pairs: int
    new: float
    """NDCG@10."""
    active: float
    interval: tuple[float, float]
    """95 % interval of new less active, resampling users."""


@dataclass(frozen=True)
class Decision:
    """What the gate decided, and why."""

    activate: bool
    reason: str
    comparisons: tuple[Comparison, ...] = ()
    """All pairs first, then the slices."""


def decide(new: Outcome, active: Outcome, fair: Bools, rng: np.random.Generator) -> Decision:
    """Decide whether a new model is activated.

    It is not if it is surely worse: if the 95 % interval of its paired difference to the active
    model lies below zero, over all users, or below a loss of 2 % in a slice of users. "Surely",
    because a nightly gate that compared bare means would refuse every other night for nothing.

    Args:
        new: Outcome of the new model, trained before each fold.
        active: Outcome of the active model on the same pairs.
        fair: For each pair, whether the active model was trained before its fold; it has seen the
            answers of the others.
        rng: Source of the bootstrap.
    """
    slices = {"all": np.ones(len(fair), dtype=bool), **new.slices()}
    comparisons = tuple(
        _compare(name, new, active, fair & which, rng)
        for name, which in slices.items()
        if (fair & which).sum() >= LEAST_PAIRS
    )
    if not comparisons:
        return Decision(True, "too little has happened since the active model was trained to judge")
    for comparison in comparisons:
        allowed = 0.0 if comparison.name == "all" else -MOST_LOSS * comparison.active
        if comparison.interval[1] < allowed:
            return Decision(False, f"worse on {_told(comparison)}", comparisons)
    return Decision(True, f"not worse on {_told(comparisons[0])}", comparisons)


def _compare(
    name: str, new: Outcome, active: Outcome, which: Bools, rng: np.random.Generator
) -> Comparison:
    difference = new.metrics.ndcg[which] - active.metrics.ndcg[which]
    return Comparison(
        name=name,
        pairs=int(which.sum()),
        new=new.mean("ndcg", which),
        active=active.mean("ndcg", which),
        interval=bootstrap_interval(difference, new.users[which], rng),
    )


def _told(comparison: Comparison) -> str:
    low, high = comparison.interval
    return (
        f"{comparison.name} ({comparison.pairs} pairs): NDCG@10 {comparison.new:.4f} against"
        f" {comparison.active:.4f}, difference {low:+.4f} to {high:+.4f}"
    )
