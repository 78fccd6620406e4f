"""What is kept warm learns of new events alone, and is then what a whole load would have made."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from integration.sites import DAY, NOON, Site, a_small_site, rank_at, recompute_at

from eventlink.recsys import ranking
from eventlink.recsys.snapshot import Pairs
from eventlink.services import warm
from eventlink.services.warm import MOST_AGE, Warm, load, renew

SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)
LATER = NOON + timedelta(minutes=1)
NEW = 10**6


def publish(city: Site) -> None:
    """A new event of a new organizer, with a new tag, category, city and venue."""
    city.users(10**7, role="organizer")
    city.add("tags", {"id": 10**5, "name": "aardvarks"})
    like = "SELECT lat, lon FROM events WHERE lat IS NOT NULL LIMIT 1"
    lat, lon = city.run(like)[0]
    new = {"created_at": NOON + SECOND, "lat": lat, "lon": lon, "owner_id": 10**7}
    words = {"category": "A new kind", "city": "Aachen", "venue": "A new hall"}
    city.event(NEW, tags=(10**5,), **new, **words)
    first = city.run("SELECT min(id) FROM events")[0][0]
    city.event(first - 1, created_at=NOON + SECOND, owner_id=None)


def publish_draft(city: Site) -> None:
    city.run("UPDATE events SET status = 'published' WHERE id = %s", some_live(city, 0))


def edit(city: Site) -> None:
    moved, tagged, other = (some_live(city, place) for place in (1, 2, 3))
    city.run("UPDATE events SET start_time = start_time + interval '1 hour' WHERE id = %s", moved)
    city.run("UPDATE events SET lat = lat + 0.1, title = 'Else' WHERE id = %s", moved)
    city.run("DELETE FROM event_tags WHERE event_id = %s", tagged)
    city.run("UPDATE events SET updated_at = now() WHERE id = %s", tagged)
    owner = "(SELECT owner_id FROM events WHERE id = %s)"
    city.run(f"UPDATE events SET owner_id = {owner} WHERE id = %s", moved, other)


def cancel(city: Site) -> None:
    city.run("UPDATE events SET status = 'cancelled' WHERE id = %s", some_live(city, 4))


def delete(city: Site) -> None:
    city.run("UPDATE events SET deleted_at = %s WHERE id = %s", NOON + SECOND, some_live(city, 5))


def some_live(city: Site, place: int) -> int:
    """Return an event to come, those with the most registrations first."""
    found = city.run(
        "SELECT e.id FROM events e LEFT JOIN registrations r ON r.event_id = e.id"
        " WHERE e.start_time > %s AND e.id < %s GROUP BY e.id"
        " ORDER BY count(r.user_id) DESC, e.id OFFSET %s LIMIT 1",
        NOON + DAY,
        NEW,
        place,
    )
    return int(found[0][0])


def rankings(found: Warm) -> dict[str, bytes]:
    """Return everybody's features and rankings, bit by bit."""
    ranker = found.ranker
    assert ranker is not None
    users = np.flatnonzero(ranker.snapshot.data.users.rankable).astype(np.int32)
    ranked = ranker.rank(users, 50)
    events = np.append(found.keys.events[ranker.snapshot.columns], -1)
    x = ranker.features.matrix(Pairs.every(users, ranker.snapshot.n_columns))
    return {
        "events": events[ranked.columns].tobytes(),
        "scores": ranked.scores.tobytes(),
        "reasons": ranked.reasons.tobytes(),
        "arguments": ranked.arguments.tobytes(),
        "features": x.tobytes(),
    }


@pytest.mark.parametrize("change", [publish, publish_draft, edit, cancel, delete])
def test_reading_events_alone_gives_what_a_whole_load_gives(
    city: Site, change: Callable[[Site], None]
) -> None:
    recompute_at(model="linear")
    if change is publish_draft:
        city.run("UPDATE events SET status = 'draft' WHERE id = %s", some_live(city, 0))
    before = load(NOON)
    change(city)
    after = renew(LATER, before)
    assert after.at == NOON  # nothing else was read
    assert after.state != before.state
    # A whole load sees what is dated before its instant, so that is when it shall have happened.
    city.run("UPDATE events SET created_at = %s WHERE created_at > %s", NOON - TICK, NOON)
    city.run("UPDATE events SET deleted_at = %s WHERE deleted_at > %s", NOON - TICK, NOON)
    whole = load(NOON)
    assert rankings(after) == rankings(whole) != rankings(before)


def test_one_change_after_another_is_read_upon_the_first(city: Site) -> None:
    recompute_at(model="linear")
    before = load(NOON)
    publish(city)
    once = renew(LATER, before)
    cancel(city)
    twice = renew(LATER + SECOND, once)
    assert twice.at == NOON
    city.run("UPDATE events SET created_at = %s WHERE created_at > %s", NOON - TICK, NOON)
    assert rankings(twice) == rankings(load(NOON)) != rankings(once)


@pytest.mark.once
def test_lists_are_chosen_from_as_many_candidates_as_before(
    city: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    recompute_at(model="linear", top_n=60)
    before = load(NOON)
    assert before.ranker is not None
    assert before.ranker.candidates.everything
    publish(city)
    # As if it were one event too many for all to be candidates.
    columns = before.ranker.snapshot.n_columns
    monkeypatch.setattr(ranking, "size_for", {60: columns}.__getitem__)
    after = renew(LATER, before)
    assert after.ranker is not None
    assert after.ranker.snapshot.n_columns > columns
    assert after.ranker.candidates.size == columns


def test_only_events_that_became_public_enter_rankings(city: Site) -> None:
    recompute_at(model="linear")
    before = load(NOON)
    assert before.entering == []
    edit(city)
    edited = renew(LATER, before)
    assert edited.entering == []
    publish(city)
    lists = renew(LATER, edited).entering
    ids = {
        int(i)
        for part in lists
        for i in part.keys.events[part.columns[part.rankings.columns]].ravel()
    }
    assert ids <= {NEW, min(before.keys.events) - 1}
    assert ids


@pytest.fixture
def small(database: str) -> Site:
    site = a_small_site(database)
    rank_at()
    return site


def recompute_all(_site: Site) -> None:
    rank_at(NOON, NOON + SECOND)


def erase(site: Site) -> None:
    site.run("DELETE FROM events WHERE id = 100")


def erase_tag(site: Site) -> None:
    site.run("DELETE FROM tags WHERE id = 1")


def cancel_all(site: Site) -> None:
    site.run("UPDATE events SET status = 'cancelled'")


@pytest.mark.parametrize("change", [recompute_all, erase, erase_tag, cancel_all])
def test_where_more_than_events_has_changed_everything_is_read(
    small: Site, change: Callable[[Site], None]
) -> None:
    before = load(NOON)
    change(small)
    assert renew(LATER, before).at == LATER


def test_what_is_too_old_is_read_anew(small: Site) -> None:
    before = load(NOON)
    small.event(102, created_at=NOON)
    aged = renew(NOON + MOST_AGE - SECOND, before)
    assert aged.at == NOON
    assert aged.stale_at == NOON + MOST_AGE + SECOND
    assert renew(NOON + MOST_AGE, aged).at == NOON + MOST_AGE


def test_the_next_publication_is_waited_for(small: Site) -> None:
    before = load(NOON)
    small.event(102, created_at=NOON, publish_at=LATER + SECOND)
    waiting = renew(LATER, before)
    assert waiting.stale_at == LATER + 2 * SECOND
    assert 102 not in ranked_events(waiting)
    assert 102 in ranked_events(renew(waiting.stale_at, waiting))


def ranked_events(found: Warm) -> list[int]:
    assert found.ranker is not None
    return [int(i) for i in found.keys.events[found.ranker.snapshot.columns]]


@pytest.mark.once
def test_lists_are_as_long_as_those_that_serve_whatever_the_model_was_trained_for(
    city: Site,
) -> None:
    recompute_at(model="linear", top_n=50)
    rank_at(NOON, NOON + SECOND, top_n=5)
    found = load(LATER)
    assert found.top_n == 5
    assert np.isfinite(found.ends[1]).all()
    assert (found.ends[1] > 0).all()  # where a list ends: no room is left for just any event
    city.run("UPDATE recommendation_generations SET meta = meta::jsonb - 'top_n'")
    assert load(LATER).top_n == 50  # an older version did not tell


def test_where_rankings_end_is_read_once_a_generation(
    small: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = warm.last_scores
    monkeypatch.setattr(warm, "last_scores", lambda *given: reads.append(1) or read(*given))
    before = load(NOON)
    small.event(102, created_at=NOON)
    after = renew(LATER, before)
    load(NOON + DAY, after)
    assert (len(reads), len(after.entering)) == (1, 1)
    rank_at(NOON, NOON + SECOND)
    load(NOON + DAY, after)
    assert len(reads) == 2
