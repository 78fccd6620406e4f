"""Candidates are the events that the full model would rank first, whoever is asked beside."""

from dataclasses import replace

import numpy as np
import pytest
from unit.towns import NOON, town

from eventlink.recsys.candidates import Candidates
from eventlink.recsys.dataset import DAY, Dataset
from eventlink.recsys.evaluation import folds_before
from eventlink.recsys.features import Features
from eventlink.recsys.features.forecast import learn
from eventlink.recsys.models import Model, fit_model
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.replay import replay
from eventlink.recsys.snapshot import Pairs, Snapshot

USERS = np.arange(200, dtype=np.int32)
SIZE = 60


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(3)
    return town(rng, n_users=400, n_events=600, n_registrations=6000, loyalty=0.6)


def fitted(data: Dataset) -> Model:
    options = TrainOptions(replay_days=10, negatives=20, model="linear")
    instants, forecasts = folds_before(NOON, 10), learn(data, NOON - 10 * DAY, NOON)
    examples = replay(data, instants, forecasts, options, np.random.default_rng(0)).examples
    return fit_model(examples, options, np.random.default_rng(0))


@pytest.fixture(scope="module")
def model(data: Dataset) -> Model:
    return fitted(data)


@pytest.fixture(scope="module")
def s(data: Dataset) -> Snapshot:
    return Snapshot(data, NOON)


@pytest.fixture(scope="module")
def candidates(s: Snapshot, model: Model) -> Candidates:
    return Candidates(s, Features(s), model, USERS, np.random.default_rng(0), SIZE)


def kept(s: Snapshot, model: Model, candidates: Candidates) -> float:
    """Tell what share of the model's first ten is among the candidates."""
    banned = s.excluded(USERS)
    chosen = candidates.of(s, USERS, banned)
    margins = model.margin(Features(s).matrix(Pairs.every(USERS, s.n_columns)))
    full = np.where(banned, -np.inf, margins.reshape(len(USERS), -1))
    best = np.argsort(-full, axis=1, kind="stable")[:, :10]
    return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best, chosen, strict=True)])


def test_they_hold_nearly_all_that_the_model_ranks_first(
    s: Snapshot, model: Model, candidates: Candidates
) -> None:
    assert s.n_columns > 2.5 * SIZE
    assert kept(s, model, candidates) > 0.98


def test_they_do_so_where_events_have_no_organizers(data: Dataset) -> None:
    nobody = np.full(data.n_events, -1, np.int32)
    none = data.follows.rows(slice(0, 0))
    bare = replace(data, events=replace(data.events, organizer=nobody), follows=none)
    s, model = Snapshot(bare, NOON), fitted(bare)
    found = Candidates(s, Features(s), model, USERS, np.random.default_rng(0), SIZE)
    assert kept(s, model, found) > 0.98


def test_they_are_distinct_and_in_the_order_of_the_columns(
    s: Snapshot, candidates: Candidates
) -> None:
    chosen = candidates.of(s, USERS, s.excluded(USERS))
    assert chosen.shape == (len(USERS), SIZE)
    assert (np.diff(chosen, axis=1) > 0).all()


def test_they_do_not_depend_on_who_is_asked_beside(s: Snapshot, candidates: Candidates) -> None:
    banned = s.excluded(USERS)
    together = candidates.of(s, USERS, banned)
    for user in USERS[::20]:
        alone = candidates.of(s, USERS[user : user + 1], banned[user : user + 1])
        assert alone[0].tolist() == together[user].tolist()


def test_what_is_banned_comes_last(s: Snapshot, candidates: Candidates) -> None:
    allowed = np.zeros((3, s.n_columns), bool)
    allowed[:, ::7] = True  # fewer than there are candidates
    chosen = candidates.of(s, USERS[:3], ~allowed)
    assert allowed[0].sum() < SIZE
    for row in chosen:
        assert set(np.flatnonzero(allowed[0])) <= set(row.tolist())


def test_with_few_live_events_all_are_candidates(s: Snapshot, model: Model) -> None:
    every = Candidates(s, Features(s), model, USERS, np.random.default_rng(0), size=10_000)
    chosen = every.of(s, USERS[:2], s.excluded(USERS[:2]))
    assert chosen.tolist() == [list(range(s.n_columns))] * 2
