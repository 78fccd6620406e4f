"""Draws are as likely as they say, and what came of them can be weighed without bias."""

from dataclasses import replace

import numpy as np
import pytest
from unit.towns import NOON

from eventlink.recsys.dataset import DAY, Dataset
from eventlink.recsys.exploration import EVEN_SHARE, POOL, Drawn, Explorer, cold_columns
from eventlink.recsys.snapshot import Snapshot

N_USERS = 20_000
SLOTS = 2
LENGTH = 30


@pytest.fixture(scope="module")
def explorer(loyal_town: Dataset) -> Explorer:
    """Draws for many users, to whom every event but each third one is cold."""
    s = Snapshot(loyal_town, NOON)
    made = Explorer(s, np.arange(N_USERS, dtype=np.int32), SLOTS, np.random.default_rng(1))
    made.cold = np.arange(s.n_columns) % 3 > 0
    return made


def draw(explorer: Explorer, users: np.ndarray) -> Drawn:
    """The same candidates and scores for everybody."""
    shape = (len(users), LENGTH)
    columns = np.broadcast_to(np.arange(LENGTH, dtype=np.int32), shape)
    scores = np.broadcast_to(np.geomspace(0.5, 0.001, LENGTH).astype(np.float32), shape)
    free = np.broadcast_to(np.arange(LENGTH) >= 8, shape)
    return explorer.draw(users, columns, scores, free)


@pytest.fixture(scope="module")
def drawn(explorer: Explorer) -> Drawn:
    return draw(explorer, explorer.users)


@pytest.mark.parametrize("slot", range(SLOTS))
def test_events_are_drawn_as_often_as_their_propensities_say(drawn: Drawn, slot: int) -> None:
    places, propensities = drawn.places[:, slot], drawn.propensities[:, slot]
    pool = np.unique(places)
    chances = np.array([propensities[places == place][0] for place in pool])
    assert chances.sum() == pytest.approx(1, abs=1e-5)  # every event of the pool was drawn
    for place, chance in zip(pool, chances, strict=True):
        assert (propensities[places == place] == chance).all()
        error = np.sqrt(chance * (1 - chance) / N_USERS)
        assert np.mean(places == place) == pytest.approx(chance, abs=float(4 * error))


def test_only_cold_free_events_are_drawn_and_none_twice(drawn: Drawn) -> None:
    assert (drawn.places >= 8).all()
    assert (drawn.places % 3 > 0).all()
    assert (drawn.places[:, 0] != drawn.places[:, 1]).all()


def test_no_propensity_is_below_the_even_share(drawn: Drawn) -> None:
    assert drawn.propensities.min() >= EVEN_SHARE / POOL - 1e-6
    assert len(np.unique(drawn.propensities)) > SLOTS  # better ones are likelier


def test_slots_are_independent(drawn: Drawn) -> None:
    first, second = drawn.places[:, 0], drawn.places[:, 1]
    likely = second == np.bincount(second).argmax()
    for place in np.unique(first):
        which = first == place
        error = 0.5 / np.sqrt(which.sum())
        assert likely[which].mean() == pytest.approx(likely.mean(), abs=float(4 * error))


@pytest.mark.parametrize("slot", range(SLOTS))
def test_weighing_by_propensity_tells_without_bias_how_another_ranking_fares(
    drawn: Drawn, slot: int
) -> None:
    """Inverse propensity scoring: estimate what always showing one event would bring."""
    rng = np.random.default_rng(2)
    worth = rng.uniform(0.1, 0.9, LENGTH)
    places, propensities = drawn.places[:, slot], drawn.propensities[:, slot]
    reward = rng.random(N_USERS) < worth[places]
    naive = reward.mean()
    for place in np.unique(places):
        weighed = reward * (places == place) / propensities
        error = weighed.std() / np.sqrt(N_USERS)
        assert weighed.mean() == pytest.approx(worth[place], abs=float(4 * error))
    pool = np.unique(places)
    even = (reward / len(pool) / propensities).mean()  # a policy that draws evenly
    assert even == pytest.approx(worth[pool].mean(), abs=0.02)
    assert abs(naive - worth[pool].mean()) > abs(even - worth[pool].mean())


def test_luck_does_not_hang_on_the_block(explorer: Explorer, drawn: Drawn) -> None:
    some = np.array([7, 19_000, 3], np.int32)
    np.testing.assert_array_equal(draw(explorer, some).places, drawn.places[some])


def test_the_same_seed_draws_the_same_and_another_another(loyal_town: Dataset) -> None:
    s = Snapshot(loyal_town, NOON)
    users = np.arange(200, dtype=np.int32)
    luck = [Explorer(s, users, 2, np.random.default_rng(seed)).luck for seed in (1, 1, 2)]
    np.testing.assert_array_equal(luck[0], luck[1])
    assert (luck[0] != luck[2]).all()


def test_where_nothing_is_cold_nothing_is_drawn(explorer: Explorer) -> None:
    was, explorer.cold = explorer.cold, np.zeros_like(explorer.cold)
    found = draw(explorer, np.arange(5, dtype=np.int32))
    explorer.cold = was
    assert (found.places == -1).all()
    assert (found.propensities == 1).all()


def test_cold_is_what_has_few_registrations_and_is_young_or_of_a_strange_organizer(
    loyal_town: Dataset,
) -> None:
    s = Snapshot(loyal_town, NOON)
    cold = cold_columns(s)
    taken = np.bincount(s.data.registrations.event, minlength=s.data.n_events)[s.columns]
    old = NOON - s.data.events.created[s.columns] > 7 * DAY
    assert cold.any()
    assert not cold[taken >= 5].any()
    assert not cold[old].any()  # all organizers of this town are busy
    strange = replace(loyal_town, events=replace(loyal_town.events, organizer=np.full(120, -1)))
    assert (cold_columns(Snapshot(strange, NOON)) == (taken < 5)).all()
