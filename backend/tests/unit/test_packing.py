"""What is packed ranks as before, is as large for a city as for a village, and holds nobody."""

from dataclasses import replace

import numpy as np
import pytest
from unit.towns import NOON, town

from eventlink.recsys.candidates import Candidates
from eventlink.recsys.dataset import Dataset, Users
from eventlink.recsys.exploration import Explorer
from eventlink.recsys.features import Features
from eventlink.recsys.models.prior import PriorModel
from eventlink.recsys.options import RerankingOptions
from eventlink.recsys.packing import Packed, pack, unpack
from eventlink.recsys.persons import Persons
from eventlink.recsys.ranking import Ranker, Rankings
from eventlink.recsys.reranking import Reranker
from eventlink.recsys.snapshot import Snapshot


def ranker_of(data: Dataset, size: int = 300) -> Ranker:
    s = Snapshot(data, NOON)
    users = np.arange(data.n_users, dtype=np.int32)
    features = Features(s)
    ranker = Ranker(s, features, PriorModel(), users, np.random.default_rng(0))
    ranker.candidates = Candidates(s, features, ranker.model, users, np.random.default_rng(0), size)
    options = RerankingOptions(demote_overlaps=True, collapse_series=True)
    explorer = Explorer(s, users, 2, np.random.default_rng(1))
    ranker.reranker = Reranker(features, options, explorer)
    return ranker


def sent(packed: Packed) -> Packed:
    """Return what another process gets: memory that nobody may write to."""
    return Packed(packed.frame, [np.frombuffer(a.tobytes(), np.uint8) for a in packed.arrays])


def assert_equal(found: Rankings, expected: Rankings) -> None:
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


@pytest.mark.parametrize("size", [10, 300])
def test_an_unpacked_ranker_ranks_persons_as_the_packed_one_ranked_everybody(
    loyal_town: Dataset, size: int
) -> None:
    ranker = ranker_of(loyal_town, size)
    users = np.arange(loyal_town.n_users, dtype=np.int32)
    assert ranker.candidates.everything == (size == 300)
    again = unpack(sent(pack(ranker, users)))
    assert ranker.reranker is not None
    assert again.reranker is not None
    assert again.reranker.explorer is not None
    again.reranker.explorer.deal(users, np.random.default_rng(1))
    persons = Persons(loyal_town.acts_before(NOON), NOON)
    for block in (users[:200], users[200:]):
        assert_equal(again.rank(block, 20, persons), ranker.rank(block, 20))


def test_what_is_packed_does_not_grow_with_people_or_with_what_they_did(
    random_town: Dataset,
) -> None:
    people, acts = random_town.users, random_town.registrations
    homeless = np.full(5000, np.nan)
    more = Users(
        lat=np.append(people.lat, homeless),
        lon=np.append(people.lon, homeless),
        city=np.append(people.city, np.full(5000, -1, np.int32)),
        language=np.append(people.language, np.full(5000, -1, np.int32)),
        rankable=np.append(people.rankable, np.ones(5000, bool)),
        joined=np.append(people.joined, np.full(5000, -np.inf)),
    )
    often = acts.rows(np.repeat(np.arange(len(acts)), 20))
    large = replace(random_town, users=more, registrations=often)
    user = np.zeros(1, np.int32)
    small_one, large_one = pack(ranker_of(random_town, 10), user), pack(ranker_of(large, 10), user)
    assert small_one.n_bytes > 10_000
    assert abs(large_one.n_bytes - small_one.n_bytes) < 1_000


def test_asking_for_what_was_left_behind_is_an_error(random_town: Dataset) -> None:
    user = np.zeros(1, np.int32)
    again = unpack(pack(ranker_of(random_town), user))
    for ask in (
        lambda: again.rank(user, 5),
        lambda: again.snapshot.history,
        lambda: again.snapshot.data.n_users,
        again.features.demand.of_columns,
    ):
        with pytest.raises(AttributeError):
            ask()


def test_packing_leaves_the_ranker_as_it_was() -> None:
    data = town(np.random.default_rng(5), n_users=40, n_registrations=300)
    ranker, users = ranker_of(data), np.arange(40, dtype=np.int32)
    before = ranker.rank(users, 10)
    pack(ranker, users)
    assert_equal(ranker.rank(users, 10), before)
