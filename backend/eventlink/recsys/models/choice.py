"""The arithmetic of choices: who chose what out of which group, how surprising that is, how likely.

What does not live here: any model.
"""

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from eventlink.recsys.dataset import DAY, Bools, Floats, Ints
from eventlink.recsys.examples import Examples
from eventlink.recsys.matrices import Dense

RARE = -6.0
"""Log-odds that some user registers for some event within a day, where they cannot be learned."""


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


def importance(examples: Examples, half_life_days: float) -> Dense:
    """Weigh groups by age, and by the best that came of them; mean 1, shape (number of groups,).

    Args:
        examples: Sorted by group.
        half_life_days: How fast an example loses weight with its age.
    """
    first = first_rows(examples)
    best = np.maximum.reduceat(examples.gain, first)
    weight = recency(examples, half_life_days)[first] * best
    scaled: Dense = (weight / weight.mean()).astype(np.float32)
    return scaled


def shares(gain: Dense, length: Ints) -> Dense:
    """Split one choice a group over what was chosen, by gain; 0 in a group where nothing was.

    Args:
        gain: Shape (n,); 0 where not chosen.
        length: Rows of each group; they sum to n.
    """
    begins = np.cumsum(length) - length
    total = np.add.reduceat(gain, begins)
    share: Dense = gain / np.repeat(np.where(total > 0, total, np.float32(1)), length)
    return share


def calibrate(margin: Dense, y: Bools, weight: Floats) -> tuple[float, float]:
    """Fit slope and intercept of a logistic regression on margins (Platt, 1999).

    Args:
        margin: Shape (n,).
        y: What happened.
        weight: How many pairs each stands for.

    Returns:
        Slope, above 0, and intercept of the log-odds. Where nothing tells the rate, because there
        are only clicks or only positives, the mean log-odds become ``RARE``.
    """
    if not 0 < (weight * y).sum() < weight.sum():
        return 1.0, RARE - float(margin.mean())
    design = np.stack([margin.astype(np.float64), np.ones(len(margin))], axis=1)
    start = np.array(set_level(margin, y, weight))
    slope, intercept = logistic(design, y, weight, start, np.zeros(2))
    # A slope at or below 0 means that nothing was learned; the order must not be turned round.
    return max(float(slope), 1e-3), float(intercept)


def logistic(design: Floats, y: Bools, weight: Floats, start: Floats, ridge: Floats) -> Floats:
    """Fit a logistic regression.

    Newton's method, each step halved until it leads downhill (Lin, Lin and Weng, Machine Learning
    2007): margins are far apart and registrations rare, where whole steps may lead astray.

    Args:
        design: Shape (n, k), the constant among it.
        y: What happened, shape (n,).
        weight: How many each stands for.
        start: Coefficients to start from, shape (k,).
        ridge: Of each squared coefficient half this is added to the negative log-likelihood.

    Returns:
        Coefficients, shape (k,).
    """

    def loss(found: Floats) -> float:
        log_odds = design @ found
        surprise = weight @ (np.logaddexp(0, log_odds) - y * log_odds)
        return float(surprise + ridge @ found**2 / 2)

    found = start.copy()
    for _ in range(50):
        p = expit(design @ found)
        gradient = design.T @ (weight * (p - y)) + ridge * found
        curvature = design.T @ (design * (weight * p * (1 - p))[:, None])
        step, now = np.linalg.solve(curvature + np.diag(ridge + 1e-9), gradient), loss(found)
        while np.abs(step).max() > 1e-9 and not loss(found - step) < now:
            step /= 2
        if np.abs(step).max() < 1e-9:
            break
        found -= step
    return found


def set_level(margin: Dense, y: Bools, weight: Floats) -> tuple[float, float]:
    """Fit the intercept alone, as ``calibrate`` does: as much is expected as happened.

    A handful of registrations tells how many there are, but not how bold a model may be.

    Args:
        margin: Shape (n,).
        y: What happened; both sorts of it.
        weight: How many pairs each stands for.

    Returns:
        1, the slope, and the intercept of the log-odds.
    """
    margin = margin.astype(np.float64)
    happened = float((weight * y).sum())

    def too_many(intercept: float) -> float:
        return float((weight * expit(margin + intercept)).sum()) - happened

    # Where all margins were the least, or the greatest, the rate would come of these.
    level = logit(happened / weight.sum())
    return 1.0, float(brentq(too_many, level - margin.max() - 1e-6, level - margin.min() + 1e-6))
