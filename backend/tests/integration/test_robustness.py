"""Sites where something is missing or wrong: a recompute does not fail, and its rankings make sense."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from integration.sites import HOUR, NOON, Site, a_small_site, rank_at, recompute_at

from eventlink.recsys.options import Activate, TrainOptions
from eventlink.services.evaluate import evaluate_database

pytestmark = pytest.mark.once

WHOLE = {"folds": 3, "replay_days": 14}
YEARS = timedelta(days=800)


def require_sensible(site: Site, users: int | None = None) -> None:
    """Every student has a full list, best first, of events that may be shown."""
    rankings = site.rankings()
    students = site.run("SELECT count(*) FROM users WHERE role = 'student' AND is_active")[0][0]
    assert len(rankings) == (students if users is None else users)
    open_events = site.run(
        "SELECT count(*) FROM events WHERE status = 'published' AND start_time > %s"
        " AND created_at < %s AND deleted_at IS NULL",
        NOON,
        NOON,
    )[0][0]
    for ranking in rankings.values():
        scores = np.array([score for _, score in ranking])
        assert ((scores >= 0) & (scores <= 1)).all()
        assert len({event for event, _ in ranking}) == len(ranking) > 0.5 * min(open_events, 50)
    registered = site.run(
        "SELECT count(*) FROM user_recommendations JOIN registrations USING (user_id, event_id)"
        " WHERE unregistered_at IS NULL AND registered_at < %s",
        NOON,
    )
    assert registered == [(0,)]


def require_better_than_popularity(**changes: Any) -> None:
    found = evaluate_database(TrainOptions(replay_days=14, **changes), NOON, 4).outcomes
    assert found["model"].mean("ndcg") > found["popularity"].mean("ndcg")


def without_tags(site: Site) -> None:
    for table in ("event_tags", "user_interest_tags", "user_hidden_tags", "tags"):
        site.run(f"DELETE FROM {table}")


def without_coordinates(site: Site) -> None:
    for table in ("users", "events"):
        site.run(f"UPDATE {table} SET lat = NULL, lon = NULL")


def without_follows(site: Site) -> None:
    site.run("DELETE FROM user_followed_organizers")


def without_organizers(site: Site) -> None:
    site.run("UPDATE events SET owner_id = NULL")
    without_follows(site)


def without_anything_but_registrations(site: Site) -> None:
    without_tags(site)
    without_coordinates(site)
    without_organizers(site)
    site.run("UPDATE events SET category = NULL, city = NULL, venue = NULL, title = ''")
    site.run("UPDATE users SET city = NULL")
    for table in ("event_interactions", "favorite_events", "user_blocked_organizers"):
        site.run(f"DELETE FROM {table}")


MISSING: tuple[Callable[[Site], None], ...] = (
    without_tags,
    without_coordinates,
    without_follows,
    without_organizers,
    without_anything_but_registrations,
)


@pytest.mark.parametrize("spoil", MISSING, ids=lambda spoil: spoil.__name__)
def test_what_a_city_does_not_know_is_done_without(
    city: Site, spoil: Callable[[Site], None]
) -> None:
    spoil(city)
    result = recompute_at(**WHOLE)
    assert result.metrics
    assert np.isfinite(result.metrics["model"].ndcg_10)
    require_sensible(city)


@pytest.mark.usefixtures("city")
@pytest.mark.parametrize("spoil", MISSING[1:3], ids=lambda spoil: spoil.__name__)
def test_rankings_stay_above_popularity(city: Site, spoil: Callable[[Site], None]) -> None:
    spoil(city)
    require_better_than_popularity(model="linear")


def test_a_city_with_impressions_only_is_ranked(city: Site) -> None:
    city.run("DELETE FROM registrations")
    city.run("DELETE FROM favorite_events")
    city.run("DELETE FROM event_interactions WHERE interaction_type <> 'impression'")
    result = recompute_at(**WHOLE)
    assert result.positives == 0
    assert result.metrics == {}
    require_sensible(city)
    # Nobody has chosen anything, but what people say of themselves still counts.
    likes, rest = city.run(
        "WITH liked AS (SELECT DISTINCT likes.user_id, had.event_id"
        "                 FROM user_interest_tags AS likes JOIN event_tags AS had USING (tag_id))"
        " SELECT avg(rank) FILTER (WHERE liked.user_id IS NOT NULL),"
        "        avg(rank) FILTER (WHERE liked.user_id IS NULL)"
        "   FROM user_recommendations LEFT JOIN liked USING (user_id, event_id)"
    )[0]
    assert likes < rest


def test_rows_dated_in_the_future_change_nothing(city: Site) -> None:
    rank_at()
    expected = city.rankings()
    later = NOON + YEARS
    city.run(
        "INSERT INTO registrations (user_id, event_id, registered_at)"
        " SELECT u.id, e.id, %s FROM users u, events e WHERE mod(u.id + e.id, 7) = 0"
        " ON CONFLICT DO NOTHING",
        later,
    )
    city.run(
        "INSERT INTO event_interactions (user_id, event_id, occurred_at, interaction_type)"
        " SELECT u.id, e.id, %s, 'click' FROM users u, events e WHERE mod(u.id + e.id, 5) = 0",
        later,
    )
    city.run(
        "INSERT INTO favorite_events (user_id, event_id, created_at)"
        " SELECT u.id, e.id, %s FROM users u, events e WHERE mod(u.id + e.id, 11) = 0"
        " ON CONFLICT DO NOTHING",
        later,
    )
    rank_at()
    assert city.rankings() == expected


def test_a_recompute_learns_though_clocks_have_jumped(city: Site) -> None:
    """Rows of the far future and past, registrations before their event was made, and after it."""
    city.run(
        "UPDATE registrations SET registered_at = registered_at + interval '3 years'"
        " WHERE mod(event_id, 11) = 0"
    )
    city.run("UPDATE registrations SET registered_at = '1971-01-01' WHERE mod(event_id, 13) = 0")
    city.run("UPDATE event_interactions SET occurred_at = '-infinity' WHERE mod(event_id, 13) = 0")
    city.run("UPDATE events SET created_at = start_time + interval '1 day' WHERE mod(id, 17) = 0")
    city.run("UPDATE events SET created_at = 'infinity' WHERE mod(id, 19) = 0")
    result = recompute_at(**WHOLE)
    assert result.positives > 0
    require_sensible(city)


def test_the_order_of_rows_in_the_tables_changes_nothing(city: Site) -> None:
    rank_at()
    expected = city.rankings()
    # An update writes the row anew at the end of its table.
    city.run("UPDATE registrations SET attended = attended WHERE mod(user_id, 2) = 0")
    city.run("UPDATE events SET title = title WHERE mod(id, 3) = 0")
    city.run("UPDATE users SET city = city WHERE mod(id, 3) = 1")
    rank_at()
    assert city.rankings() == expected


def test_a_single_user_with_a_single_event(site: Site) -> None:
    site.users(1)
    site.event(100)
    rank_at()
    assert site.events_of(1) == [100]
    site.registration(1, 100, registered_at=NOON - HOUR)
    site.event(101)
    result = recompute_at(**WHOLE)
    assert result.model == "prior"
    assert site.events_of(1) == [101]


def test_a_single_user_s_own_organizer_comes_first(database: str) -> None:
    site = a_small_site(database)
    site.run("DELETE FROM registrations")
    site.run("UPDATE users SET is_active = false WHERE id IN (2, 3)")
    site.event(99, owner_id=10)
    rank_at()
    assert site.events_of(1)[0] == 101  # of the organizer that user 1 follows
    require_sensible(site)


@pytest.mark.parametrize("model", ["heuristic", "prior", "linear", "trees"])
def test_every_rung_serves(city: Site, model: str) -> None:
    result = recompute_at(model=model, activate=Activate.ALWAYS)
    assert result.model == model
    require_sensible(city)


def test_the_heuristic_serves_where_there_is_nothing_to_learn(database: str) -> None:
    site = a_small_site(database)
    result = recompute_at(model="heuristic")
    assert result.model == "heuristic"
    assert site.events_of(1) == [101, 100]  # follows its organizer
    assert site.events_of(2)[0] == 100  # likes jazz
