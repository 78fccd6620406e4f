"""Empirical Bayes: how far a thing's rate is drawn towards the site's, as the data themselves say.

What does not live here: the rates (``recsys.features``).
"""

import numpy as np

from eventlink.recsys.dataset import Floats
from eventlink.recsys.matrices import Dense

LEAST, MOST = 0.5, 100.0
"""Bounds of a strength, for a small site's estimate may be anything."""


def strength(
    total: Floats | Dense,
    number: Floats | Dense,
    site: Floats | Dense | float,
    variance: Floats | Dense | float,
) -> float:
    """Estimate what the site's mean weighs against a thing's own observations.

    The more the observations of one thing resemble each other, beyond what chance does, the less.
    A thing's mean is then ``drawn(total, number, site, strength)``, the posterior mean of the
    beta-binomial, and the best linear one of other rates. The estimate is by moments: 1 / rho - 1,
    where rho is the correlation of two observations of one thing (Kleinman, JASA 1973).

    Args:
        total: Sum of each thing's observations.
        number: How many observations each has.
        site: The mean of all; it may differ by place, as long as shapes broadcast.
        variance: Of a single observation, whatever thing it is of; m * (1 - m) for a share m.

    Returns:
        Observations, between ``LEAST`` and ``MOST``.
    """
    several = number > 1
    n = np.where(several, number, 2)
    excess = float((((total - n * site) ** 2 / n - variance) * several).sum())
    most = float(((n - 1) * variance * several).sum())
    if excess * MOST <= most:  # also where nothing has two observations
        return MOST
    return float(np.clip(most / excess - 1, LEAST, MOST))


def drawn(total: Floats, number: Floats, site: float, weight: float) -> Floats:
    """Draw means towards the site's, which weighs as much as some observations.

    Args:
        total: Sum of each thing's observations.
        number: How many observations each has.
        site: The mean of all.
        weight: A ``strength``.
    """
    means: Floats = (total + weight * site) / (number + weight)
    return means


def smoothed_shares(part: Floats, whole: Floats) -> Floats:
    """Divide counts by counts, drawn towards the site's share as far as ``strength`` says.

    Args:
        part: Of each thing's observations those that count, shape (n,).
        whole: All of them.
    """
    site = float(part.sum() / max(whole.sum(), 1.0))
    return drawn(part, whole, site, strength(part, whole, site, site * (1 - site)))
