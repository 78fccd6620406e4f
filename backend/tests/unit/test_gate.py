"""The gate refuses what is surely worse, and nothing else."""

import numpy as np

from eventlink.recsys.evaluation import Outcome
from eventlink.recsys.gate import decide
from eventlink.recsys.metrics import UserMetrics


def outcome(ndcg: np.ndarray, history: np.ndarray | None = None) -> Outcome:
    n = len(ndcg)
    return Outcome(
        users=np.arange(n, dtype=np.int32),
        folds=np.zeros(n, np.int32),
        history=np.zeros(n, np.int32) if history is None else history,
        metrics=UserMetrics(ndcg, ndcg, ndcg, ndcg, ndcg),
        coverage=0.0,
        event_gini=0.0,
        organizer_gini=0.0,
    )


def decided(new: np.ndarray, active: np.ndarray, history: np.ndarray | None = None) -> bool:
    fair = np.ones(len(new), dtype=bool)
    rng = np.random.default_rng(0)
    chosen = decide(outcome(new, history), outcome(active, history), fair, rng)
    return chosen.activate


def test_a_better_model_is_activated(rng: np.random.Generator) -> None:
    active = rng.random(300) * 0.5
    assert decided(active + 0.1, active)


def test_a_surely_worse_model_is_refused(rng: np.random.Generator) -> None:
    active = 0.2 + rng.random(300) * 0.5
    assert not decided(active - 0.1, active)


def test_noise_does_not_refuse(rng: np.random.Generator) -> None:
    refused = 0
    for _ in range(40):
        active = rng.random(300)
        refused += not decided(rng.permutation(active), active)
    assert refused <= 5


def test_a_slice_that_is_hurt_refuses_even_if_the_whole_gains(rng: np.random.Generator) -> None:
    history = np.repeat([0, 5], [300, 60]).astype(np.int32)
    active = 0.3 + 0.2 * rng.random(360)
    new = active + np.where(history == 0, 0.1, -0.1)
    assert new.mean() > active.mean()
    assert not decided(new, active, history)


def test_a_slice_may_lose_less_than_two_per_cent(rng: np.random.Generator) -> None:
    history = np.repeat([0, 5], [300, 60]).astype(np.int32)
    active = 0.3 + 0.2 * rng.random(360)
    new = active + np.where(history == 0, 0.1, -0.001)
    assert decided(new, active, history)


def test_days_that_the_active_model_was_trained_on_do_not_count(rng: np.random.Generator) -> None:
    active = rng.random(200)
    fair = np.arange(200) >= 150
    new = np.where(fair, active + 0.05, active - 0.5)
    chosen = decide(outcome(new), outcome(active), fair, rng)
    assert chosen.activate
    assert chosen.comparisons[0].pairs == 50


def test_with_nothing_to_judge_the_new_model_is_taken() -> None:
    few = np.zeros(5)
    chosen = decide(outcome(few), outcome(few), few > 1, np.random.default_rng(0))
    assert chosen.activate
    assert "too little" in chosen.reason
