"""Rates, lifts and their intervals: right on average over many samples, and at the corners."""

import numpy as np
import pytest

from eventlink.services.personalization import Difference, Lift, Rate, lift, rate


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


# Lifts ------------------------------------------------------------------------------------------


def arms(
    count: int, mean: float, share: float, rng: np.random.Generator, helps: float
) -> tuple[Rate, Rate]:
    """Draw an experiment whose treatment makes everybody click ``helps`` times as often."""
    shown, chance = users(count, mean, rng)
    control = rng.random(count) < share
    clicked = rng.binomial(shown, np.where(control, 1, helps) * chance / 2)
    return (
        estimate(shown[~control], clicked[~control]),
        estimate(shown[control], clicked[control]),
    )


@pytest.mark.parametrize(
    ("count", "mean", "share"), [(100, 0.4, 0.5), (1000, 0.2, 0.2), (3000, 0.1, 0.5)]
)
@pytest.mark.parametrize("helps", [1.0, 1.3])
def test_the_interval_of_a_lift_covers_the_truth_19_times_in_20(
    count: int, mean: float, share: float, helps: float
) -> None:
    rng = np.random.default_rng(8)
    shown, chance = users(300_000, mean, rng)
    truth = (helps - 1) * (shown * chance).sum() / shown.sum() / 2
    absolute = relative = 0
    for _ in range(1000):
        found = lift(*arms(count, mean, share, rng, helps))
        assert found.absolute is not None
        assert found.relative is not None
        absolute += found.absolute.low <= truth <= found.absolute.high
        relative += found.relative.low <= helps - 1 <= found.relative.high
    assert 0.93 <= absolute / 1000 <= 0.97
    assert 0.93 <= relative / 1000 <= 0.97


def test_a_lift_that_there_is_is_found() -> None:
    rng = np.random.default_rng(9)
    found = [lift(*arms(20_000, 0.1, 0.2, rng, 1.3)) for _ in range(100)]
    lows = [one.absolute.low > 0 for one in found if one.absolute is not None]
    assert sum(lows) >= 95
    values = [one.relative.value for one in found if one.relative is not None]
    assert np.mean(values) == pytest.approx(0.3, abs=0.03)


def test_absolute_and_relative_lifts_agree_on_whether_there_is_one() -> None:
    rng = np.random.default_rng(10)
    agreed = set()
    for _ in range(500):
        found = lift(*arms(300, 0.2, 0.4, rng, rng.choice([0.5, 1.0, 2.0])))
        assert found.absolute is not None
        assert found.relative is not None
        for end in ("low", "high"):
            assert (getattr(found.absolute, end) > 0) == (getattr(found.relative, end) > 0)
        agreed.add((found.absolute.low > 0, found.absolute.high > 0))
    assert agreed == {(False, False), (False, True), (True, True)}


def test_many_users_give_the_textbook_s_intervals() -> None:
    rng = np.random.default_rng(12)
    shown = np.full(50_000, 4)
    t, c = (estimate(shown, rng.binomial(shown, chance)) for chance in (0.22, 0.2))
    assert t.rate is not None
    assert c.rate is not None
    [t_variance, c_variance] = [p * (1 - p) / shown.sum() for p in (t.rate, c.rate)]
    half = 1.96 * np.sqrt(t_variance + c_variance)
    log_half = 1.96 * np.sqrt(t_variance / t.rate**2 + c_variance / c.rate**2)
    found = lift(t, c)
    assert found.absolute is not None
    assert found.relative is not None
    assert found.absolute.value == t.rate - c.rate
    assert found.absolute.high - found.absolute.low == pytest.approx(2 * half, rel=0.03)
    assert found.relative.value == pytest.approx(t.rate / c.rate - 1)
    ends = np.log1p([found.relative.low, found.relative.high])
    assert ends[1] - ends[0] == pytest.approx(2 * log_half, rel=0.03)


def test_nothing_is_told_relative_to_what_may_be_as_good_as_zero() -> None:
    found = lift(Rate(0.2, 0.1, 0.3), Rate(0.1, 1e-30, 0.5))
    assert found.absolute is not None
    assert found.relative is None
    known = lift(Rate(0.2, 0.1, 0.3), Rate(0.1, 0.001, 0.5))
    assert known.relative is not None
    assert known.relative.high < 1000


USUAL = estimate(np.full(50, 10.0), np.repeat([0.0, 1.0], 25))


@pytest.mark.parametrize("unknown", [rate(0, 0, 0, 0, 0, 0), rate(1, 40, 10, 1600, 400, 100)])
def test_an_arm_of_fewer_than_two_users_has_no_lift(unknown: Rate) -> None:
    assert lift(unknown, USUAL) == lift(USUAL, unknown) == Lift(None, None)


def test_nothing_in_control_is_no_share_of_anything() -> None:
    nothing = estimate(np.full(50, 10.0), np.zeros(50))
    found = lift(USUAL, nothing)
    assert found.absolute is not None
    assert found.absolute.value == USUAL.rate
    assert found.relative is None
    reverse = lift(nothing, USUAL)
    assert isinstance(reverse.relative, Difference)
    assert reverse.relative.value == reverse.relative.low == -1
    assert -1 < reverse.relative.high < 1
