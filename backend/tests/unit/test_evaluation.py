"""The protocol: nothing to learn means chance, something to learn is found, nothing leaks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from unit.towns import NOON, without_signal

from eventlink.recsys import evaluation, replay
from eventlink.recsys.dataset import DAY, Dataset, Registrations
from eventlink.recsys.evaluation import Outcome, evaluate, folds_before, last_folds
from eventlink.recsys.examples import Examples
from eventlink.recsys.features import forecast
from eventlink.recsys.models import ConditionalLogit, Model
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.outcomes import outcomes
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.snapshot import Snapshot

OPTIONS = TrainOptions(replay_days=14, negatives=30)


def linear(examples: Examples, rng: np.random.Generator) -> Model:
    return ConditionalLogit().fit(examples, OPTIONS, rng)


def judged(data: Dataset, n_folds: int = 3) -> dict[str, Outcome]:
    folds = last_folds(data, n_folds)
    return evaluate(data, folds, {"model": linear}, OPTIONS, np.random.default_rng(0))


def chance(data: Dataset, n_folds: int = 3) -> float:
    """The NDCG@10 of rankings drawn at random: the mean discount of a random place."""
    n_columns = np.mean([Snapshot(data, at).n_columns for at in last_folds(data, n_folds)])
    # A little above for users with several relevant events; the tests leave room for it.
    return float((1 / np.log2(np.arange(2, 12))).sum() / n_columns)


def test_a_taste_is_learned(loyal_town: Dataset) -> None:
    found = judged(loyal_town)
    assert found["model"].mean("ndcg") > 2 * found["popularity"].mean("ndcg")
    low, _ = found["model"].interval("ndcg", np.random.default_rng(0))
    assert low > found["popularity"].mean("ndcg")


def test_pure_noise_scores_at_chance(random_town: Dataset) -> None:
    found = judged(random_town)
    expected = chance(random_town)
    assert len(found["model"].users) > 100
    low, high = found["model"].interval("ndcg", np.random.default_rng(0))
    assert low < 1.25 * expected
    assert found["model"].mean("ndcg") < 1.4 * expected
    assert high > 0.6 * expected


def test_shuffled_labels_score_at_chance(loyal_town: Dataset) -> None:
    shuffled = without_signal(loyal_town, np.random.default_rng(5))
    found = judged(shuffled)
    assert found["model"].mean("ndcg") < 1.4 * chance(shuffled)


def test_who_gets_no_ranking_is_not_judged(loyal_town: Dataset) -> None:
    rankable = np.arange(loyal_town.n_users) % 2 == 0
    data = replace(loyal_town, users=replace(loyal_town.users, rankable=rankable))
    whole, half = judged(loyal_town)["popularity"], judged(data)["popularity"]
    assert 0 < len(half.users) < len(whole.users)
    assert rankable[half.users].all()


def test_registrations_are_sorted_once_for_all_processes(
    loyal_town: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(loyal_town, registrations=replace(loyal_town.registrations))
    sorted_before = []

    def note(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        sorted_before.append("again" in vars(data.registrations))
        return in_processes(function, items)

    with monkeypatch.context() as patch:
        for module in (forecast, replay, evaluation):
            patch.setattr(module, "in_processes", note)
        judged(data, 1)
    assert len(sorted_before) >= 4
    assert all(sorted_before)


def test_truth_is_what_was_registered_for_on_the_day(loyal_town: Dataset) -> None:
    at = NOON - 2 * DAY
    s = Snapshot(loyal_town, at)
    found = outcomes(loyal_town, s, at + DAY)
    pairs = set(zip(found.user.tolist(), s.columns[found.column].tolist(), strict=True))
    log, events = loyal_town.registrations, loyal_town.events
    earlier = {
        (int(u), int(e)) for u, e, t in zip(log.user, log.event, log.at, strict=True) if t < at
    }
    expected = {
        (int(u), int(e))
        for u, e, t in zip(log.user, log.event, log.at, strict=True)
        if at <= t < at + DAY and events.created[e] < at and events.start[e] > at
    }
    assert pairs == expected - earlier
    assert pairs


def repeated(log: Registrations, after: float) -> Registrations:
    """Have every third registration taken back, and made once more after so many seconds."""
    third = np.arange(len(log)) % 3 == 0
    again = log.rows(third)
    both = {
        f.name: np.concatenate([getattr(log, f.name), getattr(again, f.name)]) for f in fields(log)
    }
    both["at"][len(log) :] += after
    both["until"][: len(log)][third] = log.at[third] + after / 2
    return Registrations(**both).rows(np.argsort(both["at"], kind="stable"))


def test_the_future_changes_nothing_that_was_judged(loyal_town: Dataset) -> None:
    """What happens after the last fold's day must not move a single number."""
    folds = folds_before(NOON - 3 * DAY, 2)
    until = folds[-1] + DAY
    town = replace(loyal_town, registrations=repeated(loyal_town.registrations, 6 * DAY))
    cut = town.before(until, repeats=True)
    generators = np.random.default_rng(0), np.random.default_rng(0)
    whole, short = (
        evaluate(data, folds, {"model": linear}, OPTIONS, rng)
        for data, rng in zip((town, cut), generators, strict=True)
    )
    for field in fields(whole["model"].metrics):
        one, other = (getattr(found["model"].metrics, field.name) for found in (whole, short))
        np.testing.assert_array_equal(one, other)


def test_folds_end_with_the_last_day_of_the_data(loyal_town: Dataset) -> None:
    folds = last_folds(loyal_town)
    last = loyal_town.last_instant()
    assert len(folds) == 7
    assert (folds % DAY == 0).all()
    assert folds[-1] <= last < folds[-1] + DAY


def test_a_site_without_registrations_has_no_outcome(loyal_town: Dataset) -> None:
    empty = replace(loyal_town, registrations=loyal_town.registrations.rows(slice(0, 0)))
    folds = folds_before(NOON, 2)
    assert evaluate(empty, folds, {"model": linear}, OPTIONS, np.random.default_rng(0)) == {}


def test_slices_part_the_pairs(loyal_town: Dataset) -> None:
    outcome = judged(loyal_town, 2)["model"]
    parts = np.stack(list(outcome.slices().values()))
    assert (parts.sum(axis=0) == 1).all()


def test_only_cold_events_count_as_truth_in_their_slices(loyal_town: Dataset) -> None:
    folds = last_folds(loyal_town, 2)
    found = evaluate(loyal_town, folds, {"model": linear}, OPTIONS, np.random.default_rng(0))
    outcome = found["model"]
    s = [Snapshot(loyal_town, at) for at in folds]
    truth = [outcomes(loyal_town, each, each.as_of + DAY) for each in s]
    for fold, each in enumerate(s):
        young = loyal_town.events.created[each.columns] > each.as_of - DAY
        expected = np.unique(truth[fold].user[young[truth[fold].column]])
        pairs = (outcome.folds == fold) & ~np.isnan(outcome.cold["younger than a day"])
        np.testing.assert_array_equal(outcome.users[pairs], expected)
    values = outcome.cold["younger than a day"]
    assert ((values >= 0) | np.isnan(values)).all()
    # With velocity an event without registrations comes last.
    assert np.nanmean(found["velocity"].cold["no registration yet"]) < outcome.mean("ndcg")


def test_asked_baselines_are_judged_and_scores_of_models_compared(loyal_town: Dataset) -> None:
    found = evaluate(
        loyal_town,
        last_folds(loyal_town, 2),
        {"model": linear},
        OPTIONS,
        np.random.default_rng(0),
        baselines=("followed", "ease"),
        calibrated=True,
    )
    assert list(found) == ["model", "followed", "ease"]
    reliability = found["model"].reliability
    assert reliability is not None
    assert 0.5 < reliability.total_expected / reliability.total_happened < 2
    assert found["ease"].reliability is None
    assert found["ease"].mean("ndcg") > 0
    assert found["model"].concentration[-1] == 1


def test_trainings_are_averaged_pair_by_pair(loyal_town: Dataset) -> None:
    def of(trainings: int, *names: str) -> dict[str, Outcome]:
        systems = dict.fromkeys(names, linear)
        folds, rng = last_folds(loyal_town, 1), np.random.default_rng(0)
        return evaluate(
            loyal_town, folds, systems, OPTIONS, rng, calibrated=True, trainings=trainings
        )

    one, three = of(1, "model"), of(3, "other", "model")
    first, model = one["model"], three["model"]
    assert len(set(model.ndcg_by_training)) == 3
    assert model.ndcg_by_training[0] == first.ndcg_by_training[0] == first.mean("ndcg")
    assert model.ndcg_by_training == three["other"].ndcg_by_training
    assert model.mean("ndcg") == pytest.approx(np.mean(model.ndcg_by_training))
    assert three["velocity"].ndcg_by_training == (one["velocity"].mean("ndcg"),)
    assert (model.users == first.users).all()
    of_one, of_three = first.reliability, model.reliability
    assert of_one is not None
    assert of_three is not None
    assert of_three.total_happened == pytest.approx(of_one.total_happened)
    assert of_three.error.mean() == pytest.approx(of_one.error.mean(), rel=0.3)
