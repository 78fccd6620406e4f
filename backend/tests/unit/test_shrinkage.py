import numpy as np
import pytest

from eventlink.recsys.dataset import Floats
from eventlink.recsys.shrinkage import LEAST, MOST, drawn, smoothed_shares, strength


def beta_binomial(weight: float, site: float) -> tuple[Floats, Floats]:
    """Draw shares of 4,000 things that resemble each other as much as the weight says."""
    rng = np.random.default_rng(1)
    whole = rng.integers(1, 30, 4000)
    own = rng.beta(weight * site, weight * (1 - site), 4000)
    return rng.binomial(whole, own).astype(float), whole.astype(float)


@pytest.mark.parametrize("weight", [2.0, 20.0])
def test_the_strength_of_shares_is_found_again(weight: float) -> None:
    part, whole = beta_binomial(weight, site=0.3)
    assert strength(part, whole, 0.3, 0.3 * 0.7) == pytest.approx(weight, rel=0.25)


def test_the_strength_of_means_is_that_of_variances() -> None:
    rng = np.random.default_rng(2)
    number = rng.integers(1, 20, 4000).astype(float)
    between, within = 0.5, 4.0
    own = rng.normal(3, np.sqrt(between), 4000)
    total = rng.normal(number * own, np.sqrt(number * within))
    assert strength(total, number, 3.0, between + within) == pytest.approx(
        within / between, rel=0.25
    )


def test_things_that_differ_by_chance_alone_are_drawn_to_the_site() -> None:
    rng = np.random.default_rng(3)
    whole = np.full(4000, 10.0)
    part = rng.binomial(10, 0.3, 4000).astype(float)
    assert strength(part, whole, 0.3, 0.21) > 0.5 * MOST


def test_things_that_are_all_of_one_kind_are_left_nearly_as_they_are() -> None:
    assert strength(np.array([0.0, 8.0]), np.full(2, 8.0), 0.5, 0.25) == LEAST


@pytest.mark.parametrize("number", [np.zeros(0), np.zeros(3), np.ones(3)])
def test_without_two_observations_of_a_thing_the_site_decides(number: Floats) -> None:
    assert strength(number, number, 0.5, 0.25) == MOST


def test_means_are_drawn_the_further_the_fewer_their_observations() -> None:
    means = drawn(np.array([0.0, 1.0, 100.0]), np.array([0.0, 1.0, 100.0]), 0.0, 4.0)
    assert means == pytest.approx([0.0, 0.2, 100 / 104])


def test_drawn_shares_beat_the_raw_ones() -> None:
    rng = np.random.default_rng(4)
    own = rng.beta(2, 6, 2000)
    whole = rng.integers(1, 12, 2000).astype(float)
    part = rng.binomial(whole.astype(int), own).astype(float)
    error = np.mean((smoothed_shares(part, whole) - own) ** 2)
    assert error < 0.7 * np.mean((part / whole - own) ** 2)


def test_shares_of_nothing_are_nothing() -> None:
    assert smoothed_shares(np.zeros(3), np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
