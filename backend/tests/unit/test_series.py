"""A weekly evening: who came, who let it pass, and who could not have known of it."""

from dataclasses import replace

import numpy as np
import pytest

from eventlink.recsys.dataset import DAY, Dataset, Events, Ints, Registrations, Users, empty_dataset
from eventlink.recsys.features import NAMES, Features
from eventlink.recsys.snapshot import Pairs, Snapshot

NOW = 1000 * DAY
WEEKS = 5
"""How often the evening was held; it comes again, and there is a newer one of the same organizer."""
EVENING, OTHER = range(2)
REGULAR, ONCE, LATE, STRANGER, NEWCOMER = range(5)


def town(gone: float = np.inf, *, published: bool = True) -> Dataset:
    """The fourth evening may be deleted at some instant, or cancelled."""
    n = WEEKS + 2
    of_title = np.full(n, EVENING, np.int32)
    of_title[-1] = OTHER
    starts = NOW + DAY * np.array([*(7 * week - 33 for week in range(WEEKS)), 2, 2])
    unknown, nowhere = np.full(n, -1, np.int32), np.full(n, np.nan)
    none = np.full(5, -1, np.int32)
    came = {REGULAR: [0, 1, 2, 4], ONCE: [0], LATE: [4], STRANGER: [6]}
    user = np.repeat(np.array(list(came), np.int32), [len(events) for events in came.values()])
    event = np.concatenate(list(came.values())).astype(np.int32)
    until = np.full(len(user), np.inf)
    at = np.minimum(starts[event] - DAY, NOW - 6 * DAY)  # the last evening was a day later
    return replace(
        empty_dataset(),
        users=Users(nowhere[:5], nowhere[:5], none, none, np.ones(5, bool), np.full(5, -np.inf)),
        events=Events(
            start=starts,
            created=starts - 20 * DAY,
            gone=np.where(np.arange(n) == 3, gone, np.inf),
            published=(np.arange(n) != 3) | published,
            organizer=np.zeros(n, np.int32),
            category=unknown,
            city=unknown,
            venue=unknown,
            title=of_title,
            lat=nowhere,
            lon=nowhere,
            max_seats=unknown,
        ),
        registrations=Registrations(user, event, at, until, np.full(len(user), -1, np.int8)).rows(
            np.argsort(at, kind="stable")
        ),
        n_organizers=1,
    )


def told(data: Dataset, name: str) -> Ints:
    """Each user's value of a feature for the coming evening, and for the organizer's other one."""
    s = Snapshot(data, NOW)
    x = Features(s).matrix(Pairs.every(np.arange(5, dtype=np.int32), s.n_columns))
    assert s.columns.tolist() == [5, 6]
    return x[:, NAMES.index(name)].reshape(5, 2)


def test_loyalty_counts_from_the_first_time() -> None:
    evening, other = told(town(), "series.loyalty").T
    assert evening.tolist() == pytest.approx([4 / 6, 1 / 6, 1 / 2, 0, 0])
    assert not other.any()


def test_evenings_are_missed_by_whoever_was_there_to_miss_them() -> None:
    evening, other = told(town(), "series.missed").T
    assert np.expm1(evening).round().tolist() == [1, 4, 0, 1, 0]
    assert not other.any()


@pytest.mark.parametrize("data", [town(published=False), town(gone=NOW - 20 * DAY)])
def test_an_evening_that_was_called_off_is_nobodys_fault(data: Dataset) -> None:
    assert told(data, "series.loyalty")[:, 0].tolist() == pytest.approx([4 / 5, 1 / 5, 1 / 2, 0, 0])
    assert np.expm1(told(data, "series.missed")[:, 0]).round().tolist() == [0, 3, 0, 1, 0]


def test_an_evening_that_was_deleted_when_it_was_over_counts() -> None:
    data = town(gone=NOW - 5 * DAY)
    assert np.array_equal(told(data, "series.missed"), told(town(), "series.missed"))
