"""What a feature is called, means, and is there for; and the sheet that features are written to.

What does not live here: any feature.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eventlink.recsys.matrices import Dense


@dataclass(frozen=True)
class About:
    """A family of features: one row of the table in ``docs/features.md``."""

    group: str
    names: tuple[str, ...]
    meaning: str
    why: str


def named(pattern: str, values: Sequence[object]) -> tuple[str, ...]:
    """Name a family's members: ``named("event.{}h", (1, 3))`` is ``("event.1h", "event.3h")``."""
    return tuple(pattern.format(value) for value in values)


class Sheet:
    """A matrix of pairs × features whose columns are written and read by name.

    Args:
        n: Number of pairs.
        names: Of the features, in order.
        room: The matrix of an earlier sheet of the same names and of at least as many pairs, to
            write into.
    """

    def __init__(self, n: int, names: tuple[str, ...], room: Dense | None = None) -> None:
        columns = np.empty((len(names), n), np.float32) if room is None else room.T
        self._columns = columns[:, :n]
        self._place = {name: place for place, name in enumerate(names)}

    @property
    def matrix(self) -> Dense:
        """Shape (n, number of features); a feature's values stand side by side in memory."""
        return self._columns.T

    def __getitem__(self, name: str) -> Dense:
        column: Dense = self._columns[self._place[name]]
        return column

    def __setitem__(self, name: str, values: Dense | float) -> None:
        self._columns[self._place[name]] = values
