"""Points on the globe: distances, and homes put into cells.

What does not live here: what distance means for a user (``features.place``).
"""

import numpy as np

from eventlink.recsys.dataset import Floats, Ints
from eventlink.recsys.snapshot import Dense

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

    Summed axis by axis and not by a matrix product, whose last bits depend on the shapes.

    Args:
        a: Unit vectors, shape (n, 3).
        b: Unit vectors, shape (m, 3).

    Returns:
        Kilometres, shape (n, m).
    """
    squared = np.zeros((len(a), len(b)), np.float32)
    for axis in range(3):
        squared += (a[:, axis, None] - b[:, axis]) ** 2
    return chord_to_km(np.sqrt(squared))


def chord_to_km(chord: Dense) -> Dense:
    """Turn straight lines through the unit sphere into ways along it."""
    km: Dense = np.float32(2 * EARTH_RADIUS) * np.arcsin(np.minimum(chord / 2, 1))
    return km


def home_cells(lat: Floats, lon: Floats) -> tuple[Ints, Dense]:
    """Put homes into cells of a grid, the finest that has at most ``MOST_CELLS`` cells.

    Args:
        lat: Degrees, shape (n,).
        lon: Degrees, shape (n,).

    Returns:
        Each home's cell (-1 without coordinates), and the cells' mean unit vectors.
    """
    has = np.isfinite(lat) & np.isfinite(lon)
    cell = np.full(len(lat), -1, np.int32)
    if not has.any():
        return cell, np.zeros((0, 3), np.float32)
    step = FINEST_CELL
    while True:
        row, column = np.round(lat[has] / step), np.round(lon[has] / step)
        key = row.astype(np.int64) * (1 << 32) + column.astype(np.int64)
        distinct, inverse = np.unique(key, return_inverse=True)
        if len(distinct) <= MOST_CELLS:
            break
        step *= 1.5
    cell[has] = inverse
    points = unit_vectors(lat[has], lon[has]).astype(np.float64)
    total = np.stack([np.bincount(inverse, points[:, axis]) for axis in range(3)], axis=1)
    centre = total / np.linalg.norm(total, axis=1, keepdims=True)
    return cell, centre.astype(np.float32)
