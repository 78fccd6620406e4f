"""Rates and their intervals: right on average over many samples, and at the corners."""

import numpy as np
import pytest

from eventlink.services.personalization import Rate, rate


def estimate(n: np.ndarray, y: np.ndarray) -> Rate:
    n, y = n.astype(float), y.astype(float)
    return rate(len(n), n.sum(), y.sum(), (n * n).sum(), (n * y).sum(), (y * y).sum())


def users(count: int, mean: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Users who differ in how much they are shown and in how often they click, and in both."""
    activity = rng.lognormal(0, 1, count)
    shown = 1 + rng.poisson(12 * activity)
    return shown, rng.beta(4 * mean, 4 * (1 - mean), count) / (1 + 0.3 * activity)


def wald(n: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The usual interval, which takes every impression for independent."""
    share = y.sum() / n.sum()
    half = 1.96 * np.sqrt(share * (1 - share) / n.sum())
    return share - half, share + half


@pytest.mark.parametrize(("count", "mean"), [(20, 0.2), (100, 0.05), (1000, 0.05), (1000, 0.005)])
def test_the_interval_covers_the_truth_19_times_in_20_where_users_differ(
    count: int, mean: float
) -> None:
    rng = np.random.default_rng(5)
    shown, chance = users(300_000, mean, rng)
    truth = (shown * chance).sum() / shown.sum()
    covered = naive = 0
    for _ in range(1000):
        shown, chance = users(count, mean, rng)
        clicked = rng.binomial(shown, chance)
        found = estimate(shown, clicked)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
        low, high = wald(shown, clicked)
        naive += low <= truth <= high
    assert 0.935 <= covered / 1000 <= 0.97
    assert naive < 0.8 * covered  # what the unit is for


def test_users_who_are_all_alike_give_the_binomial_interval() -> None:
    rng = np.random.default_rng(6)
    shown = np.full(2000, 10)
    found = estimate(shown, rng.binomial(shown, 0.1))
    low, high = wald(shown, rng.binomial(shown, 0.1))
    assert found.high is not None
    assert found.low is not None
    assert found.high - found.low == pytest.approx(high - low, rel=0.1)


def test_a_rate_of_no_impressions_is_unknown() -> None:
    assert rate(0, 0, 0, 0, 0, 0) == Rate(None, None, None)


def test_one_user_says_nothing_of_how_users_differ() -> None:
    assert estimate(np.array([40]), np.array([10])) == Rate(0.25, None, None)


@pytest.mark.parametrize(("clicks", "bound"), [(0, "low"), (1, "high")])
def test_users_who_never_or_always_click_still_leave_doubt(clicks: int, bound: str) -> None:
    found = estimate(np.ones(50) * 8, np.ones(50) * 8 * clicks)
    assert getattr(found, bound) == clicks
    assert found.low is not None
    assert found.high is not None
    assert 0.05 < found.high - found.low < 0.1  # of 50 users, not of 400 impressions


def test_a_thousand_times_the_users_make_the_interval_thirty_times_narrower() -> None:
    rng = np.random.default_rng(7)
    widths = []
    for count in (100, 100_000):
        shown, chance = users(count, 0.1, rng)
        found = estimate(shown, rng.binomial(shown, chance))
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert 20 < widths[0] / widths[1] < 50
