"""Homes are found in the cells where somebody lives, anywhere on Earth."""

import numpy as np

from eventlink.recsys.geography import home_cells


def test_a_home_where_nobody_lives_is_in_no_cell() -> None:
    lat, lon = np.array([0.0, 46.77, np.nan]), np.array([-0.01, 23.59, 23.59])
    nowhere = home_cells(np.zeros(0), np.zeros(0))
    assert nowhere.of(lat, lon).tolist() == [-1, -1, -1]
    one = home_cells(lat[1:2], lon[1:2])
    assert one.of(lat, lon).tolist() == [-1, 0, -1]
    assert np.isnan(one.centre_of(one.of(lat, lon))).any(axis=1).tolist() == [True, False, True]
