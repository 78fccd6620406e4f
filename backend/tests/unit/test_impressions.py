"""What shown lists say: who was shown what where, and what came of it."""

from dataclasses import replace

import numpy as np
import pytest
from unit.towns import NOON, town

from eventlink.recsys.dataset import DAY, HOUR, Act, Dataset, Favorites, Interactions
from eventlink.recsys.examples import MOST_LISTS, choices_of_day, examples_of_day
from eventlink.recsys.features import Features
from eventlink.recsys.impressions import CAME, CLICKED, MARKED, REGISTERED, ShownLists
from eventlink.recsys.snapshot import Snapshot

MORNING = NOON - 3 * DAY


def acts(*rows: tuple[int, int, float, Act, int, int]) -> Interactions:
    """Interactions of (user, event, hours after the morning, act, position, request)."""
    user, event, hours, act, position, request = (
        np.array(column) for column in zip(*sorted(rows, key=lambda row: row[2]), strict=True)
    )
    return Interactions(
        user=user.astype(np.int32),
        event=event.astype(np.int32),
        at=MORNING + hours * HOUR,
        act=act.astype(np.int8),
        position=position.astype(np.int32),
        request=request.astype(np.int32),
        dwell=np.zeros(len(user), np.float32),
    )


@pytest.fixture
def data(rng: np.random.Generator) -> Dataset:
    return town(rng)


@pytest.fixture
def live(data: Dataset) -> list[int]:
    """Events that nobody in the town registers for within the day."""
    log = data.registrations
    taken = log.event[(log.at >= MORNING) & (log.at < MORNING + DAY)]
    return [int(event) for event in Snapshot(data, MORNING).columns if event not in taken]


def lists(data: Dataset, *rows: tuple[int, int, float, Act, int, int]) -> ShownLists:
    data = replace(data, interactions=acts(*rows))
    return ShownLists.of_day(data, Snapshot(data, MORNING), MORNING + DAY)


def test_a_list_is_told_in_the_order_of_its_places(data: Dataset, live: list[int]) -> None:
    found = lists(
        data,
        (5, live[1], 1.0, Act.IMPRESSION, 1, 9),
        (5, live[0], 1.0, Act.IMPRESSION, 0, 9),
        (5, live[1], 1.1, Act.CLICK, 1, 9),
    )
    events = Snapshot(data, MORNING).columns[found.column]
    assert events.tolist() == live[:2]
    assert found.position.tolist() == [0, 1]
    assert found.gain.tolist() == [0.0, CLICKED]
    assert found.list.tolist() == [0, 0]


@pytest.mark.parametrize(("hours", "gain"), [(0.9, []), (1.0, [MARKED, 0]), (9.0, [MARKED, 0])])
def test_what_was_done_before_the_list_was_shown_did_not_come_of_it(
    data: Dataset, live: list[int], hours: float, gain: list[float]
) -> None:
    one = np.array([5], np.int32), np.array(live[:1], np.int32)
    data = replace(data, favorites=Favorites(*one, np.array([MORNING + hours * HOUR])))
    shown = [(5, event, 1.0, Act.IMPRESSION, place, 9) for place, event in enumerate(live[:2])]
    assert lists(data, *shown).gain.tolist() == gain


def test_a_list_that_nothing_came_of_tells_nothing(data: Dataset, live: list[int]) -> None:
    shown = [(5, event, 1.0, Act.IMPRESSION, place, 9) for place, event in enumerate(live[:4])]
    elsewhere = (5, live[0], 2.0, Act.CLICK, 0, 10)
    assert len(lists(data, *shown, elsewhere)) == 0


def test_what_came_of_it_is_graded_by_the_furthest_step(data: Dataset, live: list[int]) -> None:
    log, begins = data.registrations, data.events.start.copy()
    begins[live[3]] = MORNING + 20 * HOUR
    n = 2
    registered = replace(
        log,
        user=np.append(log.user, [5] * n).astype(np.int32),
        event=np.append(log.event, [live[2], live[3]]).astype(np.int32),
        at=np.append(log.at, [MORNING + 2 * HOUR] * n),
        until=np.append(log.until, [np.inf] * n),
        attended=np.append(log.attended, [1] * n).astype(np.int8),
    )
    data = replace(
        data,
        events=replace(data.events, start=begins),
        registrations=registered.rows(np.argsort(registered.at, kind="stable")),
        favorites=Favorites(
            np.array([5], np.int32), np.array([live[1]], np.int32), np.array([MORNING + HOUR])
        ),
    )
    shown = [(5, event, 0.5, Act.IMPRESSION, place, 9) for place, event in enumerate(live[:5])]
    found = lists(data, *shown, (5, live[0], 0.6, Act.CLICK, 0, 9))
    # Both were attended, but that of live[2], which starts later, cannot be known yet.
    assert found.gain.tolist() == [CLICKED, MARKED, REGISTERED, CAME, 0.0]


def test_what_comes_after_the_day_is_not_seen(data: Dataset, live: list[int]) -> None:
    shown = [(5, event, 23.0, Act.IMPRESSION, place, 9) for place, event in enumerate(live[:3])]
    today = (5, live[0], 23.5, Act.CLICK, 0, 9)
    tomorrow = (5, live[1], 24.0, Act.CLICK, 1, 9)
    assert lists(data, *shown, today, tomorrow).gain.tolist() == [CLICKED, 0.0, 0.0]


def test_examples_of_a_day_hold_its_lists_as_groups_of_their_own(
    data: Dataset, live: list[int], rng: np.random.Generator
) -> None:
    shown = [(5, event, 1.0, Act.IMPRESSION, place, 9) for place, event in enumerate(live[:4])]
    data = replace(data, interactions=acts(*shown, (5, live[2], 1.1, Act.CLICK, 2, 9)))
    s = Snapshot(data, MORNING)
    choices = choices_of_day(data, s, 20, 1.0, rng)
    assert 5 in choices.users
    seen = examples_of_day(choices, Features(s, asked=choices.users))
    listed = seen.weight == 0
    assert listed.sum() == 4
    assert len(set(seen.group[listed])) == 1
    assert not set(seen.group[listed]) & set(seen.group[~listed])
    np.testing.assert_allclose(seen.position[listed], np.log([1, 2, 3, 4]), rtol=1e-6)
    assert not seen.position[~listed].any()
    assert not seen.y[listed].any()
    assert seen.gain[listed].tolist() == [0.0, 0.0, CLICKED, 0.0]
    assert not seen.together[listed].any()


def test_many_lists_are_sampled(data: Dataset, live: list[int], rng: np.random.Generator) -> None:
    rows = []
    for request in range(MOST_LISTS + 50):
        rows += [(5, live[place], 1.0, Act.IMPRESSION, place, request) for place in range(2)]
        rows.append((5, live[0], 1.1, Act.CLICK, 0, request))
    found = lists(data, *rows)
    assert found.list.max() + 1 == MOST_LISTS + 50
    sampled = found.sample(MOST_LISTS, rng)
    assert len(sampled) == 2 * MOST_LISTS
    assert found.sample(10**6, rng) is found
