"""Selecting the largest values of rows, the same ones whatever else is computed beside them.

What does not live here: what the values mean.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import Ints

Values = npt.NDArray[np.floating[Any]]


def largest(values: Values, size: int) -> Ints:
    """Find the largest values of every row; of equal ones the first.

    Args:
        values: Shape (n, width), no ``nan``.
        size: At most width.

    Returns:
        Their places, ascending in each row, shape (n, size).
    """
    n, width = values.shape
    if size == width:
        return np.tile(np.arange(width, dtype=np.int32), (n, 1))
    least = np.partition(values, width - size, axis=1)[:, width - size, None]
    chosen, equal = values > least, values == least
    missing = size - np.count_nonzero(chosen, axis=1)
    row, place = np.nonzero(equal)
    begin = np.searchsorted(row, np.arange(n))
    first = np.arange(len(row)) - begin[row] < missing[row]
    chosen[row[first], place[first]] = True
    return np.nonzero(chosen)[1].astype(np.int32).reshape(n, size)


def best_first(values: Values, size: int) -> Ints:
    """Order the largest values of every row, largest first; of equal ones the first is first.

    Args:
        values: Shape (n, width), no ``nan``.
        size: How many; all of them if width is less.

    Returns:
        Their places, shape (n, min(size, width)).
    """
    places = largest(values, min(size, values.shape[1]))
    order = np.argsort(-np.take_along_axis(values, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)
