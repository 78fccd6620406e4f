import numpy as np
import pytest
from scipy.special import expit, logit
from unit.towns import NOON, town

from eventlink.recsys import spread
from eventlink.recsys.candidates import Candidates
from eventlink.recsys.dataset import Dataset
from eventlink.recsys.features import NAMES, Features
from eventlink.recsys.models import PriorModel
from eventlink.recsys.ranking import Ranker
from eventlink.recsys.snapshot import Pairs, Snapshot
from eventlink.recsys.spread import entering, may_enter

TOP = 10


@pytest.fixture(scope="module")
def busy() -> Dataset:
    rng = np.random.default_rng(3)
    return town(rng, n_users=400, n_events=600, n_registrations=6000, loyalty=0.6)


def ranker_of(data: Dataset, size: int) -> Ranker:
    s, rng = Snapshot(data, NOON), np.random.default_rng(0)
    users = np.arange(data.n_users, dtype=np.int32)
    ranker = Ranker(s, Features(s), PriorModel(), users, rng)
    ranker.candidates = Candidates(s, ranker.features, ranker.model, users, rng, size)
    return ranker


@pytest.mark.parametrize(("size", "found", "most"), [(10**6, 1.0, 0.1), (60, 0.97, 0.5)])
def test_whose_list_an_event_belongs_into_is_found_and_few_others(
    busy: Dataset, size: int, found: float, most: float
) -> None:
    ranker = ranker_of(busy, size)
    users = np.arange(busy.n_users, dtype=np.int32)
    ranked = ranker_of(busy, 10**6).rank(users, TOP + 1)
    by_number = np.bincount(ranked.columns[:, :TOP].ravel(), minlength=ranker.snapshot.n_columns)
    columns = np.argsort(-by_number)[[20, 40]].astype(np.int32)
    belongs = np.isin(ranked.columns[:, :TOP], columns).any(axis=1)
    assert 5 < belongs.sum() < 200
    # The last place of a list that was made without the event.
    last = np.where(belongs, ranked.scores[:, TOP], ranked.scores[:, TOP - 1])
    may = may_enter(ranker, columns, users, logit(last))
    assert may[belongs].mean() >= found
    assert may[~belongs].mean() <= most


def test_a_list_with_room_takes_any_event(busy: Dataset) -> None:
    users = np.arange(7, dtype=np.int32)
    room = np.full(7, -np.inf, np.float32)
    assert may_enter(ranker_of(busy, 60), np.array([5], np.int32), users, room).all()


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("size", [10**6, 60])
def test_an_event_enters_with_the_score_and_reason_that_a_ranking_gives_it(
    busy: Dataset, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "USERS_A_BLOCK", 100)  # several blocks, so several processes
    ranker, columns = ranker_of(busy, size), np.array([7, 150, 3], np.int32)
    users = np.arange(0, busy.n_users, 2, dtype=np.int32)
    everywhere = ranker.rank(users, len(columns), only=columns)
    room = np.full(len(users), -np.inf, np.float32)
    room[::3] = logit(np.median(everywhere.scores))
    found = list(entering(ranker, columns, users, room))
    assert len(found) > 1
    assert sum(len(part.users) for part in found) > len(users) / 2
    for part in found:
        place = np.searchsorted(users, part.users)
        np.testing.assert_array_equal(part.scores, everywhere.scores[place])
        np.testing.assert_array_equal(part.arguments, everywhere.arguments[place])
        np.testing.assert_array_equal(part.reasons, everywhere.reasons[place])
        enters = everywhere.scores[place] >= expit(room[place])[:, None]
        expected = np.where(enters, everywhere.columns[place], -1)
        np.testing.assert_array_equal(part.columns, expected)


def test_features_of_some_columns_alone_are_the_features_of_all(busy: Dataset) -> None:
    features, columns = Features(Snapshot(busy, NOON)), np.array([3, 7, 150], np.int32)
    users = np.arange(busy.n_users, dtype=np.int32)
    pairs = Pairs.chosen(users, np.tile(columns, (len(users), 1)), features.s.n_columns)
    expected = features.matrix(pairs)
    assert expected[:, NAMES.index("people.organizer_cosine")].any()
    np.testing.assert_array_equal(features.narrowed(columns).matrix(pairs), expected)
