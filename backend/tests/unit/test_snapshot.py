from dataclasses import replace

import numpy as np
import pytest

from eventlink.recsys.dataset import (
    DAY,
    Act,
    Dataset,
    Events,
    EventTags,
    Favorites,
    Floats,
    Interactions,
    Ints,
    Registrations,
    UserOrganizers,
    Users,
    UserTags,
    empty_dataset,
)
from eventlink.recsys.matrices import Dense
from eventlink.recsys.persons import Persons
from eventlink.recsys.snapshot import Pairs, Snapshot

NOW = 100 * DAY
NEVER = np.inf


def ints(*values: int) -> Ints:
    return np.array(values, np.int32)


def days(*values: float) -> Floats:
    """Instants, in days from now."""
    return NOW + DAY * np.array(values, np.float64)


def site(**tables: object) -> Dataset:
    """Three users; five events: tomorrow's, next week's, a past, a cancelled and an unknown one."""
    missing, none = np.full(5, np.nan), np.full(5, -1, np.int32)
    return replace(
        empty_dataset(),
        users=Users(
            missing[:3], missing[:3], none[:3], none[:3], np.ones(3, bool), np.full(3, -np.inf)
        ),
        events=Events(
            start=days(1, 7, -1, 5, 9),
            created=days(-9, -9, -9, -9, 1),
            gone=np.full(5, NEVER),
            published=np.array([True, True, True, False, True]),
            organizer=ints(0, 1, 0, 1, 1),
            category=none,
            city=none,
            venue=none,
            title=none,
            lat=missing,
            lon=missing,
            max_seats=ints(1, -1, 1, 1, 1),
        ),
        n_organizers=2,
        n_tags=2,
        **tables,
    )


def registrations(
    user: Ints, event: Ints, at: Floats, until: Floats | None = None
) -> Registrations:
    forever = np.full(len(user), NEVER)
    return Registrations(
        user, event, at, forever if until is None else until, np.full(len(user), -1, np.int8)
    )


def acts(*rows: tuple[int, int, Act, int, int], dwell: float = 0) -> Interactions:
    """Interactions of yesterday from (user, event, act, position, request)."""
    user, event, act, position, request = (ints(*column) for column in zip(*rows, strict=True))
    n = len(rows)
    return Interactions(
        user,
        event,
        days(*[-1] * n),
        act.astype(np.int8),
        position,
        request,
        np.full(n, dwell, np.float32),
    )


def test_columns_are_the_events_that_are_known_published_and_to_come() -> None:
    assert Snapshot(site(), NOW).columns.tolist() == [0, 1]
    assert Snapshot(site(), NOW + 2 * DAY).columns.tolist() == [1, 4]


def test_a_deleted_event_is_a_column_until_it_is_deleted() -> None:
    data = site()
    data = replace(data, events=replace(data.events, gone=days(0.5, NEVER, NEVER, NEVER, NEVER)))
    assert Snapshot(data, NOW).columns.tolist() == [0, 1]
    assert Snapshot(data, NOW + 0.6 * DAY).columns.tolist() == [1]


def test_columns_can_be_asked_for() -> None:
    s = Snapshot(site(), NOW, ints(2, 1))
    assert s.column_of.tolist() == [-1, 1, 0, -1, -1]
    assert s.eligible.tolist() == [False, True]


def test_a_registration_taken_back_stood_until_then() -> None:
    log = registrations(ints(0), ints(1), days(-3), days(1))
    data = site(registrations=log)
    assert Snapshot(data, NOW).history.tolist() == [1, 0, 0]
    later = Snapshot(data, NOW + 2 * DAY)
    assert later.history.tolist() == [0, 0, 0]
    assert later.refusals.toarray()[0].tolist() == [0, 1, 0, 0, 0]


def test_of_repeated_registrations_only_the_latest_is_known() -> None:
    log = registrations(ints(0, 1, 0, 0), ints(1, 1, 1, 1), days(-5, -4, -3, 1))
    log = replace(log, until=days(-4.5, NEVER, -2, NEVER))
    data = site(registrations=log)
    assert log.again.tolist() == [*days(-3), NEVER, *days(1), NEVER]
    known = [Snapshot(data, NOW + after * DAY).data.registrations for after in (-3.5, -3, 0, 2)]
    assert [kept.user.tolist() for kept in known] == [[0, 1], [0, 1], [1, 0], [1, 0]]
    assert known[2].until.tolist() == [NEVER, *days(-2)]
    assert known[2].at.tolist() == days(-4, -3).tolist()
    cut = data.before(NOW, repeats=True)
    assert Snapshot(cut, NOW - 3.5 * DAY).data.registrations.at.tolist() == days(-5, -4).tolist()


def test_a_no_answer_and_the_registration_it_took_back_are_one_refusal() -> None:
    log = registrations(ints(0), ints(1), days(-3), days(-1))
    said = acts((0, 1, Act.UNREGISTER, -1, -1))
    assert Snapshot(site(registrations=log, interactions=said), NOW).refusals.sum() == 1


def test_an_event_without_seats_left_is_not_eligible() -> None:
    log = registrations(ints(1), ints(0), days(-3))
    s = Snapshot(site(registrations=log), NOW)
    assert s.full.tolist() == [True, False]
    assert s.eligible.tolist() == [False, True]


def test_what_is_registered_hidden_or_blocked_is_excluded() -> None:
    data = site(
        registrations=registrations(ints(0), ints(0), days(-3)),
        event_tags=EventTags(ints(1), ints(1)),
        hidden_tags=UserTags(ints(1, 0), ints(1, 1), days(-1, 1)),
        blocks=UserOrganizers(ints(2), ints(0), days(-1)),
    )
    excluded = Snapshot(data, NOW).excluded(ints(2, 0, 1))
    assert excluded.tolist() == [[True, False], [True, False], [False, True]]


def test_persons_read_apart_are_excluded_by_what_is_known_of_them() -> None:
    crowd = Snapshot(site(event_tags=EventTags(ints(1), ints(1))), NOW)
    one = replace(
        crowd.data,
        users=crowd.data.users.rows(slice(0, 1)),
        registrations=registrations(ints(0), ints(0), days(-3)),
        hidden_tags=UserTags(ints(0), ints(1), days(-1)),
    )
    assert crowd.excluded(ints(0)).tolist() == [[False, False]]
    assert crowd.excluded(ints(0), Persons(one, NOW)).tolist() == [[True, True]]


def test_an_event_that_started_since_is_not_eligible_any_more() -> None:
    s = Snapshot(site(), NOW)
    assert s.eligible.tolist() == [True, True]
    assert s.eligible_at(NOW + 2 * DAY).tolist() == [False, True]


def test_a_long_dwell_is_engagement_and_a_short_one_is_not() -> None:
    long = site(interactions=acts((0, 1, Act.DWELL, -1, -1), dwell=60))
    short = site(interactions=acts((0, 1, Act.DWELL, -1, -1), dwell=3))
    assert Snapshot(long, NOW).engagement.sum() > 0.9
    assert Snapshot(short, NOW).engagement.sum() == 0


def test_what_was_passed_over_above_a_click_is_skipped() -> None:
    seen = Act.IMPRESSION
    log = acts(
        (0, 0, seen, 0, 7), (0, 1, seen, 1, 7), (0, 2, seen, 2, 7), (0, 1, Act.CLICK, 1, 7)
    )  # fmt: skip
    skips = Snapshot(site(interactions=log), NOW).skips.toarray()[0]
    assert (skips > 0).tolist() == [True, False, False, False, False]


def test_a_no_show_counts_less_than_a_registration() -> None:
    log = registrations(ints(0, 1), ints(2, 2), days(-3, -3))
    log = replace(log, attended=np.array([0, 1], np.int8))
    attended = Snapshot(site(registrations=log), NOW).attended.toarray()[:, 2]
    assert attended[0] == pytest.approx(attended[1] / 4)


def test_favorites_are_marks_and_not_their_number() -> None:
    data = site(favorites=Favorites(ints(0, 0), ints(1, 1), days(-2, -1)))
    assert Snapshot(data, NOW).favorites.toarray()[0, 1] == 1


def test_groups_are_those_that_have_a_column() -> None:
    data = site()
    organizers = Snapshot(data, NOW, ints(1)).organizers
    assert organizers.size == 1
    assert organizers.of_event.tolist() == [1, 0, 1, 0, 1]
    assert organizers.pick(np.array([5.0])).tolist() == [5]


@pytest.mark.parametrize("grid", [True, False])
def test_values_are_spread_over_pairs(grid: bool) -> None:
    users = ints(4, 9)
    pairs = (
        Pairs.every(users, 3) if grid else Pairs.of(np.repeat(users, 3), np.tile(ints(0, 1, 2), 2))
    )

    def spread(values: Dense) -> list[float]:
        return values.tolist()

    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert spread(pairs.of_users(table[:, 0])) == [0, 0, 0, 3, 3, 3]
    assert spread(pairs.of_columns(table[0])) == [0, 1, 2, 0, 1, 2]
    assert spread(pairs.of_both(table)) == [0, 1, 2, 3, 4, 5]
    assert spread(pairs.of_groups(table, ints(2, 2, 0))) == [2, 2, 0, 5, 5, 3]


def test_pairs_are_grouped_by_user() -> None:
    pairs = Pairs.of(ints(7, 3, 7), ints(0, 1, 2))
    assert pairs.users.tolist() == [3, 7]
    assert pairs.users[pairs.row].tolist() == [7, 3, 7]
