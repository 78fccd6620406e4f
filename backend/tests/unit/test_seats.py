"""Scarce seats hold events back by as much as too many would come, and only then."""

from dataclasses import replace

import numpy as np
import pytest
from unit.towns import NOON, town

from eventlink.recsys import seats
from eventlink.recsys.dataset import DAY, Dataset
from eventlink.recsys.features import Features
from eventlink.recsys.models import PriorModel
from eventlink.recsys.ranking import Ranker
from eventlink.recsys.seats import Scarcity, factors, scarcity, seats_left
from eventlink.recsys.simulation import City, SimulationOptions, simulate
from eventlink.recsys.simulation.scarcity import study
from eventlink.recsys.snapshot import Snapshot

USERS = np.arange(300, dtype=np.int32)


@pytest.fixture(scope="module")
def data() -> Dataset:
    made = town(np.random.default_rng(4), n_registrations=1500)
    limits = np.where(np.arange(120) % 2, -1, 20).astype(np.int32)
    return replace(made, events=replace(made.events, max_seats=limits))


def found(data: Dataset, strength: float = 1.0) -> tuple[Ranker, Scarcity]:
    s = Snapshot(data, NOON)
    ranker = Ranker(s, Features(s), PriorModel(), USERS, np.random.default_rng(0))
    return ranker, scarcity(ranker, USERS, 10, strength, np.random.default_rng(0))


def test_an_event_is_worth_the_share_of_its_demand_that_finds_a_seat() -> None:
    left, demand = np.array([20.0, 20, 20, 1]), np.array([10.0, 20, 80, 100])
    assert factors(left, demand, 1).tolist() == [1, 1, 0.25, 0.01]
    assert factors(left, demand, 0.5) == pytest.approx([1, 1, 0.5, 0.1])
    assert factors(left, demand, 0).tolist() == [1, 1, 1, 1]
    assert factors(np.ones(1), np.zeros(1), 1).tolist() == [1]


def test_seats_left_are_the_limit_less_what_is_taken(data: Dataset) -> None:
    s = Snapshot(data, NOON)
    left = seats_left(s)
    limit = data.events.max_seats[s.columns]
    taken = s.going.sum(axis=0)
    np.testing.assert_array_equal(np.isinf(left), limit < 0)
    limited = limit >= 0
    np.testing.assert_array_equal(left[limited], np.maximum(20 - taken[limited], 0))


def test_demand_is_the_sum_of_the_scores_of_those_who_would_see_the_event(data: Dataset) -> None:
    ranker, scarce = found(data)
    lists = ranker.rank(USERS, 10)
    for column, demand in zip(scarce.columns, scarce.demand, strict=True):
        assert demand == pytest.approx(lists.scores[lists.columns == column].sum(), rel=1e-5)
    assert (scarce.demand > 0).any()


def test_a_sample_of_users_stands_for_all(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    _, everybody = found(data)
    monkeypatch.setattr(seats, "LEAST_SAMPLE", 150)
    _, sampled = found(data)
    assert sampled.demand.sum() == pytest.approx(everybody.demand.sum(), rel=0.3)
    assert (sampled.demand != everybody.demand).any()


def test_full_and_unlimited_events_are_left_alone(data: Dataset) -> None:
    ranker, scarce = found(data)
    assert ranker.snapshot.full.any()
    assert not ranker.snapshot.full[scarce.columns].any()
    damping = scarce.damping(ranker.snapshot.n_columns)
    limit = data.events.max_seats[ranker.snapshot.columns]
    assert (damping[limit < 0] == 1).all()
    np.testing.assert_array_equal(damping[scarce.columns], scarce.factor)


def test_a_site_without_limits_is_not_even_looked_at(
    loyal_town: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ranker, "rank_all", None)
    ranker, scarce = found(loyal_town)
    assert len(scarce.columns) == 0
    assert (scarce.damping(ranker.snapshot.n_columns) == 1).all()


# What comes of it, in a city whose truth is known


@pytest.fixture(scope="module")
def city() -> City:
    return simulate(
        SimulationOptions(until=20_370 * DAY, users=2000, events=400), np.random.default_rng(7)
    )


def test_holding_back_a_little_seats_more_people_and_turns_hardly_any_away(city: City) -> None:
    off, little, much = study(city, (0.0, 0.25, 2.0), np.random.default_rng(1))
    assert off.limited == little.limited > 10
    assert off.scarce > 0
    assert little.served > off.served
    assert little.overflow < 0.5 * off.overflow
    assert little.utility > off.utility
    assert much.overflow <= little.overflow
    assert much.utility < little.utility  # people are kept from what they want


def test_all_strengths_meet_the_same_luck(city: City) -> None:
    one, other = study(city, (0.25, 0.25), np.random.default_rng(1))
    assert one == other
