"""A forest's sums are LightGBM's, to the last bit."""

import lightgbm as lgb
import numpy as np
import pytest

from eventlink.recsys.models import forest
from eventlink.recsys.models.forest import Forest

PARAMETERS = {
    "objective": "regression",
    "min_data_in_leaf": 5,
    "deterministic": True,
    "num_threads": 1,
    "verbosity": -1,
}


def grown(num_leaves: int) -> tuple[lgb.Booster, np.ndarray]:
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=(3000, 8)), 2).astype(np.float32)
    y = x[:, 0] * (x[:, 1] > 0.3) + np.sin(3 * x[:, 2]) + rng.normal(0, 0.1, len(x))
    parameters = {**PARAMETERS, "num_leaves": num_leaves}
    return lgb.train(parameters, lgb.Dataset(x, y, params=parameters), 40), x


@pytest.mark.parametrize("rows", [1, 2, 3, 200, 2000])
@pytest.mark.parametrize("num_leaves", [2, 7, 8, 9])
@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_of_few_are_those_of_lightgbm(rows: int, num_leaves: int, order: str) -> None:
    booster, x = grown(num_leaves)
    expected = booster.predict(x[:rows], raw_score=True, num_threads=1).astype(np.float32)
    found = Forest(booster).sums(np.asarray(x[:rows], order=order))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("num_leaves", [2, 7, 8, 9])
@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_are_those_of_lightgbm(
    monkeypatch: pytest.MonkeyPatch, num_leaves: int, order: str
) -> None:
    monkeypatch.setattr(forest, "FEWEST_ROWS", 0)
    monkeypatch.setattr(forest, "CHUNK", 1000)  # there are several
    booster, x = grown(num_leaves)
    expected = booster.predict(x, raw_score=True, num_threads=1).astype(np.float32)
    found = Forest(booster).sums(np.asarray(x, order=order))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("fewest", [0, 10_000])
def test_a_value_at_a_threshold_goes_where_lightgbm_sends_it(
    monkeypatch: pytest.MonkeyPatch, fewest: int
) -> None:
    monkeypatch.setattr(forest, "FEWEST_ROWS", fewest)
    booster, x = grown(7)
    nodes = [node for tree in Forest(booster).trees for node in tree.nodes]
    at = np.repeat(x[:1], 3 * len(nodes), axis=0)
    for place, (feature, threshold, _) in enumerate(nodes):
        near = [np.nextafter(threshold, np.float32(side)) for side in (-np.inf, np.inf)]
        at[3 * place : 3 * place + 3, feature] = [threshold, *near]
    expected = booster.predict(at, raw_score=True, num_threads=1).astype(np.float32)
    np.testing.assert_array_equal(Forest(booster).sums(at), expected)


@pytest.mark.parametrize("fewest", [0, 10_000])
def test_trees_that_found_nothing_to_split_add_nothing(
    monkeypatch: pytest.MonkeyPatch, fewest: int
) -> None:
    monkeypatch.setattr(forest, "FEWEST_ROWS", fewest)
    x = np.zeros((50, 2), np.float32)
    booster = lgb.train(PARAMETERS, lgb.Dataset(x, np.zeros(50), params=PARAMETERS), 3)
    assert Forest(booster).sums(x).tolist() == [0.0] * 50


def test_nothing_has_no_sums() -> None:
    booster, x = grown(7)
    assert Forest(booster).sums(x[:0]).shape == (0,)
