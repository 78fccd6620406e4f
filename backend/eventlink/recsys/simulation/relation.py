"""Sparse relations between two kinds of things, such as users and organizers, and their look-up.

What does not live here: what the relations mean.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import Bools, Floats

Index = npt.NDArray[np.integer[Any]]
"""Indices into the rows of some table, of any width."""


@dataclass(frozen=True)
class Relation:
    """How often each (row, column) pair was seen. Pairs never seen take no space."""

    keys: npt.NDArray[np.int64]
    """``row * width + column`` of each pair, ascending."""
    counts: npt.NDArray[np.int64]
    width: int
    """Number of columns."""

    @classmethod
    def of(cls, rows: Index, columns: Index, width: int) -> Self:
        """Count pairs.

        Args:
            rows: Row of each pair, shape (n,).
            columns: Column of each pair, shape (n,).
            width: Number of columns.
        """
        keys, counts = np.unique(rows.astype(np.int64) * width + columns, return_counts=True)
        return cls(keys, counts.astype(np.int64), width)

    def count(self, rows: Index, columns: Index) -> Floats:
        """Return how often each pair was seen, shape (n,)."""
        if not len(self.keys):
            return np.zeros(len(rows))
        wanted = rows.astype(np.int64) * self.width + columns
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.counts[place], 0).astype(np.float64)

    def has(self, rows: Index, columns: Index) -> Bools:
        """Return whether each pair was ever seen, shape (n,)."""
        return self.count(rows, columns) > 0

    def expand(self, rows: Index) -> tuple[Index, Index]:
        """List the columns of each row.

        Args:
            rows: Rows to look up, shape (n,); they may repeat.

        Returns:
            The place in ``rows`` and the column of every pair, both of shape (pairs,).
        """
        wide = rows.astype(np.int64) * self.width
        first = np.searchsorted(self.keys, wide)
        found = np.searchsorted(self.keys, wide + self.width) - first
        place = np.repeat(np.arange(len(rows)), found)
        offset = np.arange(len(place)) - np.repeat(np.cumsum(found) - found, found)
        return place, self.keys[np.repeat(first, found) + offset] % self.width
