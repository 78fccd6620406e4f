"""The metrics agree with values worked out by hand, and keep their ranges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlink.recsys.metrics import (
    CONCENTRATION_SHARES,
    bootstrap_interval,
    concentration,
    coverage,
    gini,
    judge,
)


def judged(ranking: list[int], relevant: list[int], n_columns: int = 20) -> dict[str, float]:
    truth = np.zeros((1, n_columns), dtype=bool)
    truth[0, relevant] = True
    found = judge(np.array([ranking], np.int32), truth)
    return {name: float(values[0]) for name, values in vars(found).items()}


def test_one_relevant_event_at_rank_two() -> None:
    found = judged([4, 7, 1], [7])
    assert found["ndcg"] == pytest.approx(1 / np.log2(3))
    assert found["hit_rate"] == 1
    assert found["recall"] == 1
    assert found["mrr"] == 0.5


def test_two_relevant_events_one_found_first() -> None:
    found = judged([3, 9], [3, 5])
    assert found["ndcg"] == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert found["recall"] == 0.5


def test_a_hit_below_ten_counts_only_for_the_long_recall() -> None:
    ranking = list(range(12))
    found = judged(ranking, [11])
    assert found["ndcg"] == found["hit_rate"] == found["recall"] == 0
    assert found["recall_50"] == 1
    assert found["mrr"] == pytest.approx(1 / 12)


def test_a_user_without_a_ranking_scores_zero() -> None:
    found = judged([-1, -1, -1], [0])
    assert set(found.values()) == {0.0}


def test_more_relevant_events_than_places_can_still_be_perfect() -> None:
    found = judged(list(range(10)), list(range(15)))
    assert found["ndcg"] == pytest.approx(1)


@given(st.permutations(range(15)), st.sets(st.integers(0, 14), min_size=1))
def test_metrics_stay_between_zero_and_one(ranking: list[int], relevant: set[int]) -> None:
    found = judged(ranking, sorted(relevant), 15)
    assert all(0 <= value <= 1 + 1e-12 for value in found.values())
    assert found["mrr"] > 0  # everything is ranked, so something is found


def test_gini_of_equal_and_of_concentrated_exposure() -> None:
    assert gini(np.arange(8), 8) == pytest.approx(0)
    assert gini(np.zeros(100, int), 1000) == pytest.approx(0.999)
    assert gini(np.full(3, -1), 5) == 0


def test_coverage_counts_distinct_things_shown() -> None:
    assert coverage(np.array([[1, 2], [2, -1]]), 4) == 0.5


def test_the_bootstrap_treats_a_user_as_one_draw(rng: np.random.Generator) -> None:
    few = rng.random(20)
    users = np.arange(20)
    low, high = bootstrap_interval(few, users, np.random.default_rng(1))
    repeated = bootstrap_interval(np.tile(few, 10), np.tile(users, 10), np.random.default_rng(1))
    assert repeated == pytest.approx((low, high))
    assert low < few.mean() < high


def test_the_bootstrap_interval_has_its_coverage() -> None:
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        low, high = bootstrap_interval(rng.normal(0, 1, 60), np.arange(60), rng, rounds=300)
        held += low < 0 < high
    assert 0.88 <= held / 200 <= 0.99


def test_the_interval_of_nothing_is_not_a_number() -> None:
    assert np.isnan(
        bootstrap_interval(np.zeros(0), np.zeros(0, int), np.random.default_rng(0))
    ).all()


def test_concentration_is_the_share_of_the_most_shown() -> None:
    shown = np.array([[0, 1, 2, -1], [0, 1, -1, -1], [0, -1, -1, -1]])
    found = dict(zip(CONCENTRATION_SHARES, concentration(shown, 2000), strict=True))
    assert found[CONCENTRATION_SHARES[0]] == pytest.approx(3 / 6)  # one of 2000 events
    assert found[1.0] == 1.0
    assert (np.diff(list(found.values())) >= 0).all()


def test_where_nothing_is_shown_nothing_is_concentrated() -> None:
    assert (concentration(np.full((2, 3), -1), 10) == 0).all()
