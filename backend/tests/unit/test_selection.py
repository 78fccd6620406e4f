"""The largest values of rows are those that sorting would find, in any company."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from eventlink.recsys.selection import best_first, largest

FEW_VALUES = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0, np.inf])
TABLES = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 6), st.integers(1, 30)), elements=FEW_VALUES
)


@given(TABLES, st.integers(1, 40))
def test_the_best_come_first_and_of_equal_ones_the_first(values: np.ndarray, size: int) -> None:
    expected = np.argsort(-values, axis=1, kind="stable")[:, :size]
    assert best_first(values, size).tolist() == expected.tolist()


@given(TABLES, st.data())
def test_the_largest_are_the_best_in_their_own_order(
    values: np.ndarray, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, values.shape[1]))
    expected = np.sort(np.argsort(-values, axis=1, kind="stable")[:, :size], axis=1)
    assert largest(values, size).tolist() == expected.tolist()
