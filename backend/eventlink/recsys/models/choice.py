"""The arithmetic of choices: who chose what out of which group, and how much that weighs.

What does not live here: any model.
"""

import numpy as np

from eventlink.recsys.dataset import DAY, Floats, Ints
from eventlink.recsys.examples import Examples
from eventlink.recsys.matrices import Dense

POWER_OF_CROWD = -0.25
"""Power of the number of registrations for an event on one day that each of them is weighed by: 0
takes them for independent, -1 all of them for one. Measured, not derived."""


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
    """Weigh groups by age, by the best that came of them, and by how many chose the same.

    People come in a crowd, or because of one mail: what n of them chose on one day is less evidence
    than n choices of their own, and more than one. Of lists nobody knows; they weigh in full.

    Args:
        examples: Sorted by group.
        half_life_days: How fast an example loses weight with its age.

    Returns:
        Shape (number of groups,), mean 1.
    """
    first = first_rows(examples)
    length: Ints = np.diff(np.append(first, len(examples))).astype(np.int32)
    evidence = np.maximum(examples.together, 1.0) ** POWER_OF_CROWD
    best = np.maximum.reduceat(examples.gain, first)
    weight = recency(examples, half_life_days)[first] * best
    weight *= np.add.reduceat(shares(examples.gain, length) * evidence, first)
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
