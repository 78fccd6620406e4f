"""Points on the globe: distances, homes put into cells, and the hour of the week at a venue.

What does not live here: what distance means for a user (``features.place``).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import DAY, HOUR, Floats, Ints
from eventlink.recsys.matrices import Dense

EARTH_RADIUS = 6371.0
"""Kilometres."""
FINEST_CELL = 0.01
"""Degrees, about a kilometre."""
MOST_CELLS = 2048
"""Homes are put into at most so many cells, to bound what is computed for each."""


def unit_vectors(lat: Floats, lon: Floats) -> Dense:
    """Turn degrees into points on the unit sphere, shape (n, 3); ``nan`` stays ``nan``."""
    lat, lon = np.radians(lat), np.radians(lon)
    xyz = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    return np.stack(xyz, axis=1).astype(np.float32)


def distances(a: Dense, b: Dense) -> Dense:
    """Great-circle distances between all rows of a and all of b.

    Args:
        a: Unit vectors, shape (n, 3).
        b: Unit vectors, shape (m, 3).

    Returns:
        Kilometres, shape (n, m).
    """
    return chord_to_km(np.sqrt(squared_chords(a, b)))


def squared_chords(a: Dense, b: Dense) -> Dense:
    """Square the straight lines through the unit sphere, which are in the order of the distances.

    Summed axis by axis and not by a matrix product, whose last bits depend on the shapes.

    Args:
        a: Unit vectors, shape (n, 3).
        b: Unit vectors, shape (m, 3).

    Returns:
        Shape (n, m).
    """
    squared = np.zeros((len(a), len(b)), np.float32)
    for axis in range(3):
        squared += (a[:, axis, None] - b[:, axis]) ** 2
    return squared


def chord_to_km(chord: Dense) -> Dense:
    """Turn straight lines through the unit sphere into ways along it."""
    km: Dense = np.float32(2 * EARTH_RADIUS) * np.arcsin(np.minimum(chord / 2, 1))
    return km


@dataclass(frozen=True)
class Cells:
    """Cells of a grid in which somebody lives."""

    step: float
    """Degrees."""
    keys: npt.NDArray[np.int64]
    """Names of the cells, ascending."""
    centre: Dense
    """Mean unit vectors of the homes in each, shape (number of cells, 3)."""

    def of(self, lat: Floats, lon: Floats) -> Ints:
        """Find the cells of homes; -1 without coordinates or where nobody lived yet.

        Args:
            lat: Degrees, shape (n,).
            lon: Degrees, shape (n,).
        """
        cell = np.full(len(lat), -1, np.int32)
        has = np.flatnonzero(np.isfinite(lat) & np.isfinite(lon))
        key = _cell_keys(lat[has], lon[has], self.step)
        place = np.searchsorted(self.keys, key)
        known = (place < len(self.keys)) & (np.append(self.keys, -1)[place] == key)
        cell[has[known]] = place[known]
        return cell

    def centre_of(self, cell: Ints) -> Dense:
        """Return cells' centres, shape (len(cell), 3); ``nan`` for -1."""
        centre: Dense = np.vstack([self.centre, np.full(3, np.nan, np.float32)])[cell]
        return centre


def home_cells(lat: Floats, lon: Floats) -> Cells:
    """Make the finest grid of which homes lie in at most ``MOST_CELLS`` cells.

    Args:
        lat: Degrees, shape (n,).
        lon: Degrees, shape (n,).
    """
    has = np.isfinite(lat) & np.isfinite(lon)
    lat, lon = lat[has], lon[has]
    step = FINEST_CELL
    while True:
        keys, cell = np.unique(_cell_keys(lat, lon, step), return_inverse=True)
        if len(keys) <= MOST_CELLS:
            break
        step *= 1.5
    points = unit_vectors(lat, lon).astype(np.float64)
    total = np.stack([np.bincount(cell, points[:, axis]) for axis in range(3)], axis=1)
    centre = total / np.linalg.norm(total, axis=1, keepdims=True)
    return Cells(step, keys, centre.astype(np.float32))


def _cell_keys(lat: Floats, lon: Floats, step: float) -> npt.NDArray[np.int64]:
    row, column = np.round(lat / step), np.round(lon / step)
    keys: npt.NDArray[np.int64] = row.astype(np.int64) * (1 << 32) + column.astype(np.int64)
    return keys


def local_hour_of_week(start: Floats, lon: Floats) -> Floats:
    """Tell the hour since Monday 00:00 at the venue.

    The time zone is taken from the longitude (15 degrees an hour), which needs no table and is
    within an hour or two of the clock on the wall.

    Args:
        start: Instants, seconds; one that is not finite reads as 1970.
        lon: Degrees; ``nan`` reads as UTC.

    Returns:
        Hours in [0, 168).
    """
    offset = np.round(np.nan_to_num(lon) / 15.0) * HOUR
    monday = 4 * DAY  # 1970-01-01 was a Thursday
    finite = np.where(np.isfinite(start), start, 0.0)
    return ((finite + offset - monday) % (7 * DAY)) / HOUR
