"""Logistic regression: from a model's log-odds to those of what happens.

What does not live here: which terms a calibration has (``models.calibrated``).
"""

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from eventlink.recsys.dataset import Bools, Floats
from eventlink.recsys.matrices import Dense

RARE = -6.0
"""Log-odds that some user registers for some event within a day, where they cannot be learned."""


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
