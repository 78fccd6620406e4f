"""Publishing: readers see one whole generation or the next, whatever happens meanwhile."""

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from integration.sites import DAY, HOUR, NOON, Row, Site, eventually, lists_of

from eventlink.db import partitions
from eventlink.db.binary_copy import HEADER, TRAILER, encode_lists
from eventlink.db.overlay import store_refreshed
from eventlink.db.recommendations import (
    Lists,
    build_generation,
    clean_up,
    recompute_lock,
    serve_generation,
)
from eventlink.db.session import connection, transaction
from eventlink.errors import (
    DatabaseUnreachableError,
    PublishRefusedError,
    RecomputeRunningError,
)

OF_USER = (
    "SELECT user_id, event_id, score, rank, model_version, generated_at, reason"
    "  FROM user_recommendations WHERE user_id = %s ORDER BY rank"
)


@pytest.fixture
def site(site: Site) -> Site:
    """Students 1 to 100, whom lists may name; events need not exist for that."""
    site.users(*range(1, 101))
    site.users(200, role="organizer")
    return site


def publish(ranked: dict[int, list[int]] | Lists, version: str = "m", at: datetime = NOON) -> int:
    lists = ranked if isinstance(ranked, Lists) else lists_of(ranked)
    with connection() as conn:
        generation = build_generation(conn, version, at, [lists])
        with conn.begin():
            serve_generation(conn, generation)
    return generation


def refresh(ranked: dict[int, list[int]], at: datetime, version: str = "m") -> None:
    with transaction() as conn:
        store_refreshed(conn, version, at, lists_of(ranked))


@contextmanager
def reading(site: Site, isolation: str = "READ COMMITTED") -> Iterator[Callable[[], list[Row]]]:
    """Hold a transaction open that has read user 1's ranking, and offer to read it again."""
    with psycopg.connect(site.address) as conn:
        conn.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        read = lambda: conn.execute(OF_USER, (1,)).fetchall()  # noqa: E731 (a word for a line)
        read()
        yield read


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "LONGEST_READ", 0.1)
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(partitions, "LOCK_ATTEMPTS", 2)


# What is written is what is read ------------------------------------------------------------


def test_the_view_gives_the_contract_s_columns(site: Site) -> None:
    publish({1: [7, 5, 9], 2: [5]}, "logistic-1")
    assert site.run(OF_USER, 1) == [
        (1, 7, pytest.approx(0.9), 1, "logistic-1", NOON, "popular"),
        (1, 5, pytest.approx(0.5), 2, "logistic-1", NOON, "popular"),
        (1, 9, pytest.approx(0.1), 3, "logistic-1", NOON, "popular"),
    ]
    assert [row[1] for row in site.run(OF_USER, 2)] == [5]
    assert site.run(OF_USER, 3) == []


BIGINT = st.integers(-(2**63), 2**63 - 1)
PLACE = st.tuples(BIGINT, st.floats(0, 1, width=32), st.integers(1, 12), BIGINT)


def of_length(length: int) -> list[tuple[int, float, int, int]]:
    return [(place, 0.5, 1, 0) for place in range(length)]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(BIGINT, st.lists(PLACE, max_size=50), min_size=1, max_size=8))
@example({1: of_length(0), 2: of_length(1), 3: of_length(50), 4: of_length(7), 5: of_length(1)})
@example({1: of_length(0)})
def test_binary_copy_writes_lists_of_any_lengths_unchanged(
    database: str, ranked: dict[int, list[tuple[int, float, int, int]]]
) -> None:
    longest = max(map(len, ranked.values()))
    ids, codes, arguments = (np.zeros((len(ranked), longest), np.int64) for _ in range(3))
    scores = np.zeros((len(ranked), longest), np.float32)
    for row, places in enumerate(ranked.values()):
        for place, values in enumerate(places):
            ids[row, place], scores[row, place], codes[row, place], arguments[row, place] = values
    data = encode_lists(
        generation=3,
        user_ids=np.array(list(ranked), np.int64),
        lengths=np.array([len(places) for places in ranked.values()]),
        event_ids=ids,
        scores=scores,
        reason_codes=codes.astype(np.int32),
        reason_args=arguments,
    )
    with psycopg.connect(database) as conn:
        conn.execute("CREATE TEMP TABLE written (LIKE recommendation_lists)")
        with conn.cursor().copy("COPY written FROM STDIN (FORMAT binary)") as copy:
            copy.write(HEADER + data + TRAILER)
        rows = conn.cursor(binary=True).execute("SELECT * FROM written").fetchall()
        conn.rollback()
    assert {generation for generation, *_ in rows} == {3}
    assert {user: list(zip(*lists, strict=True)) for _, user, *lists in rows} == ranked


# One generation or the next -----------------------------------------------------------------


def test_the_one_before_is_kept_and_older_ones_are_dropped(site: Site) -> None:
    numbers = []
    for number in range(4):
        numbers.append(publish({1: [number]}))
        clean_up()
        assert site.events_of(1) == [number]
    assert site.serving() == (numbers[3], numbers[2])
    assert site.generations() == (numbers[2:], numbers[2:], numbers[2:])


def test_the_generation_before_is_one_row_away(site: Site) -> None:
    before = publish({1: [5]})
    publish({1: [6]})
    site.run("UPDATE recommendation_serving SET generation = %s", before)
    assert site.events_of(1) == [5]


def test_readers_never_see_an_empty_or_mixed_ranking(site: Site) -> None:
    ranked = {user: list(range(20)) for user in range(1, 101)}
    publish(ranked, "m0")
    stop = threading.Event()

    def read(prepare_threshold: int | None, reads: int | None = None) -> set[tuple[int, int]]:
        """Return what was seen of a ranking: its length and how many versions it had."""
        seen = set()
        while not stop.is_set():
            with psycopg.connect(
                site.address, autocommit=True, prepare_threshold=prepare_threshold
            ) as conn:
                for _ in itertools.count() if reads is None else range(reads):
                    rows = conn.execute(OF_USER, (1,)).fetchall()
                    seen.add((len(rows), len({row[4] for row in rows})))
                    if stop.is_set():
                        break
        return seen

    # A new session fills its caches while it reads, where it may cache what is no longer so.
    kinds = [(None, None), (1, None), (None, 10), (None, 30)]
    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read, *kind) for kind in kinds]
        try:
            for number in range(1, 21):
                publish(ranked, f"m{number}")
                clean_up()
        finally:
            stop.set()
    assert [reader.result() for reader in readers] == [{(20, 1)}] * 4


def test_the_pointer_waits_for_whoever_reads_by_a_plan_without_the_new_partition(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "LONGEST_READ", 60.0)
    publish({1: [5]})
    with ThreadPoolExecutor() as pool:
        with reading(site):
            building = pool.submit(publish, {1: [6]})
            assert eventually(lambda: len(site.generations()[2]) == 2)
            time.sleep(0.1)
            assert not building.done()
            assert site.events_of(1) == [5]
        building.result(timeout=30)
    assert site.events_of(1) == [6]


@pytest.mark.usefixtures("_impatient")
def test_a_reader_who_never_ends_does_not_stop_a_publish(site: Site) -> None:
    publish({1: [5]})
    with reading(site) as read:
        for event in (6, 7, 8):
            publish({1: [event]})
            clean_up()
            assert [row[1] for row in read()] == [event]
        assert len(site.generations()[1]) > 2
    clean_up()
    assert site.events_of(1) == [8]
    assert [len(part) for part in site.generations()] == [2, 2, 2]


@pytest.mark.usefixtures("_impatient")
def test_a_repeatable_read_sees_its_generation_to_the_end(site: Site) -> None:
    publish({1: [5]})
    with reading(site, "REPEATABLE READ") as read:
        for event in (6, 7, 8):
            publish({1: [event]})
            clean_up()
        assert [row[1] for row in read()] == [5]


@pytest.mark.usefixtures("_impatient")
def test_a_table_that_stays_locked_refuses_the_publish(site: Site) -> None:
    publish({1: [5]})
    before = site.contents()
    with psycopg.connect(site.address) as conn:
        conn.execute("LOCK TABLE recommendation_lists IN ROW EXCLUSIVE MODE")
        with pytest.raises(PublishRefusedError, match="locked"):
            publish({1: [6]})
    assert site.contents() == before


# What a killed publish leaves ---------------------------------------------------------------


def test_killed_before_the_flip_the_old_generation_serves_and_the_rest_is_cleaned(
    site: Site,
) -> None:
    old = publish({1: [5]})
    with connection() as conn:
        new = build_generation(conn, "m", NOON, [lists_of({1: [6]})])
        with conn.begin() as flip:
            serve_generation(conn, new)
            flip.rollback()
    assert site.events_of(1) == [5]
    clean_up()
    assert site.events_of(1) == [5]
    assert site.generations() == ([old], [old], [old])


def test_nothing_is_left_when_the_ranking_fails_half_way(site: Site) -> None:
    publish({1: [5]})
    before = site.contents()

    def failing() -> Iterator[Lists]:
        yield lists_of({1: [6]})
        raise ZeroDivisionError

    with connection() as conn:
        with pytest.raises(ZeroDivisionError):
            build_generation(conn, "m", NOON, failing())
        assert not conn.in_transaction()
    assert site.contents() == before


def test_whatever_a_kill_left_is_cleaned(site: Site) -> None:
    kept = publish({1: [5]})
    pending = publish({1: [6]})
    site.run("UPDATE recommendation_serving SET generation = %s", kept)
    site.run("UPDATE recommendation_serving SET previous_generation = NULL")
    site.run("CREATE TABLE recommendation_lists_g900 (LIKE recommendation_lists)")
    site.run("CREATE TABLE recommendation_lists_gone (id int)")
    site.run(
        "INSERT INTO recommendation_generations (model_version, generated_at, reason_names)"
        " VALUES ('m', now(), '{}')"
    )
    with reading(site), psycopg.connect(site.address, autocommit=True) as conn:
        conn.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            conn.execute(
                "ALTER TABLE recommendation_lists"
                f" DETACH PARTITION recommendation_lists_g{pending} CONCURRENTLY"
            )
    assert site.run("SELECT inhdetachpending FROM pg_inherits WHERE inhdetachpending")
    clean_up()
    assert site.generations() == ([kept], [kept], [kept])
    assert site.events_of(1) == [5]
    assert site.run("SELECT count(*) FROM recommendation_lists_gone") == [(0,)]


@pytest.mark.usefixtures("site")
def test_cleaning_leaves_the_session_as_it_was() -> None:
    publish({1: [5]})
    clean_up()
    with transaction() as conn:
        assert conn.exec_driver_sql("SHOW lock_timeout").scalar_one() == "0"


# Gates --------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused(site: Site, score: float) -> None:
    publish({1: [5]})
    refresh({2: [5]}, NOON)
    before = site.contents()
    wrong = lists_of({1: [5, 6]}, scores=[0.5, score])
    with pytest.raises(PublishRefusedError, match="not a finite number"):
        publish(wrong)
    with pytest.raises(PublishRefusedError, match="not a finite number"), transaction() as conn:
        store_refreshed(conn, "m", NOON, wrong)
    assert site.contents() == before


def test_losing_more_than_two_in_a_hundred_users_is_refused(site: Site) -> None:
    everybody = range(1, 101)
    publish({user: [5] for user in everybody})
    publish({user: [6] for user in everybody[2:]})
    assert site.events_of(3) == [6]
    before = site.contents()
    publish_few = {user: [7] for user in everybody[4:]}
    with pytest.raises(PublishRefusedError, match="2 of the 98 users"):
        publish(publish_few)
    assert site.contents() == before


def test_users_who_left_are_not_missed(site: Site) -> None:
    publish({user: [5] for user in range(1, 101)})
    site.run("UPDATE users SET is_active = false WHERE id <= 50")
    site.run("UPDATE users SET role = 'organizer' WHERE id BETWEEN 51 AND 60")
    site.run("DELETE FROM users WHERE id BETWEEN 61 AND 70")
    publish({user: [6] for user in range(71, 101)})
    assert set(site.rankings()) == set(range(71, 101))


# Erasing a user -----------------------------------------------------------------------------


def test_a_user_erased_while_we_computed_is_dropped(site: Site) -> None:
    site.run("DELETE FROM users WHERE id = 1")
    publish({1: [5], 2: [5]})
    assert set(site.rankings()) == {2}
    assert site.run("SELECT user_id FROM recommendation_lists") == [(2,)]


def test_an_erasure_under_way_while_a_generation_is_attached_is_not_missed(site: Site) -> None:
    publish({1: [5], 2: [5]})
    with ThreadPoolExecutor() as pool, psycopg.connect(site.address) as conn:
        conn.execute("DELETE FROM users WHERE id = 1")
        publishing = pool.submit(publish, {1: [6], 2: [6]})
        waits = eventually(lambda: site.run("SELECT 1 FROM pg_locks WHERE NOT granted"))
        conn.commit()
        publishing.result(timeout=30)
    assert waits
    assert site.run("SELECT DISTINCT user_id FROM recommendation_lists") == [(2,)]


def test_erasing_a_user_erases_their_rankings_and_every_trace(site: Site) -> None:
    site.event(7, owner_id=200)
    site.add("tags", {"id": 1, "name": "jazz"})
    for table, column, other in (
        ("user_interest_tags", "tag_id", 1),
        ("user_hidden_tags", "tag_id", 1),
        ("user_blocked_organizers", "organizer_id", 200),
        ("user_followed_organizers", "organizer_id", 200),
        ("registrations", "event_id", 7),
        ("favorite_events", "event_id", 7),
    ):
        site.add(table, {"user_id": 1, column: other})
    site.add("event_interactions", {"user_id": 1, "event_id": 7, "interaction_type": "click"})
    site.add("recommendation_refreshes", {"user_id": 1, "sequence": 1})
    drawn = {"user_id": 1, "event_id": 7, "generated_at": NOON, "model_version": "m"}
    site.add("recommendation_explorations", drawn | {"rank": 1, "propensity": 0.5})
    publish({1: [7], 2: [7]})
    publish({1: [7], 2: [7]})
    refresh({1: [7], 2: [7]}, NOON + HOUR)

    tables = [
        table
        for (table,) in site.run(
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name = 'user_id' AND data_type = 'bigint'"
            " ORDER BY 1"
        )
    ]
    traces = lambda: {  # noqa: E731 (asked twice)
        table for table in tables if site.run(f"SELECT 1 FROM {table} WHERE user_id = 1")
    }
    assert traces() == set(tables)
    site.run("DELETE FROM users WHERE id = 1")
    assert traces() == set()
    assert set(site.rankings()) == {2}


# Refreshes ----------------------------------------------------------------------------------


def test_the_later_of_generation_and_refresh_is_served(site: Site) -> None:
    publish({1: [5], 2: [5]}, at=NOON)
    refresh({1: [6]}, NOON + HOUR)
    assert site.rankings() == {1: [(6, pytest.approx(0.9))], 2: [(5, pytest.approx(0.9))]}
    publish({1: [7], 2: [7]}, at=NOON + DAY)
    assert (site.events_of(1), site.events_of(2)) == ([7], [7])
    clean_up()
    assert site.run("SELECT count(*) FROM recommendation_overlay") == [(0,)]


def test_a_refresh_made_while_a_recompute_ran_survives_it(site: Site) -> None:
    publish({1: [5], 2: [5]}, at=NOON)
    refresh({1: [6]}, NOON + DAY + HOUR)
    publish({1: [7], 2: [7]}, at=NOON + DAY)
    clean_up()
    assert (site.events_of(1), site.events_of(2)) == ([6], [7])


def test_a_late_refresh_does_not_undo_a_later_one(site: Site) -> None:
    refresh({1: [6]}, NOON + HOUR)
    refresh({1: [5]}, NOON)
    assert site.events_of(1) == [6]


def test_a_refresh_to_nothing_hides_the_generation_s_ranking(site: Site) -> None:
    publish({1: [5], 2: [5]})
    refresh({1: []}, NOON + HOUR)
    assert site.rankings() == {2: [(5, pytest.approx(0.9))]}


def test_a_refresh_is_served_where_nothing_was_ever_published(site: Site) -> None:
    refresh({1: [8, 4]}, NOON)
    assert site.run("SELECT event_id, rank, reason FROM user_recommendations ORDER BY rank") == [
        (8, 1, "popular"),
        (4, 2, "popular"),
    ]


# The lock -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
def test_only_one_recompute_holds_the_lock() -> None:
    with connection() as one, connection() as other:
        with recompute_lock(one), pytest.raises(RecomputeRunningError), recompute_lock(other):
            pass
        with pytest.raises(ZeroDivisionError), recompute_lock(other):
            raise ZeroDivisionError
        with recompute_lock(one):
            pass


def test_a_lost_connection_is_told_as_such_and_frees_the_lock(site: Site) -> None:
    def lose_it() -> None:
        with connection() as conn, recompute_lock(conn):
            site.run("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
            conn.exec_driver_sql("SELECT 1")

    with pytest.raises(DatabaseUnreachableError, match="terminating connection"):
        lose_it()
    with connection() as conn, recompute_lock(conn):
        pass


def test_a_platform_s_time_limits_do_not_end_a_long_publish(site: Site) -> None:
    name = psycopg.conninfo.conninfo_to_dict(site.address)["dbname"]
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        site.run(f"ALTER DATABASE {name} SET {limit} = '200ms'")

    def slow() -> Iterator[Lists]:
        time.sleep(0.4)
        yield lists_of({1: [5]})

    with connection() as conn:
        with recompute_lock(conn):
            generation = build_generation(conn, "m", NOON, slow())
            with conn.begin():
                serve_generation(conn, generation)
                time.sleep(0.4)
        with conn.begin():
            assert conn.exec_driver_sql("SHOW statement_timeout").scalar_one() == "200ms"
    assert site.events_of(1) == [5]
