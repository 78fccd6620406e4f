"""Baselines: what they count, that they find a taste, and that they never see the future."""

from typing import Any

import numpy as np
import pytest
from unit.towns import NOON

from eventlink.errors import InvalidOptionError
from eventlink.recsys import baselines
from eventlink.recsys.baselines import BASELINES, USUAL, require_baselines
from eventlink.recsys.dataset import DAY, Dataset, empty_dataset
from eventlink.recsys.snapshot import Snapshot

AT = NOON - 2 * DAY
PERSONAL = ("followed", "itemknn", "ease", "ials")


def scores(name: str, data: Dataset, users: np.ndarray) -> tuple[Snapshot, np.ndarray]:
    s = Snapshot(data, AT)
    return s, np.asarray(BASELINES[name](s)(users))


def test_popularity_counts_all_registrations_and_velocity_the_last_day_s(
    random_town: Dataset,
) -> None:
    log = random_town.registrations
    for name, since in (("popularity", -np.inf), ("velocity", AT - DAY)):
        s, found = scores(name, random_town, np.arange(3, dtype=np.int32))
        counted = log.event[(log.at < AT) & (log.at >= since)]
        expected = np.bincount(counted, minlength=random_town.n_events)[s.columns]
        np.testing.assert_array_equal(found, np.tile(expected, (3, 1)))


def test_organizers_one_knows_come_before_all_others(loyal_town: Dataset) -> None:
    users = np.arange(50, dtype=np.int32)
    s, found = scores("followed", loyal_town, users)
    for row, user in enumerate(users):
        events = loyal_town.events.organizer[s.registered[[user]].indices]
        follows = s.data.follows.organizer[s.data.follows.user == user]
        known = np.isin(s.organizer, np.union1d(events, follows))
        if known.any() and not known.all():
            assert found[row, known].min() > found[row, ~known].max()


@pytest.mark.parametrize("name", PERSONAL)
def test_a_taste_is_found(name: str, loyal_town: Dataset) -> None:
    """Users' own organizers, the i-th user's being i mod 12, get higher scores than others."""
    users = np.arange(200, dtype=np.int32)
    s, found = scores(name, loyal_town, users)
    users = users[s.history[users] > 3]
    own = s.organizer == (users % 12)[:, None]
    rank = (found[users][:, :, None] < found[users][:, None, :]).sum(axis=2)
    assert rank[own].mean() < 0.7 * rank[~own].mean()


@pytest.mark.parametrize("name", BASELINES)
def test_the_future_moves_no_score(name: str, loyal_town: Dataset) -> None:
    users = np.arange(20, dtype=np.int32)
    _, whole = scores(name, loyal_town, users)
    _, cut = scores(name, loyal_town.before(AT), users)
    np.testing.assert_array_equal(whole, cut)


@pytest.mark.parametrize("name", BASELINES)
def test_an_empty_site_has_no_scores(name: str) -> None:
    s = Snapshot(empty_dataset(), AT)
    assert BASELINES[name](s)(np.zeros(0, np.int32)).shape == (0, 0)


@pytest.mark.parametrize("name", BASELINES)
def test_who_is_unknown_gets_finite_scores(name: str, random_town: Dataset) -> None:
    first = random_town.registrations.rows(slice(0, 1))
    s = Snapshot(Dataset(**{**vars(random_town), "registrations": first}), AT)
    found = BASELINES[name](s)(np.arange(random_town.n_users, dtype=np.int32))
    assert np.isfinite(found).all()


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="all or none, not 'oracle'"):
        require_baselines(["oracle"])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(baselines, "import_module", gone)
    require_baselines(USUAL)
    with pytest.raises(InvalidOptionError, match="pip install implicit"):
        require_baselines(["ease", "ials"])
