"""The nightly job from rows to rankings: what is shown, what is known, and what a kill leaves."""

import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from integration.sites import DAY, HOUR, NOON, Site, a_small_site, eventually, rank_at, recompute_at
from threadpoolctl import threadpool_limits

from eventlink.db import partitions, recommendations, session
from eventlink.db.recommendations import recompute_lock
from eventlink.errors import (
    ModelMismatchError,
    ModelVersionTakenError,
    NoEventsError,
    NoPositivesError,
    NoUsersError,
    RecomputeRunningError,
    UnknownUserError,
    WorkerKilledError,
)
from eventlink.recsys import ranking, replay
from eventlink.recsys.features import NAMES
from eventlink.recsys.options import Activate
from eventlink.services import publishing

# A small site --------------------------------------------------------------------------------


def test_three_users_and_two_events_are_ranked_by_prior_weights(database: str) -> None:
    site = a_small_site(database)
    result = recompute_at()
    assert (result.model, result.users, result.events, result.published) == ("prior", 3, 2, 3)
    assert site.events_of(1) == [101, 100]  # follows the organizer of 101
    assert site.events_of(2) == [100, 101]  # likes the topic of 100
    assert site.events_of(3) == [101]  # goes to 100
    reasons = dict(site.run("SELECT user_id, reason FROM user_recommendations WHERE rank = 1"))
    assert (reasons[1], reasons[2]) == ("followed_organizer", "interest_tag:1")


def test_one_user_and_one_event_are_enough(site: Site) -> None:
    site.users(1)
    site.event(5)
    site.event(6, start_time=NOON - DAY, created_at=NOON - 9 * DAY)
    site.registration(1, 6, registered_at=NOON - 3 * DAY)
    recompute_at(folds=2)
    assert site.events_of(1) == [5]


def test_clicks_without_a_registration_are_enough(site: Site) -> None:
    site.users(1, 2)
    site.event(5)
    site.event(6)
    for position, event in enumerate((5, 6)):
        shown = {"user_id": 1, "event_id": event, "request_id": "r", "position": position}
        shown["occurred_at"] = NOON - HOUR
        site.add("event_interactions", shown | {"interaction_type": "impression"})
    site.add("event_interactions", shown | {"interaction_type": "click"})
    assert recompute_at(folds=2).positives == 1
    assert site.events_of(1) == [6, 5]
    assert sorted(site.events_of(2)) == [5, 6]


# Who is shown what ---------------------------------------------------------------------------


def test_only_what_may_be_shown_is_shown(database: str) -> None:
    site = a_small_site(database)
    site.users(4, is_active=False)
    site.users(5, role="admin")
    site.event(200, start_time=NOON)
    site.event(201, start_time=NOON - HOUR)
    site.event(202, status="draft")
    site.event(203, status="cancelled")
    site.event(204, deleted_at=NOON - HOUR)
    site.event(205, max_seats=0)
    site.event(206, max_seats=1)
    site.registration(3, 206)
    site.event(207, created_at=NOON)
    site.event(208, publish_at=NOON + HOUR)
    site.event(209, max_seats=2)
    site.registration(3, 209)
    rank_at()
    assert {user: {event for event, _ in ranked} for user, ranked in site.rankings().items()} == {
        1: {100, 101, 209},
        2: {100, 101, 209},
        3: {101},
    }


def test_hidden_tags_and_blocked_organizers_are_not_shown(database: str) -> None:
    site = a_small_site(database)
    site.add("user_hidden_tags", {"user_id": 1, "tag_id": 1, "created_at": NOON - DAY})
    site.add("user_blocked_organizers", {"user_id": 2, "organizer_id": 11, "created_at": None})
    rank_at()
    assert (site.events_of(1), site.events_of(2)) == ([101], [100])


def test_a_registration_taken_back_frees_seat_and_event(database: str) -> None:
    site = a_small_site(database)
    site.run("UPDATE events SET max_seats = 1 WHERE id = 100")
    rank_at()
    assert [event for event, _ in site.rankings()[1]] == [101]
    site.run("UPDATE registrations SET unregistered_at = %s", NOON - HOUR)
    rank_at()
    assert [sorted(site.events_of(user)) for user in (1, 2, 3)] == [[100, 101]] * 3


def test_a_user_for_whom_nothing_is_left_has_an_empty_ranking(database: str) -> None:
    site = a_small_site(database)
    site.registration(3, 101)
    assert rank_at().published == 3
    assert set(site.rankings()) == {1, 2}


def test_rankings_are_whole_ordered_and_of_the_asked_length(city: Site) -> None:
    rank_at(top_n=7)
    rows = city.run(
        "SELECT user_id, array_agg(rank ORDER BY rank), array_agg(score ORDER BY rank),"
        "       count(DISTINCT event_id), count(DISTINCT model_version), min(generated_at),"
        "       bool_and(reason <> '')"
        "  FROM user_recommendations GROUP BY user_id"
    )
    students = city.run("SELECT id FROM users WHERE role = 'student' AND is_active")
    assert {row[0] for row in rows} == {user for (user,) in students}
    for _, ranks, scores, events, versions, generated_at, told in rows:
        assert ranks == [1, 2, 3, 4, 5, 6, 7]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        assert (events, versions, generated_at, told) == (7, 1, NOON, True)


# What is known -------------------------------------------------------------------------------

FORGET = """
DELETE FROM event_interactions WHERE occurred_at >= %(t)s;
DELETE FROM registrations WHERE registered_at >= %(t)s;
UPDATE registrations SET unregistered_at = NULL WHERE unregistered_at >= %(t)s;
UPDATE registrations SET attended = NULL FROM events
 WHERE events.id = registrations.event_id AND events.start_time >= %(t)s;
DELETE FROM favorite_events WHERE created_at >= %(t)s;
DELETE FROM user_interest_tags WHERE created_at >= %(t)s;
DELETE FROM user_hidden_tags WHERE created_at >= %(t)s;
DELETE FROM user_followed_organizers WHERE created_at >= %(t)s;
DELETE FROM user_blocked_organizers WHERE created_at >= %(t)s;
DELETE FROM events WHERE greatest(created_at, publish_at) >= %(t)s;
UPDATE events SET deleted_at = NULL WHERE deleted_at >= %(t)s;
"""


def _add_what_is_to_be_forgotten(city: Site, at: datetime) -> None:
    """Add to the city, at an instant, what happens seldom in it."""
    for table, some in (
        ("user_interest_tags", "max(id) FROM tags"),
        ("user_hidden_tags", "max(id) FROM tags"),
        ("user_followed_organizers", "max(owner_id) FROM events"),
        ("user_blocked_organizers", "max(owner_id) FROM events"),
    ):
        city.run(
            f"INSERT INTO {table} SELECT id, (SELECT {some}), %s FROM users WHERE id %% 3 = 0"
            "  ON CONFLICT DO NOTHING",
            at,
        )
    later = "SELECT id FROM events WHERE start_time > %s AND created_at < %s ORDER BY id LIMIT 2"
    soon = [event for (event,) in city.run(later, at, at)]
    city.run("UPDATE events SET deleted_at = %s WHERE id = %s", at, soon[0])
    city.run("UPDATE registrations SET unregistered_at = %s WHERE event_id = %s", at, soon[1])


def test_nothing_dated_at_or_after_the_instant_is_seen(city: Site) -> None:
    as_of = NOON - 4 * DAY
    _add_what_is_to_be_forgotten(city, as_of)

    def outcome() -> tuple[object, ...]:
        city.run("DELETE FROM recommender_models")  # the new one is judged beside it
        result = recompute_at(as_of, folds=2, replay_days=20)
        weights = city.run("SELECT weights, feature_names FROM recommender_models WHERE is_active")
        return city.rankings(), weights, result.metrics, result.positives, result.events

    seen = outcome()
    with psycopg.connect(city.address) as conn:
        for statement in FORGET.split(";")[:-1]:
            assert conn.execute(statement, {"t": as_of}).rowcount, statement
    assert outcome() == seen


def test_another_instant_gives_another_ranking(city: Site) -> None:
    rank_at(NOON - 4 * DAY)
    before = city.rankings()
    rank_at(NOON)
    assert city.rankings() != before


# Models and rankings agree -------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.usefixtures("two_cores")
def test_the_same_seed_gives_the_same_model_and_rankings(city: Site) -> None:
    outcomes = []
    for seed in (5, 5, 6):
        city.run("DELETE FROM recommender_models")
        recompute_at(seed=seed, replay_days=28, model="linear")
        weights = city.run("SELECT weights FROM recommender_models WHERE is_active")
        outcomes.append((weights, city.rankings()))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] != outcomes[2][0]


@pytest.mark.once
def test_the_stored_model_scores_as_the_trained_one_did(city: Site) -> None:
    trained = recompute_at(replay_days=28, model="linear")
    rankings = city.rankings()
    again = rank_at(now=NOON + HOUR)
    assert city.rankings() == rankings
    assert (again.model, again.model_version) == (trained.model, trained.model_version)
    assert city.run("SELECT count(*) FROM recommender_models") == [(1,)]
    assert city.run("SELECT DISTINCT generated_at FROM user_recommendations") == [(NOON + HOUR,)]


def test_the_model_s_row_tells_how_it_was_made(city: Site) -> None:
    result = recompute_at(replay_days=28, folds=1, seed=3, top_n=9, model_version="spring")
    version, names, weights, meta, active = city.run(
        "SELECT model_version, feature_names, weights, meta, is_active FROM recommender_models"
    )[0]
    assert (version, active, weights["kind"]) == ("spring", True, result.model)
    assert names == list(NAMES)
    assert (meta["options"]["seed"], meta["options"]["top_n"]) == (3, 9)
    assert meta["as_of"] == NOON.isoformat()
    registrations = "SELECT count(*) FROM registrations WHERE registered_at < %s"
    assert meta["counts"]["registrations"] == city.run(registrations, NOON)[0][0]
    assert meta["positives"] == result.positives
    assert meta["metrics"]["model"]["hitrate_10"] == result.metrics["model"].hitrate_10
    assert meta["revision"]


def test_two_models_of_the_same_second_get_two_names(database: str) -> None:
    a_small_site(database)
    names = [recompute_at(replay_days=1).model_version for _ in range(3)]
    assert names == [f"prior-20260302T120000{ending}" for ending in ("", "-2", "-3")]


def test_a_trained_prior_that_must_not_serve_is_stored_beside_the_one_that_serves(
    database: str,
) -> None:
    site = a_small_site(database)
    result = recompute_at(activate=Activate.NEVER)
    stored = site.run(
        "SELECT model_version, is_active, meta ? 'trained_at' FROM recommender_models ORDER BY 1"
    )
    name = "prior-20260302T120000"
    assert stored == [(name, False, True), (f"{name}-2", True, False)]
    assert result.model_version == f"{name}-2"


def test_without_a_model_prior_weights_rank_and_are_stored(database: str) -> None:
    site = a_small_site(database)
    result = rank_at()
    active = site.run("SELECT model_version FROM recommender_models WHERE is_active")
    assert (result.model, active) == ("prior", [(result.model_version,)])
    ((meta,),) = site.run("SELECT meta FROM recommender_models")
    assert "trained_at" not in meta
    assert "as_of" in meta


def test_one_user_is_rewritten_over_the_others_until_the_next_night(city: Site) -> None:
    rank_at(NOON - DAY)
    before = city.rankings()
    user = max(before)
    result = rank_at(NOON, user_id=user)
    assert (result.users, result.published) == (1, 1)
    after = city.rankings()
    assert after.pop(user) != before.pop(user)
    assert after == before
    rank_at(NOON + HOUR)
    dates = "SELECT DISTINCT generated_at FROM user_recommendations"
    assert city.run(dates) == [(NOON + HOUR,)]


def test_a_refresh_of_one_user_is_what_everybody_s_ranking_says_of_them(city: Site) -> None:
    rank_at(NOON)
    everybody = city.rankings()
    rank_at(NOON, now=NOON + HOUR, user_id=max(everybody))
    assert city.run("SELECT user_id FROM recommendation_overlay") == [(max(everybody),)]
    found = city.rankings()[max(everybody)]
    expected = everybody[max(everybody)]
    assert [event for event, _ in found] == [event for event, _ in expected]
    assert [score for _, score in found] == pytest.approx([s for _, s in expected], rel=1e-5)


def test_a_refresh_later_than_the_recompute_s_read_wins_over_it(city: Site) -> None:
    rank_at(NOON - DAY)
    user = max(city.rankings())
    rank_at(NOON, now=NOON + HOUR, user_id=user)
    rank_at(NOON, now=NOON)
    dates = dict(city.run("SELECT DISTINCT user_id, generated_at FROM user_recommendations"))
    assert dates.pop(user) == NOON + HOUR
    assert set(dates.values()) == {NOON}


# Nothing is written --------------------------------------------------------------------------


def test_a_dry_run_writes_nothing_and_disturbs_nobody(city: Site) -> None:
    rank_at()
    city.run("CREATE TABLE recommendation_lists_g77 (LIKE recommendation_lists)")
    before = city.contents()
    with session.connection() as conn, recompute_lock(conn):
        result = recompute_at(dry_run=True, folds=2)
    assert 0 <= result.metrics["model"].hitrate_10 <= 1
    assert (result.published, result.model_version, result.judged > 0) == (0, None, True)
    assert (result.activated, result.would_activate) == (False, True)
    assert city.contents() == before


@pytest.mark.once
@pytest.mark.parametrize(
    ("spoil", "options", "error"),
    [
        ("DELETE FROM users", {}, NoUsersError),
        ("UPDATE users SET role = 'organizer'", {}, NoUsersError),
        ("UPDATE users SET is_active = false", {}, NoUsersError),
        ("DELETE FROM events", {}, NoEventsError),
        ("UPDATE events SET start_time = created_at", {}, NoEventsError),
        ("UPDATE events SET status = 'cancelled'", {}, NoEventsError),
        ("DELETE FROM registrations", {}, NoPositivesError),
        ("SELECT 1", {"as_of": NOON - 4 * DAY}, NoPositivesError),
        ("SELECT 1", {"as_of": NOON - 40 * DAY}, NoEventsError),
        ("SELECT 1", {"user_id": 99}, UnknownUserError),
        ("SELECT 1", {"user_id": 10}, UnknownUserError),
        ("UPDATE users SET is_active = false WHERE id = 1", {"user_id": 1}, UnknownUserError),
        ("SELECT 1", {"model_version": "taken"}, ModelVersionTakenError),
        (
            "UPDATE recommender_models SET feature_names = '[\"a\"]'",
            {"skip_training": True},
            ModelMismatchError,
        ),
        (
            'UPDATE recommender_models SET weights = \'{"kind": "oracle"}\'',
            {"skip_training": True},
            ModelMismatchError,
        ),
        *(
            (
                f"UPDATE recommender_models SET weights = {weights}",
                {"skip_training": True},
                ModelMismatchError,
            )
            for weights in (
                "'null'",
                "'[]'",
                "weights - 'linear'",
                "jsonb_set(weights, '{linear,weights}', '[]')",
                "jsonb_set(weights, '{linear,weights,0}', 'null')",
                "jsonb_set(weights, '{forecast}', '\"x\"')",
                "jsonb_set(weights, '{calibration}', '{\"foo\": 1}')",
            )
        ),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(
    database: str, spoil: str, options: dict[str, object], error: type[Exception]
) -> None:
    site = a_small_site(database)
    rank_at()
    site.run("UPDATE recommender_models SET model_version = 'taken'")
    site.run(spoil)
    before = site.contents()
    with pytest.raises(error):
        recompute_at(**options)
    assert site.contents() == before


def test_a_failure_after_the_ranking_leaves_the_old_one_serving(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = a_small_site(database)
    rank_at()
    before, models = site.rankings(), site.run("SELECT * FROM recommender_models")
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "store_model", lambda *_, **__: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            recompute_at(now=NOON + HOUR)
    assert site.rankings() == before
    assert site.run("SELECT * FROM recommender_models") == models
    rank_at(now=NOON + 2 * HOUR)
    assert len(site.generations()[1]) == 2


def test_a_second_recompute_is_refused_at_once(database: str) -> None:
    a_small_site(database)
    with session.connection() as conn, recompute_lock(conn):
        began = time.monotonic()
        with pytest.raises(RecomputeRunningError):
            recompute_at()
        assert time.monotonic() - began < 5


# Reading meanwhile ---------------------------------------------------------------------------


def test_generations_do_not_pile_up(city: Site) -> None:
    for number in range(4):
        recompute_at(now=NOON + number * HOUR, skip_training=number > 0)
    serving, before = city.serving()
    assert city.generations() == ([before, serving],) * 3
    active = "SELECT model_version FROM recommender_models WHERE is_active"
    assert len(city.run(active)) == 1


@pytest.mark.usefixtures("two_cores")
def test_readers_always_get_one_whole_ranking(city: Site) -> None:
    recompute_at()
    user = max(city.rankings())
    read = (
        "SELECT user_id, event_id, score, rank, model_version, generated_at, reason"
        "  FROM user_recommendations WHERE user_id = %s"
    )
    stop = threading.Event()

    def answers(prepare_threshold: int | None) -> set[tuple[object, ...]]:
        seen = set()
        with psycopg.connect(
            city.address, autocommit=True, prepare_threshold=prepare_threshold
        ) as conn:
            while not stop.is_set():
                rows = conn.execute(read, (user,)).fetchall()
                ranks = tuple(sorted(row[3] for row in rows))
                seen.add((ranks, *{row[4:6] for row in rows}))
        return seen

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(answers, threshold) for threshold in (None, None, 1)]
        try:
            for number in (1, 2):
                recompute_at(now=NOON + number * HOUR)
        finally:
            stop.set()
    for reader in readers:
        seen = reader.result()
        assert {ranks for ranks, *_ in seen} == {tuple(range(1, len(city.events_of(user)) + 1))}
        assert {len(made) for _, *made in seen} == {1}
        assert len(seen) == 3


# Killing it ----------------------------------------------------------------------------------


def _pause(reached: "multiprocessing.synchronize.Event") -> Callable[..., None]:
    def pause(*_: object, **__: object) -> None:
        reached.set()
        time.sleep(60)

    return pause


def _while_replaying(pause: Callable[..., None]) -> None:
    replay.examples_of_day = pause  # type: ignore[assignment]


def _while_ranking(pause: Callable[..., None]) -> None:
    ranking.USERS_A_BLOCK = 16
    ranking.Ranker.rank = _in_helpers(pause)  # type: ignore[method-assign]


def _in_helpers(act: Callable[[], object]) -> Callable[..., ranking.Rankings]:
    """Rank as usual in this process, and do something else in those that help it."""
    usual, owner = ranking.Ranker.rank, os.getpid()

    def rank(ranker: ranking.Ranker, *given: Any, **named: Any) -> ranking.Rankings:
        if os.getpid() != owner:
            act()
        return usual(ranker, *given, **named)

    return rank


def _while_waiting_for_readers(pause: Callable[..., None]) -> None:
    recommendations.await_readers = pause


def _between_build_and_flip(pause: Callable[..., None]) -> None:
    publishing.serve_generation = pause


def _before_the_flip_is_committed(pause: Callable[..., None]) -> None:
    publishing.store_model = pause


def _before_cleaning(pause: Callable[..., None]) -> None:
    publishing.clean_up = pause


PHASES = (
    _while_replaying,
    _while_ranking,
    _while_waiting_for_readers,
    _between_build_and_flip,
    _before_the_flip_is_committed,
    _before_cleaning,
)


def _in_child(prepare: Callable[[], None], *, train: bool = False) -> BaseProcess:
    """Recompute in a forked process, which must not use this process's connections."""

    def run() -> None:
        threadpool_limits(1)  # OpenMP waits for ever for threads that the fork has left behind
        session.engine().dispose(close=False)
        prepare()
        recompute_at(now=NOON + HOUR, skip_training=not train)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    return child


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _unlocked(site: Site) -> bool:
    return not site.run("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'")


def _cleans_up_after(site: Site) -> None:
    """Check that the next recompute publishes and leaves two generations."""
    assert eventually(lambda: _unlocked(site))
    rank_at(now=NOON + 2 * HOUR)
    dates = site.run("SELECT DISTINCT generated_at FROM user_recommendations")
    assert dates == [(NOON + 2 * HOUR,)]
    serving, before = site.serving()
    assert site.generations() == ([before, serving],) * 3
    assert site.run("SELECT count(*) FROM recommender_models WHERE is_active") == [(1,)]


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for helpers in /proc")
@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__.strip("_"))
def test_killed_the_old_rankings_serve_and_the_next_run_cleans(
    city: Site, phase: Callable[[Callable[..., None]], None]
) -> None:
    for hours in (2, 1):
        rank_at(NOON - hours * HOUR)
    before = city.rankings()
    reached = multiprocessing.get_context("fork").Event()
    trains = phase in {_while_replaying, _before_the_flip_is_committed}
    child = _in_child(lambda: phase(_pause(reached)), train=trains)
    assert reached.wait(30)
    assert child.pid is not None
    helpers = _children(child.pid)
    assert bool(helpers) == (phase in {_while_replaying, _while_ranking})
    child.kill()
    child.join()
    assert eventually(lambda: not any(map(_runs, helpers)))
    assert city.rankings().keys() == before.keys()
    if phase is not _before_cleaning:
        assert city.rankings() == before
    _cleans_up_after(city)


def test_killed_while_an_old_generation_is_detached_the_next_run_finishes_it(city: Site) -> None:
    for hours in (2, 1):
        rank_at(NOON - hours * HOUR)

    def prepare() -> None:
        partitions.LOCK_TIMEOUT = "60s"
        partitions.LONGEST_READ = 0.0

    pending = "SELECT 1 FROM pg_inherits WHERE inhdetachpending"
    with psycopg.connect(city.address) as reader:
        reader.execute("SELECT count(*) FROM user_recommendations")
        child = _in_child(prepare)
        assert eventually(lambda: city.run(pending))
        child.kill()
        child.join()
        assert city.run(pending)
        dates = city.run("SELECT DISTINCT generated_at FROM user_recommendations")
        assert dates == [(NOON + HOUR,)]
    _cleans_up_after(city)


@pytest.mark.usefixtures("two_cores")
def test_killed_at_any_moment_somebody_always_serves(city: Site) -> None:
    rank_at()
    users = city.rankings().keys()
    moments = random.Random(11)  # noqa: S311 (moments, not secrets)
    for _ in range(4):
        child = _in_child(lambda: None, train=True)
        time.sleep(moments.uniform(0.05, 0.8))
        child.kill()
        child.join()
        assert city.rankings().keys() == users
        assert eventually(lambda: _unlocked(city))
    _cleans_up_after(city)


@pytest.mark.once
@pytest.mark.usefixtures("two_cores")
def test_a_helper_that_is_killed_ends_the_run_and_nothing_is_written(
    city: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_at()
    before = city.contents()
    monkeypatch.setattr(ranking, "USERS_A_BLOCK", 16)
    killed = _in_helpers(lambda: os.kill(os.getpid(), signal.SIGKILL))
    monkeypatch.setattr(ranking.Ranker, "rank", killed)
    with pytest.raises(WorkerKilledError, match="memory"):
        rank_at(now=NOON + HOUR)
    assert city.contents() == before
