"""Rows become columns: every value arrives, ids become places, and all is of one instant."""

from collections.abc import Callable, Iterable
from datetime import timedelta

import numpy as np
import psycopg
import pytest
from integration.sites import DAY, NOON, Site
from sqlalchemy import text

from eventlink.db import columns, persons, session
from eventlink.db.columns import OF_PERSONS
from eventlink.db.dataset import load_dataset, load_persons
from eventlink.db.keys import Keys
from eventlink.db.persons import read_persons
from eventlink.errors import DatabaseUnreachableError
from eventlink.recsys.dataset import Act, Dataset

T = NOON.timestamp()
UNKNOWN = -np.inf
ReadPersons = Callable[[Dataset, Keys, Iterable[int]], tuple[Dataset, Keys]]
END_OF_SESSION = "SELECT pg_terminate_backend(pg_backend_pid()) FROM users WHERE id = ANY(%s)"


@pytest.mark.usefixtures("database")
def test_an_empty_database_is_an_empty_dataset() -> None:
    data, keys = load_dataset()
    assert (data.n_users, data.n_events, len(data.registrations), len(data.intents)) == (0, 0, 0, 0)
    assert keys.user_index(1) is None


def test_ids_of_any_size_become_places_and_come_back(site: Site) -> None:
    biggest = 2**63 - 1
    site.users(-5, 0, 7, biggest)
    site.event(-9, owner_id=biggest)
    site.event(0, owner_id=None)
    site.event(biggest, owner_id=-5)
    site.registration(biggest, -9)
    data, keys = load_dataset()
    assert keys.users.tolist() == [-5, 0, 7, biggest]
    assert keys.events.tolist() == [-9, 0, biggest]
    assert [keys.user_index(i) for i in (-5, 0, 7, biggest, 8, -6)] == [0, 1, 2, 3, None, None]
    assert keys.organizers.tolist() == [-5, biggest]
    assert data.events.organizer.tolist() == [1, -1, 0]
    assert (data.registrations.user.tolist(), data.registrations.event.tolist()) == ([3], [0])


def test_what_is_not_known_reads_as_none(site: Site) -> None:
    site.users(1)
    site.event(5, owner_id=None, created_at=None, title=None, category=None, city=None, venue=None)
    site.add("favorite_events", {"user_id": 1, "event_id": 5, "created_at": None})
    data, _ = load_dataset()
    events = data.events
    assert np.isnan([data.users.lat[0], data.users.lon[0], events.lat[0], events.lon[0]]).all()
    for column in ("organizer", "category", "city", "venue", "title", "max_seats"):
        assert getattr(events, column).tolist() == [-1], column
    assert (events.created[0], events.gone[0], data.favorites.at[0]) == (UNKNOWN, np.inf, UNKNOWN)
    assert data.users.city.tolist() == [-1]


def test_instants_are_exact_to_the_microsecond(site: Site) -> None:
    site.users(1)
    tick = timedelta(microseconds=1)
    site.event(5, start_time=NOON + tick, deleted_at=NOON - tick)
    site.registration(1, 5, registered_at=NOON - tick, unregistered_at=NOON + tick)
    data, _ = load_dataset()
    assert data.events.start[0] > T > data.events.gone[0]
    assert data.registrations.at[0] < T < data.registrations.until[0]
    assert data.registrations.until[0] - data.registrations.at[0] == pytest.approx(2e-6, abs=5e-7)


def test_infinite_instants_are_far_ones(site: Site) -> None:
    site.users(1)
    site.event(5, start_time="infinity", created_at="-infinity", deleted_at="infinity")
    site.event(6, created_at="infinity")
    site.event(7, start_time="294276-06-01", created_at="4713-01-01 BC")
    site.registration(1, 5, registered_at="-infinity", unregistered_at="infinity")
    data, _ = load_dataset()
    far = 100_000 * 365 * DAY.total_seconds()
    assert (data.events.start > [far, 0, far]).all()
    assert (data.events.created < -far).tolist() == [True, False, True]
    assert data.events.created[1] > far
    assert data.events.gone[0] > far
    assert data.registrations.at[0] < -far
    assert data.registrations.until[0] > far


def test_an_event_is_public_from_creation_or_publication_the_later(site: Site) -> None:
    created = NOON - 5 * DAY
    for number, publish_at in enumerate((None, created - DAY, created + DAY)):
        site.event(number, created_at=created, publish_at=publish_at)
    data, _ = load_dataset()
    day = DAY.total_seconds()
    assert (data.events.created - created.timestamp()).tolist() == [0, 0, day]


def test_students_who_are_active_are_rankable_and_no_others(site: Site) -> None:
    site.users(1)
    site.users(2, is_active=False)
    site.users(3, role="organizer")
    site.users(4, role="admin")
    data, _ = load_dataset()
    assert data.users.rankable.tolist() == [True, False, False, False]


def test_events_are_published_neither_draft_nor_cancelled(site: Site) -> None:
    for number, status in enumerate(("published", "draft", "cancelled")):
        site.event(number, status=status)
    data, _ = load_dataset()
    assert data.events.published.tolist() == [True, False, False]


def test_words_are_compared_without_case_spaces_or_digits(site: Site) -> None:
    site.users(1, city=" Cluj ")
    site.event(5, city="CLUJ", title="Chess Night 12")
    site.event(6, city="Iași", title="chess night 7")
    data, _ = load_dataset()
    assert data.users.city[0] == data.events.city[0] != data.events.city[1]
    assert data.events.title[0] == data.events.title[1]


def test_a_seat_limit_beyond_counting_is_still_a_limit_that_leaves_room(site: Site) -> None:
    for number, seats in enumerate((0, 3, 2**31 - 1, 2**32, 2**63 - 1)):
        site.event(number, max_seats=seats)
    data, _ = load_dataset()
    most = 2**31 - 1
    assert data.events.max_seats.tolist() == [0, 3, most, most, most]


def test_interactions_keep_act_position_list_and_dwell(site: Site) -> None:
    site.users(1)
    site.event(5)
    acts = ("impression", "click", "view", "dwell", "share", "favorite", "register", "unregister")
    for number, act in enumerate(acts):
        site.add(
            "event_interactions",
            {
                "user_id": 1,
                "event_id": 5,
                "interaction_type": act,
                "occurred_at": NOON + number * DAY,
                "position": 3 if act == "impression" else None,
                "request_id": "r" if number < 2 else None,
                "dwell_seconds": 12.5 if act == "dwell" else None,
            },
        )
    site.add(
        "event_interactions",
        {"user_id": None, "event_id": 5, "interaction_type": "click"},
        {"user_id": 1, "event_id": None, "interaction_type": "search"},
    )
    data, _ = load_dataset()
    found = data.interactions
    assert [Act(act).name.lower() for act in found.act] == list(acts)
    assert found.position.tolist() == [3, *[-1] * 7]
    assert found.request.tolist() == [0, 0, *[-1] * 6]
    assert found.dwell.tolist() == [0, 0, 0, 12.5, 0, 0, 0, 0]


def test_two_users_never_share_a_shown_list(site: Site) -> None:
    site.users(1, 2)
    site.event(100)
    seen = {"event_id": 100, "interaction_type": "impression", "occurred_at": NOON, "position": 0}
    site.add(
        "event_interactions",
        *(seen | {"user_id": user, "request_id": list_} for user, list_ in [(1, "a"), (2, "b")]),
        *(seen | {"user_id": user, "request_id": "home"} for user in (1, 2)),
        seen | {"user_id": 1, "request_id": "home", "interaction_type": "click"},
        seen | {"user_id": 1, "request_id": None},
    )
    data, _ = load_dataset()
    log = data.interactions
    of_user = [set(log.request[(log.user == user) & (log.request >= 0)]) for user in (0, 1)]
    assert [len(lists) for lists in of_user] == [2, 2]
    assert not of_user[0] & of_user[1]
    assert (log.request == -1).sum() == 1
    [list_] = set(log.request[(log.user == 0) & (log.act == Act.CLICK)])
    assert (log.request == list_).sum() == 2


@pytest.mark.parametrize(
    ("kind", "meta", "meant"),
    [
        ("search", {"query": "Jazz"}, [("tag", 0)]),
        ("search", {"query": "music"}, [("category", 0)]),
        ("filter", {"category": "Music", "tags": ["JAZZ", "unheard of"]}, [("category", 0), ("tag", 0)]),
        ("filter", {"tags": "jazz"}, []),
        ("filter", {"tags": [1, None, {"a": 2}]}, []),
        ("search", ["jazz"], []),
        ("search", "jazz", []),
        ("search", None, []),
        ("click", {"query": "jazz"}, []),
    ],
)  # fmt: skip
def test_a_search_or_filter_means_the_tags_and_categories_it_names(
    site: Site, kind: str, meta: object, meant: list[tuple[str, int]]
) -> None:
    site.users(1)
    site.add("tags", {"id": 4, "name": "Jazz"})
    site.event(5, category="Music")
    act = {"user_id": 1, "event_id": 5, "interaction_type": kind}
    site.add("event_interactions", act | {"meta": psycopg.types.json.Jsonb(meta)})
    found = load_dataset()[0].intents
    named = [("tag", tag) for tag in found.tag if tag >= 0]
    named += [("category", category) for category in found.category if category >= 0]
    assert sorted(named) == meant


def test_tables_are_sorted_by_instant_whatever_order_they_are_stored_in(site: Site) -> None:
    site.users(*range(20))
    site.event(5)
    order = np.random.default_rng(0).permutation(20).tolist()
    for user in order:
        site.registration(user, 5, registered_at=NOON - user * DAY)
        site.add(
            "favorite_events", {"user_id": user, "event_id": 5, "created_at": NOON - user * DAY}
        )
    data, _ = load_dataset()
    assert data.registrations.user.tolist() == data.favorites.user.tolist() == list(range(20))[::-1]


def test_all_tables_are_read_as_of_one_instant(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.users(1)
    site.event(5)
    event_tags = columns.Reader.event_tags

    def while_somebody_writes(reader: columns.Reader) -> object:
        site.users(2)
        site.event(6)
        site.registration(1, 5)
        site.registration(2, 6)
        return event_tags(reader)

    monkeypatch.setattr(columns.Reader, "event_tags", while_somebody_writes)
    data, _ = load_dataset()
    assert (data.n_users, data.n_events, len(data.registrations)) == (1, 1, 0)


def test_a_password_with_special_characters_reaches_both_drivers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eventlink.config import settings  # noqa: PLC0415 (only this test changes the address)

    monkeypatch.setenv("DATABASE_URL", site.address.replace("postgres:@/", "postgres:p#s%w@/"))
    session.engine.cache_clear()
    settings.cache_clear()
    with session.connection():
        pass
    assert load_dataset()[0].n_users == 0


@pytest.mark.usefixtures("city")
@pytest.mark.parametrize("read", [load_persons, read_persons])
def test_some_users_rows_are_those_of_the_whole_database(read: ReadPersons) -> None:
    data, keys = load_dataset()
    users = np.array([3, 40, 77])
    some, theirs = read(data, keys, keys.users[users[::-1]].tolist())
    assert theirs.users.tolist() == keys.users[users].tolist()
    assert some.events is data.events
    assert (some.users.lat == data.users.lat[users]).all()
    assert some.users.city.tolist() == data.users.city[users].tolist()
    assert some.users.language.tolist() == data.users.language[users].tolist()
    for name in (
        "interests",
        "hidden_tags",
        "follows",
        "blocks",
        "registrations",
        "favorites",
        "interactions",
        "intents",
    ):
        whole, rows = getattr(data, name), getattr(some, name)
        wanted = whole.rows(np.isin(whole.user, users))
        assert users[rows.user].tolist() == wanted.user.tolist(), name
        for column in set(vars(wanted)) - {"user", "request"}:
            np.testing.assert_array_equal(getattr(rows, column), getattr(wanted, column), name)
    lists, wanted = some.interactions.request, data.interactions
    wanted = wanted.rows(np.isin(wanted.user, users)).request
    assert len(set(zip(lists, wanted, strict=True))) == len(set(lists)) == len(set(wanted))


@pytest.mark.parametrize("read", [load_persons, read_persons])
def test_a_user_who_came_later_is_read_and_what_the_crowd_does_not_know_is_left_out(
    site: Site, read: ReadPersons
) -> None:
    site.users(1, 9, city="Cluj", language="ro")
    site.event(5, owner_id=9, tags=())
    site.add("tags", {"id": 4, "name": "Jazz"})
    data, keys = load_dataset()
    site.users(2, city="cluj ", language="RO")
    site.event(6)
    site.add("tags", {"id": 3, "name": "Chess"})
    for event in (5, 6):
        site.registration(2, event)
        site.add("favorite_events", {"user_id": 2, "event_id": event})
    site.add("user_interest_tags", *({"user_id": 2, "tag_id": tag} for tag in (3, 4)))
    site.add("user_followed_organizers", *({"user_id": 2, "organizer_id": i} for i in (1, 9)))
    some, theirs = read(data, keys, [2, 77])
    assert theirs.users.tolist() == [2]
    assert some.users.city.tolist() == [data.users.city[0]]
    assert some.users.language.tolist() == [data.users.language[0]] == [0]
    assert some.registrations.event.tolist() == some.favorites.event.tolist() == [0]
    assert (some.interests.tag.tolist(), some.follows.organizer.tolist()) == ([0], [0])


def test_a_read_that_was_broken_off_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.users(1)
    data, keys = load_dataset()
    monkeypatch.setattr(persons, "OF_PERSONS", (*OF_PERSONS, END_OF_SESSION))
    with pytest.raises(DatabaseUnreachableError):
        read_persons(data, keys, [1])
    monkeypatch.undo()
    assert read_persons(data, keys, [1])[1].users.tolist() == [1]


def test_what_is_read_often_stays_prepared(site: Site) -> None:
    site.users(1)
    data, keys = load_dataset()
    for _ in range(8):
        read_persons(data, keys, [1])
    with session.connection() as conn:
        prepared = conn.execute(text("SELECT statement FROM pg_prepared_statements")).scalars()
        assert any("registrations" in statement for statement in prepared)
