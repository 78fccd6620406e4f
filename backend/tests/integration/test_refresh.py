"""A refresh ranks with what was done a second ago, loses no mark, and holds nobody up."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, cast

import psycopg
import pytest
from integration.sites import DAY, NOON, Site, a_small_site, eventually, rank_at, recompute_at
from sqlalchemy import Connection

from eventlink.config import settings
from eventlink.db import persons
from eventlink.db.columns import OF_PERSONS
from eventlink.db.models import StoredModel, store_model, stored_model
from eventlink.db.refreshes import (
    LEASE_SECONDS,
    MOST_ATTEMPTS,
    Claim,
    claim_due,
    mark_for_refresh,
)
from eventlink.db.session import transaction
from eventlink.errors import DatabaseUnreachableError, PublishRefusedError
from eventlink.recsys.options import Activate
from eventlink.services import publishing, refresh, warm
from eventlink.services.models import activate
from eventlink.services.refresh import Refresher
from eventlink.services.warm import Warm, renew

SECOND = timedelta(seconds=1)
LATER = NOON + timedelta(minutes=1)
FIVE_MINUTES = timedelta(minutes=5)


@pytest.fixture
def small(database: str) -> Site:
    site = a_small_site(database)
    rank_at()
    return site


def mark(*user_ids: int, min_interval: float = 0) -> None:
    for user_id in user_ids:
        with transaction() as conn:
            mark_for_refresh(conn, user_id, min_interval)


class Clock:
    """The server's, in the sites' time; goes on, so that what is done later is dated later."""

    since = LATER
    """What it showed when the test began."""
    begun = 0.0

    def now(self) -> datetime:
        """Tell the time."""
        return self.since + timedelta(seconds=monotonic() - self.begun)


CLOCK = Clock()


@pytest.fixture(autouse=True)
def _from_now_on() -> Iterator[None]:
    def claim_by_clock(conn: Connection, size: int) -> list[Claim]:
        return [replace(claim, at=CLOCK.now()) for claim in claim_due(conn, size)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CLOCK, "since", LATER)
        patch.setattr(CLOCK, "begun", monotonic())
        patch.setattr(refresh, "claim_due", claim_by_clock)
        yield


def drain(refresher: Refresher, ahead: timedelta = timedelta(0)) -> int:
    """Refresh until nobody is due and nothing is being loaded.

    Args:
        refresher: Who is to.
        ahead: How far its machine's clock is ahead of the server's.
    """
    count = 0
    while (done := refresher.refresh_due(CLOCK.now() + ahead)) or refresher._loading is not None:
        count += done
    return count


def catch_up(refresher: Refresher) -> None:
    while refresher.catch_up(CLOCK.now()):
        pass


def due(site: Site) -> list[int]:
    found = site.run(
        "SELECT user_id FROM recommendation_refreshes WHERE due_at IS NOT NULL ORDER BY 1"
    )
    return [user_id for (user_id,) in found]


def refreshed(site: Site) -> list[int]:
    return [user for (user,) in site.run("SELECT user_id FROM recommendation_overlay ORDER BY 1")]


@pytest.mark.parametrize("model", ["linear", "trees"])
def test_who_did_nothing_new_keeps_the_ranking_of_the_recompute(
    city: Site, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setattr(CLOCK, "now", lambda: NOON)
    recompute_at(model=model)
    published = city.rankings()
    refresher = Refresher()
    assert refresher.refresh_due(NOON) == 0  # loads
    mark(*published)
    assert sum(iter(lambda: refresher.refresh_due(NOON), 0)) == len(published)
    assert refreshed(city) == sorted(published)
    for user, ranking in city.rankings().items():  # sums hang on the size of the block
        assert dict(ranking) == pytest.approx(dict(published[user]), rel=1e-5)
    columns = "SELECT count(*), count(DISTINCT reason) FROM user_recommendations"
    assert city.run(columns)[0][1] > 1


def test_what_was_done_a_second_ago_counts(small: Site) -> None:
    refresher = Refresher()
    mark(2)
    drain(refresher)
    before = small.rankings()[2]
    small.add(
        "event_interactions",
        {"user_id": 2, "event_id": 101, "interaction_type": "click", "occurred_at": LATER - SECOND},
    )
    mark(2)
    assert drain(refresher) == 1
    assert dict(small.rankings()[2]) != dict(before)


def test_what_was_registered_hidden_or_blocked_is_gone(small: Site) -> None:
    refresher = Refresher()
    drain(refresher)
    assert [small.events_of(user) for user in (1, 2)] == [[101, 100], [100, 101]]
    small.registration(1, 101, registered_at=LATER - SECOND)
    small.add("user_hidden_tags", {"user_id": 2, "tag_id": 1, "created_at": LATER - SECOND})
    small.add("user_blocked_organizers", {"user_id": 3, "organizer_id": 11, "created_at": LATER})
    mark(1, 2, 3)
    drain(refresher)
    assert [small.events_of(user) for user in (1, 2, 3)] == [[100], [101], []]


def test_a_user_who_came_after_the_crowd_was_loaded_is_ranked(small: Site) -> None:
    refresher = Refresher()
    drain(refresher)
    small.users(4)
    small.users(12, role="organizer")
    small.add("user_followed_organizers", {"user_id": 4, "organizer_id": 12, "created_at": NOON})
    small.add("user_interest_tags", {"user_id": 4, "tag_id": 2, "created_at": NOON})
    mark(4)
    drain(refresher)
    assert small.events_of(4) == [101, 100]


def test_who_gets_no_rankings_is_only_unmarked(small: Site) -> None:
    small.users(5, is_active=False)
    mark(5, 10)
    assert drain(Refresher()) == 2
    assert (due(small), refreshed(small)) == ([], [])


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("ranked", [False, True])
def test_without_a_model_or_live_events_marks_are_cleared(database: str, ranked: bool) -> None:
    site = a_small_site(database)
    if ranked:
        rank_at()
        site.run("UPDATE events SET status = 'cancelled'")
    mark(1)
    assert drain(Refresher()) == 1
    assert (due(site), refreshed(site)) == ([], [])


def test_a_user_who_is_erased_meanwhile_is_left_out(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then(ranked: Any) -> Any:
        small.run("DELETE FROM users WHERE id = 2")
        return ranked

    meanwhile(monkeypatch, then)
    mark(1, 2)
    drain(Refresher())
    assert (refreshed(small), due(small)) == ([1], [])


def meanwhile(monkeypatch: pytest.MonkeyPatch, then: Callable[[Any], Any]) -> None:
    """Let something happen between a ranking and its publication."""
    rank = refresh._rank
    monkeypatch.setattr(refresh, "_rank", lambda *given: then(rank(*given)))


def test_a_mark_made_while_the_refresh_runs_stays(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresher = Refresher()
    drain(refresher)

    def then(ranked: Any) -> Any:
        if not small.run("SELECT 1 FROM registrations WHERE user_id = 1"):
            small.registration(1, 101, registered_at=LATER - SECOND)
            mark(1)
        return ranked

    meanwhile(monkeypatch, then)
    mark(1)
    assert refresher.refresh_due(CLOCK.now()) == 1
    assert due(small) == [1]
    assert drain(refresher) == 1
    assert (due(small), small.events_of(1)) == ([], [100])


def test_marks_come_an_interval_after_the_last_refresh(small: Site) -> None:
    refresher = Refresher()
    mark(1, 2, min_interval=60)
    assert drain(refresher) == 2
    mark(1, min_interval=60)
    mark(1, min_interval=60)
    mark(2)
    assert drain(refresher) == 1
    wait = "SELECT extract(epoch FROM due_at - refreshed_at)::int FROM recommendation_refreshes"
    assert (due(small), small.run(f"{wait} WHERE user_id = 1")) == ([1], [(60,)])


def test_whoever_marks_does_not_wait_for_a_ranking(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then(ranked: Any) -> Any:
        with transaction() as conn:
            conn.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
            mark_for_refresh(conn, 1, 300)
        return ranked

    meanwhile(monkeypatch, then)
    mark(1)
    assert Refresher().refresh_due(CLOCK.now()) == 1
    wait = small.run(
        "SELECT extract(epoch FROM due_at - refreshed_at) FROM recommendation_refreshes"
    )
    assert 299 < wait[0][0] < 301


def test_a_worker_that_waited_for_its_load_ranks_after_one_that_did_not(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, asked, loaded, load = Refresher(), threading.Event(), threading.Event(), refresh.load
    drain(quick)

    def slow(now: datetime) -> Warm:
        asked.set()
        assert loaded.wait(30)
        return load(now)

    monkeypatch.setattr(refresh, "load", slow)
    waiting = threading.Thread(target=lambda: Refresher().refresh_due(CLOCK.now()))
    waiting.start()
    assert asked.wait(30)
    mark(1)
    assert drain(quick) == 1
    small.registration(1, 101, registered_at=CLOCK.now())
    mark(1)
    loaded.set()
    waiting.join()
    assert due(small) == []
    assert small.events_of(1) == [100]


@pytest.mark.parametrize("ahead", [FIVE_MINUTES, -FIVE_MINUTES])
def test_an_act_counts_whichever_machine_claims_it_and_whatever_its_clock_shows(
    small: Site, ahead: timedelta
) -> None:
    one, other = Refresher(), Refresher()
    drain(one, ahead)
    drain(other, -ahead)
    small.registration(1, 101, registered_at=CLOCK.now())
    mark(1)
    assert drain(one, ahead) == 1
    assert (due(small), small.events_of(1)) == ([], [100])
    small.registration(1, 100, registered_at=CLOCK.now())
    mark(1)
    assert drain(other, -ahead) == 1
    assert (due(small), small.events_of(1)) == ([], [])


def test_a_claim_that_was_held_up_is_dated_after_what_was_done_meanwhile(small: Site) -> None:
    mark(1)
    with transaction() as conn:
        conn.exec_driver_sql("SELECT 1")  # the transaction begins
        [(before,)] = small.run("SELECT clock_timestamp()")
        [claim] = claim_due(conn, 10)
        [(after,)] = small.run("SELECT clock_timestamp()")
    assert before < claim.at < after


def test_nothing_is_lost_while_marks_and_refreshes_race(city: Site) -> None:
    rank_at()
    users = sorted(city.rankings())[:20]
    taken = {user: city.events_of(user)[:8] for user in users}
    refreshers = [Refresher(), Refresher()]
    for refresher in refreshers:
        drain(refresher)
    over = threading.Event()

    def act(turn: int) -> None:
        for place in range(8):
            for user in users[turn::2]:
                with transaction() as conn:
                    conn.exec_driver_sql(
                        "INSERT INTO registrations (user_id, event_id, registered_at)"
                        " VALUES (%s, %s, %s)",
                        (user, taken[user][place], NOON),
                    )
                    mark_for_refresh(conn, user, 0)

    def work(refresher: Refresher) -> None:
        while not over.is_set():
            drain(refresher)
        drain(refresher)

    workers = [threading.Thread(target=work, args=(refresher,)) for refresher in refreshers]
    actors = [threading.Thread(target=act, args=(turn,)) for turn in range(2)]
    for thread in [*workers, *actors]:
        thread.start()
    for thread in actors:
        thread.join()
    over.set()
    for thread in workers:
        thread.join()
    assert due(city) == []
    lists = {
        user: set(events)
        for user, events in city.run("SELECT user_id, event_ids FROM recommendation_overlay")
    }
    assert {user: lists[user] & set(taken[user]) for user in users} == {
        user: set() for user in users
    }
    marks = city.run("SELECT sum(sequence), max(attempts) FROM recommendation_refreshes")
    assert marks == [(8 * len(users), 0)]


def test_a_claim_of_one_who_died_is_taken_over(small: Site) -> None:
    mark(1)
    with transaction() as conn:
        assert [claim.user_id for claim in claim_due(conn, 10)] == [1]
    refresher = Refresher()
    assert drain(refresher) == 0
    small.run(
        "UPDATE recommendation_refreshes SET due_at = due_at - make_interval(secs => %s),"
        " claimed_until = claimed_until - make_interval(secs => %s)",
        LEASE_SECONDS,
        LEASE_SECONDS,
    )
    assert drain(refresher) == 1
    assert (refreshed(small), due(small)) == ([1], [])


def test_a_batch_leases_as_many_as_asked_and_one_that_failed(city: Site) -> None:
    users = sorted(city.rankings() or range(1, 9))[:8]
    mark(*users)
    city.run("UPDATE recommendation_refreshes SET attempts = 2 WHERE user_id > %s", users[4])
    with transaction() as conn:
        claims = claim_due(conn, 2)
    assert sorted(claim.attempts for claim in claims) == [1, 1, 3]
    assert len({claim.user_id for claim in claims}) == 3


def test_a_database_that_was_away_is_found_again(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresher = Refresher()
    mark(1)
    drain(refresher)
    mark(1, 2)
    end = "SELECT pg_terminate_backend(pg_backend_pid()) FROM users WHERE id = ANY(%s)"
    with monkeypatch.context() as broken:
        broken.setattr(persons, "OF_PERSONS", (*OF_PERSONS, end))
        with pytest.raises(DatabaseUnreachableError):
            refresher.refresh_due(CLOCK.now())
    assert due(small) == [1, 2]
    small.run("UPDATE recommendation_refreshes SET due_at = now(), claimed_until = now()")
    drain(refresher)
    assert (due(small), refreshed(small)) == ([], [1, 2])


def test_connections_that_were_closed_meanwhile_are_opened_again(small: Site) -> None:
    refresher = Refresher()
    mark(1)
    drain(refresher)
    mark(1, 2)
    small.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    drain(refresher)
    assert (due(small), refreshed(small)) == ([], [1, 2])


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """User 2, whose rows break every ranking; the list tells how many were ranked each time."""
    rank, tried = refresh._rank, []

    def break_or_rank(given: warm.Warm, claims: Any, now: Any) -> Any:
        tried.append(len(claims))
        if 2 in {claim.user_id for claim in claims}:
            raise ZeroDivisionError
        return rank(given, claims, now)

    monkeypatch.setattr(refresh, "_rank", break_or_rank)
    return tried


def test_a_user_whose_rows_break_the_ranking_holds_nobody_up(
    small: Site, poisoned: list[int]
) -> None:
    refresher = Refresher()
    mark(1, 2, 3)
    drain(refresher)
    assert refreshed(small) == [1, 3]
    assert due(small) == [2]
    soon = "SELECT due_at > now() FROM recommendation_refreshes WHERE user_id = 2"
    assert small.run(soon) == [(True,)]
    mark(1, 2, 3)
    poisoned.clear()
    drain(refresher)
    assert (poisoned, small.run(soon)) == ([2], [(True,)])


def test_a_user_who_fails_too_often_is_given_up_until_the_next_mark(
    small: Site, poisoned: list[int]
) -> None:
    refresher = Refresher()
    mark(2)
    for _ in range(MOST_ATTEMPTS):
        assert due(small) == [2]
        small.run("UPDATE recommendation_refreshes SET due_at = now()")
        drain(refresher)
    assert due(small) == []
    mark(1, 2)
    poisoned.clear()
    drain(refresher)
    assert poisoned == [1, 1]
    assert refreshed(small) == [1]


def test_who_ends_the_worker_again_and_again_is_not_tried_any_more(
    small: Site, poisoned: list[int]
) -> None:
    mark(2)
    small.run("UPDATE recommendation_refreshes SET attempts = %s", MOST_ATTEMPTS)
    drain(Refresher())
    assert (poisoned, due(small)) == ([], [])


def test_another_active_model_ranks_from_the_next_refresh_on(city: Site) -> None:
    recompute_at(model="linear")
    refresher = Refresher()
    CLOCK.since = NOON
    drain(refresher)
    CLOCK.since = LATER
    recompute_at(model="trees", now=NOON + SECOND, activate="always")
    user = min(city.rankings())
    mark(user)
    drain(refresher)
    made = "SELECT o.model_version = m.model_version FROM recommendation_overlay o, recommender_models m"
    assert city.run(f"{made} WHERE m.is_active") == [(True,)]


def test_a_model_that_was_replaced_meanwhile_publishes_nothing(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then(ranked: Any) -> Any:
        small.run("UPDATE recommender_models SET is_active = false")
        return ranked

    meanwhile(monkeypatch, then)
    mark(1)
    Refresher().refresh_due(CLOCK.now())
    assert (refreshed(small), due(small)) == ([], [1])


def test_a_new_event_is_ranked_without_waiting_for_the_night(small: Site) -> None:
    refresher = Refresher()
    drain(refresher)
    small.event(102, tags=(1,), owner_id=10, created_at=NOON)
    small.run("UPDATE events SET status = 'cancelled' WHERE id = 101")
    mark(1)

    def ranked() -> bool:
        mark(1)
        drain(refresher)
        return set(small.events_of(1)) == {100, 102}

    assert eventually(ranked)


def test_a_new_event_reaches_those_whom_nobody_marked(small: Site) -> None:
    refresher = Refresher()
    drain(refresher)
    assert refreshed(small) == []
    small.event(102, tags=(1,), owner_id=10, created_at=NOON)

    def reached() -> bool:
        drain(refresher)
        return all(102 in small.events_of(user) for user in (1, 2, 3))

    assert eventually(reached)


def test_the_first_event_of_an_empty_catalogue_reaches_everybody(small: Site) -> None:
    small.run("UPDATE events SET status = 'cancelled', updated_at = %s", NOON)
    refresher = Refresher()
    drain(refresher)
    small.event(102, tags=(1,), owner_id=10, created_at=NOON + SECOND)

    def reached() -> bool:
        drain(refresher)
        return all(102 in small.events_of(user) for user in (1, 2, 3))

    assert eventually(reached)


def test_a_new_event_reaches_those_who_acted_while_a_new_model_ranked(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresher, build = Refresher(), publishing._build
    drain(refresher)

    def build_meanwhile(*args: Any) -> Any:
        mark(1)
        drain(refresher)
        return build(*args)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_build", build_meanwhile)
        recompute_at(NOON + SECOND, activate=Activate.ALWAYS)
    assert refreshed(small) == [1]
    small.event(102, tags=(1,), owner_id=10, created_at=NOON + 2 * SECOND)

    def reached() -> bool:
        drain(refresher)
        return all(102 in small.events_of(user) for user in (1, 2, 3))

    assert eventually(reached)


@pytest.mark.parametrize("in_flight", [1, 2])
def test_refreshes_under_way_while_a_new_model_begins_to_serve_are_done_again(
    small: Site, monkeypatch: pytest.MonkeyPatch, in_flight: int
) -> None:
    refresher, build, rank = Refresher(), publishing._build, refresh._rank
    store = publishing.store_explorations
    drain(refresher)
    ranked, publishes = threading.Event(), threading.Event()
    late = threading.Thread(target=lambda: refresher.refresh_due(CLOCK.now()))

    def rank_slowly(*args: Any) -> Any:
        found = rank(*args)
        ranked.set()
        assert publishes.wait(30)
        return found

    def build_meanwhile(*args: Any) -> Any:
        mark(1)
        drain(refresher)
        built = build(*args)
        mark(in_flight)
        monkeypatch.setattr(refresh, "_rank", rank_slowly)
        late.start()
        assert ranked.wait(30)
        return built

    def store_meanwhile(*args: Any) -> None:
        publishes.set()
        late.join(1)  # it is over, or waits for us
        store(*args)

    monkeypatch.setattr(publishing, "_build", build_meanwhile)
    monkeypatch.setattr(publishing, "store_explorations", store_meanwhile)
    recompute_at(NOON + SECOND, activate=Activate.ALWAYS)
    late.join()
    assert due(small) == sorted({1, in_flight})


def test_a_publish_does_not_wait_for_a_user_who_is_being_erased(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresher, build = Refresher(), publishing._build
    drain(refresher)
    with psycopg.connect(small.address) as eraser:

        def build_meanwhile(*args: Any) -> Any:
            mark(1)
            drain(refresher)
            built = build(*args)
            eraser.execute("DELETE FROM users WHERE id = 1")
            return built

        monkeypatch.setattr(publishing, "_build", build_meanwhile)
        recompute_at(NOON + SECOND, activate=Activate.ALWAYS)
    assert due(small) == []
    assert small.events_of(1) == []


def test_a_new_event_that_is_refused_holds_up_nobody(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PublishRefusedError("a score is not a finite number")

    monkeypatch.setattr(refresh, "enter_events", refuse)
    small.event(102, created_at=NOON + SECOND)
    refresher = Refresher()
    assert refresher.refresh_due(CLOCK.now()) > 0
    assert refresher.refresh_due(CLOCK.now()) == 0
    mark(1)
    drain(refresher)
    assert 102 in small.events_of(1)
    assert 102 not in small.events_of(2)


def test_an_event_that_came_while_no_worker_ran_reaches_everybody(small: Site) -> None:
    small.event(102, created_at=NOON + SECOND)
    drain(Refresher())
    assert all(102 in small.events_of(user) for user in (1, 2, 3))


def test_what_is_new_is_learned_of_though_nobody_is_due(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresher = Refresher()
    with monkeypatch.context() as patch:
        patch.setenv("RECOMMENDATIONS_REALTIME_REFRESH_ENABLED", "false")
        settings.cache_clear()
        assert not refresher.catch_up(CLOCK.now())
        assert refresher._loading is None
    settings.cache_clear()
    catch_up(refresher)
    assert refreshed(small) == []
    small.event(102, created_at=NOON + SECOND)

    def entered() -> bool:
        catch_up(refresher)
        return all(102 in small.events_of(user) for user in (1, 2, 3))

    assert eventually(entered)  # loading rests in between


def test_what_was_begun_for_another_model_is_not_ranked_by(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(now: datetime, before: Warm) -> Warm:
        found = renew(now, before)
        begun.set()
        assert go_on.wait(30)
        return found

    refresher = Refresher()
    catch_up(refresher)
    small.event(102, created_at=NOON + SECOND)
    monkeypatch.setattr(refresh, "renew", slow)
    assert eventually(lambda: refresher.catch_up(CLOCK.now()))
    assert begun.wait(30)
    recompute_at(activate=Activate.ALWAYS, model_version="another")
    go_on.set()
    mark(1)
    drain(refresher)
    assert refresher._warm is not None
    assert refresher._warm.state.model_version == "another"
    assert small.run("SELECT DISTINCT model_version FROM recommendation_overlay") == [("another",)]


def test_a_new_event_changes_only_rankings_that_it_may_enter(city: Site) -> None:
    recompute_at(top_n=5)
    published = city.rankings()
    city.event(10**6, created_at=NOON, owner_id=None, lat=10.0, lon=10.0)
    drain(Refresher())
    rankings = city.rankings()
    assert set(refreshed(city)) < set(published)
    for user in published:
        city.run(
            "INSERT INTO recommendation_refreshes (user_id, sequence, due_at) VALUES (%s, 1, now())"
            " ON CONFLICT (user_id) DO UPDATE SET due_at = now()",
            user,
        )
    drain(Refresher())
    after = city.rankings()
    entered = {user for user in after if 10**6 in dict(after[user])}
    assert entered == {user for user in rankings if 10**6 in dict(rankings[user])}


def test_an_event_is_ranked_from_its_publication_on(small: Site) -> None:
    small.event(103, created_at=NOON, publish_at=LATER + timedelta(minutes=2))
    refresher = Refresher()
    mark(1)
    drain(refresher)
    assert small.events_of(1) == [101, 100]
    CLOCK.since = LATER + timedelta(minutes=4)

    def ranked() -> bool:
        mark(1)
        drain(refresher)
        return 103 in small.events_of(1)

    assert eventually(ranked)


def test_what_cannot_be_loaded_is_not_tried_again_at_once(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresher, tried = Refresher(), []
    catch_up(refresher)

    def broken(_now: Any, _before: Any) -> Any:
        tried.append(1)
        raise DatabaseUnreachableError("too many clients")

    monkeypatch.setattr(refresh, "renew", broken)
    small.event(102, created_at=NOON + SECOND)

    def is_tried() -> bool:
        refresher.catch_up(CLOCK.now())
        return bool(tried)

    assert eventually(is_tried)
    for _ in range(50):
        refresher.catch_up(CLOCK.now())
    assert len(tried) == 1


def test_what_was_replaced_as_a_whole_is_loaded_before_anybody_is_ranked(small: Site) -> None:
    refresher = Refresher()
    catch_up(refresher)
    before = refresher._warm
    small.run("DELETE FROM recommendation_serving")
    mark(1)
    assert refresher.refresh_due(CLOCK.now()) == 1
    assert refresher._warm is not before


def test_an_event_that_entered_enters_again_where_its_model_is_taken_back(small: Site) -> None:
    refresher = Refresher()
    catch_up(refresher)
    small.event(102, created_at=NOON + SECOND)

    def entered() -> bool:
        catch_up(refresher)
        return all(102 in small.events_of(user) for user in (1, 2, 3))

    assert eventually(entered)
    [(first,)] = small.run("SELECT model_version FROM recommender_models")
    with transaction() as conn:
        store_model(
            conn,
            replace(cast("StoredModel", stored_model(conn, first)), model_version="second"),
            activate=True,
        )
        activate(conn, "second", "a test", LATER)
    catch_up(refresher)
    with transaction() as conn:
        activate(conn, first, "a test", LATER)
    assert eventually(entered)


def test_what_cannot_be_loaded_leaves_what_was_loaded_before(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresher = Refresher()
    drain(refresher)

    def broken(_now: Any, _before: Any) -> Any:
        raise DatabaseUnreachableError("gone")

    monkeypatch.setattr(refresh, "renew", broken)
    mark(1)
    assert drain(refresher, DAY) == 1
    assert refreshed(small) == [1]
