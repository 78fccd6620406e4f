"""Matrices: their types, and sparse ones made from columns of indices.

What does not live here: any meaning of rows and columns.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from eventlink.recsys.dataset import Floats, Ints

Matrix: TypeAlias = sparse.csr_array[np.float32]
Dense = npt.NDArray[np.float32]


def sum_into(
    shape: tuple[int, int], row: Ints, column: Ints, weight: Dense | None = None
) -> Matrix:
    """Sum weights (1 if None) into a sparse matrix."""
    if not len(row):
        return _nothing(shape)
    values = np.ones(len(row), np.float32) if weight is None else weight
    matrix: Matrix = sparse.csr_array((values, (row, column)), shape=shape, dtype=np.float32)
    matrix.sum_duplicates()
    return matrix


def _nothing(shape: tuple[int, int]) -> Matrix:
    nothing: Matrix = sparse.csr_array(shape, dtype=np.float32)
    return nothing


def product(left: Matrix, right: Matrix) -> Matrix:
    """Multiply two matrices; at once where the left one is empty, as for one person it often is."""
    return left @ right if left.nnz else _nothing((left.shape[0], right.shape[1]))


def take_rows(matrix: Matrix, rows: Ints) -> Matrix:
    """Take some rows; where these are all rows in order, it is the matrix itself, not a copy."""
    n = matrix.shape[0]
    return matrix if len(rows) == n and np.array_equal(rows, np.arange(n)) else matrix[rows]


def ones(matrix: Matrix) -> Matrix:
    """Turn all stored values of a matrix of one's own into 1."""
    matrix.data[:] = 1
    return matrix


def scale_rows(matrix: Matrix, factor: Dense) -> Matrix:
    """Multiply each row of a matrix of one's own, in place."""
    matrix.data *= np.repeat(factor, np.diff(matrix.indptr))
    return matrix


def scale_columns(matrix: Matrix, factor: Dense) -> Matrix:
    """Multiply each column of a matrix of one's own, in place."""
    matrix.data *= factor[matrix.indices]
    return matrix


def only_columns(matrix: Matrix, columns: Ints) -> Matrix:
    """Return a matrix of the same shape with the values of some columns alone."""
    wanted = np.zeros(matrix.shape[1], np.bool_)
    wanted[columns] = True
    has = np.flatnonzero(wanted[matrix.indices])
    begins = np.searchsorted(has, matrix.indptr)
    few: Matrix = sparse.csr_array((matrix.data[has], matrix.indices[has], begins), matrix.shape)
    return few


def row_sums(matrix: Matrix, power: int = 1) -> Dense:
    """Sum each row's values, or their powers."""
    sums = np.zeros(matrix.shape[0], np.float32)
    has = np.flatnonzero(np.diff(matrix.indptr))
    if len(has):
        sums[has] = np.add.reduceat(matrix.data**power, matrix.indptr[has])
    return sums


def incidence(thing: Ints, size: int) -> Matrix:
    """Make the matrix that sums over things: a 1 in each row, at the row's thing.

    Args:
        thing: For each row its thing; -1 for none.
        size: Number of things.

    Returns:
        Shape (len(thing), size).
    """
    has = np.flatnonzero(thing >= 0).astype(np.int32)
    return sum_into((len(thing), size), has, thing[has])


def count(thing: Ints, size: int, weight: Dense | Floats | None = None) -> Floats:
    """Count the rows, or sum their weights, of each thing.

    Args:
        thing: For each row its thing; -1 for none.
        size: Number of things.
        weight: For each row; 1 if None.

    Returns:
        Shape (size,).
    """
    has = thing >= 0
    kept = None if weight is None else weight[has]
    return np.bincount(thing[has], kept, minlength=size).astype(np.float64)


def weighted_sums(terms: Dense, weights: Dense) -> Dense:
    """Sum weighted terms, one after the other.

    A matrix product sums in an order that depends on how many sums there are, and so do the last
    bits of a score on who is scored beside.

    Args:
        terms: Shape (k, n).
        weights: Shape (k,).

    Returns:
        Shape (n,).
    """
    n = terms.shape[1]
    # Rows are added whole, unless there is only one column or columns are contiguous.
    weighted = np.zeros((len(terms), max(n, 2)), np.float32)
    np.multiply(terms, weights[:, None], out=weighted[:, :n])
    sums: Dense = np.add.reduce(weighted, axis=0)[:n]
    return sums
