"""The arithmetic of choices: who chose what out of which group, how surprising that is, how likely.

What does not live here: any model.
"""

import numpy as np
from scipy.special import expit

from eventlink.recsys.dataset import DAY, Bools, Floats, Ints
from eventlink.recsys.examples import Examples
from eventlink.recsys.snapshot import Dense


def recency(examples: Examples, half_life_days: float) -> Floats:
    """Weigh examples by age: 1 at the latest instant, one half a half-life before it."""
    weights: Floats = np.exp2((examples.at - examples.at.max()) / (half_life_days * DAY))
    return weights


def first_rows(examples: Examples) -> Ints:
    """Find the first row of every group."""
    rows: Ints = np.flatnonzero(np.diff(examples.group, prepend=-1)).astype(np.int32)
    return rows


def rows_of(first: Ints, length: Ints) -> Ints:
    """List the rows of groups, one group after the other."""
    begins = np.cumsum(length) - length
    rows: Ints = (np.arange(length.sum()) + np.repeat(first - begins, length)).astype(np.int32)
    return rows


def softmax(margin: Dense, length: Ints) -> Dense:
    """Turn margins of consecutive groups into probabilities that sum to 1 in each group.

    Args:
        margin: Shape (n,).
        length: Rows of each group; they sum to n.
    """
    begins = np.cumsum(length) - length
    odds = np.exp(margin - np.repeat(np.maximum.reduceat(margin, begins), length))
    probability: Dense = odds / np.repeat(np.add.reduceat(odds, begins), length)
    return probability


def shares(y: Bools, length: Ints) -> Dense:
    """Split one choice a group evenly over what was chosen; 0 in a group where nothing was."""
    begins = np.cumsum(length) - length
    chosen = y.astype(np.float32)
    share: Dense = chosen / np.repeat(np.maximum(np.add.reduceat(chosen, begins), 1), length)
    return share


def calibrate(margin: Dense, y: Bools, weight: Floats) -> tuple[float, float]:
    """Fit slope and intercept of a logistic regression on margins (Platt, 1999).

    Newton's method.

    Args:
        margin: Shape (n,).
        y: What happened; something must and something must not have.
        weight: How many pairs each stands for.

    Returns:
        Slope, above 0, and intercept of the log-odds.
    """
    design = np.stack([margin.astype(np.float64), np.ones(len(margin))], axis=1)
    rate = (weight * y).sum() / weight.sum()
    found = np.array([1.0, np.log(rate / (1 - rate)) - margin.mean()])
    for _ in range(50):
        p = expit(design @ found)
        gradient = design.T @ (weight * (p - y))
        curvature = design.T @ (design * (weight * p * (1 - p))[:, None]) + 1e-9 * np.eye(2)
        step = np.clip(np.linalg.solve(curvature, gradient), -2.0, 2.0)
        found -= step
        if np.abs(step).max() < 1e-9:
            break
    slope, intercept = found
    # A slope at or below 0 means that nothing was learned; the order must not be turned round.
    return max(float(slope), 1e-3), float(intercept)
