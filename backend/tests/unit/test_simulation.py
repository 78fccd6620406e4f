"""A simulated city is consistent, repeatable, and as predictable as its signal says."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest

from eventlink.errors import InvalidOptionError
from eventlink.recsys.dataset import (
    DAY,
    HOUR,
    Act,
    Bools,
    Favorites,
    Floats,
    Interactions,
    Ints,
)
from eventlink.recsys.simulation import City, SimulationOptions, simulate
from eventlink.recsys.simulation.catalogue import TAGS, TOPICS
from eventlink.recsys.simulation.lists import POLICIES
from eventlink.recsys.simulation.people import distance_km
from eventlink.recsys.simulation.programme import CANCELLED, DRAFT
from eventlink.recsys.simulation.relation import Index, Relation
from eventlink.recsys.simulation.standing import is_welcome

UNTIL = 20_370 * DAY
BEGIN = UNTIL - 60 * DAY


@cache
def made(options: SimulationOptions, seed: int) -> City:
    return simulate(options, np.random.default_rng(seed))


def city_of(seed: int = 7, **changes: float) -> City:
    return made(replace(SimulationOptions(until=UNTIL), **changes), seed)  # type: ignore[arg-type]


@pytest.fixture(params=[1.0, 0.0], ids=["signal", "noise"])
def city(request: pytest.FixtureRequest) -> City:
    return city_of(signal=request.param)


def only(city: City, *acts: Act) -> Bools:
    return np.isin(city.interactions.act, acts)


# What cannot happen


def test_nobody_acts_before_joining_or_on_an_event_that_is_not_public_or_is_over(
    city: City,
) -> None:
    acts, programme = city.interactions, city.programme
    assert np.all(acts.at > city.people.joined[acts.user])
    assert np.all(acts.at > programme.public[acts.event])
    assert np.all(acts.at < programme.closes[acts.event])
    assert np.all(city.searches.at > city.people.joined[city.searches.user])


def test_everything_recorded_is_dated_in_whole_seconds_before_the_end(city: City) -> None:
    profiles = city.profiles
    dated = (
        city.interactions.at,
        city.searches.at,
        city.registrations.at,
        city.favorites.at,
        city.follows.at,
        profiles.interests.at,
        profiles.hidden_tags.at,
        profiles.blocks.at,
        city.people.joined,
        city.programme.created,
    )
    for at in dated:
        assert len(at)
        assert np.all(at < UNTIL)
        assert np.array_equal(at, np.floor(at))
        assert np.all(np.diff(at) >= 0)


def test_only_active_students_take_part(city: City) -> None:
    users = np.concatenate([city.interactions.user, city.searches.user, city.registrations.user])
    assert np.all(np.isin(users, city.people.students))
    assert not city.people.organizer[city.people.students].any()
    assert city.people.organizer[city.programme.organizer].all()


def test_register_and_unregister_acts_are_the_registrations(city: City) -> None:
    acts, registrations = city.interactions, city.registrations
    given, back = only(city, Act.REGISTER), only(city, Act.UNREGISTER)
    kept = np.isfinite(registrations.until)
    for rows, user, event, at in (
        (given, registrations.user, registrations.event, registrations.at),
        (back, registrations.user[kept], registrations.event[kept], registrations.until[kept]),
    ):
        logged = sorted(zip(acts.user[rows], acts.event[rows], acts.at[rows], strict=True))
        assert logged == sorted(zip(user, event, at, strict=True))


def test_a_seat_is_given_back_after_it_was_taken_and_before_the_start(city: City) -> None:
    registrations = city.registrations
    back = np.isfinite(registrations.until)
    assert 0.03 < back.mean() < 0.15
    assert np.all(registrations.until[back] > registrations.at[back])
    assert np.all(registrations.until[back] < city.programme.start[registrations.event[back]])


def test_nobody_registers_twice_for_an_event(city: City) -> None:
    pairs = city.registrations.user.astype(np.int64) << 32 | city.registrations.event
    assert len(np.unique(pairs)) == len(pairs)


def most_seats_taken(city: City) -> Ints:
    """The largest number of registrations an event ever had at one instant, shape (events,)."""
    registrations = city.registrations
    back = np.isfinite(registrations.until)
    event = np.concatenate([registrations.event, registrations.event[back]])
    at = np.concatenate([registrations.at, registrations.until[back]])
    change = np.repeat([1, -1], [len(registrations), back.sum()])
    # One taken at an instant at which another is given back counts before it.
    order = np.lexsort((-change, at, event))
    taken = np.cumsum(change[order])  # each event's sum is carried over into the next
    last = np.bincount(event, change, len(city.programme)).astype(np.int64)
    taken -= (np.cumsum(last) - last)[event[order]]
    most = np.zeros(len(city.programme), np.int64)
    np.maximum.at(most, event[order], taken)
    return most.astype(np.int32)


def test_seats_never_run_over_at_any_instant() -> None:
    city = city_of(users=4000, events=100, days=30)
    limited = city.programme.max_seats >= 0
    most, limit = most_seats_taken(city)[limited], city.programme.max_seats[limited]
    assert np.all(most <= limit)
    assert np.any(most == limit)


def test_who_came_is_known_of_what_is_over_and_of_nothing_else(city: City) -> None:
    registrations, programme = city.registrations, city.programme
    over = (programme.end < UNTIL) & (programme.closes == programme.start)
    known = over[registrations.event] & np.isinf(registrations.until)
    assert np.array_equal(registrations.attended >= 0, known)
    assert 0.15 < np.mean(registrations.attended[known] == 0) < 0.4


def test_a_list_holds_each_event_once_at_positions_without_gaps(city: City) -> None:
    shown = city.interactions.rows(only(city, Act.IMPRESSION))
    lists = Relation.of(shown.request, shown.position, 20)
    assert lists.counts.max() == 1
    length = np.bincount(shown.request)
    assert np.array_equal(np.flatnonzero(length), np.unique(shown.request))
    last = np.zeros(len(length), np.int64)
    np.maximum.at(last, shown.request, shown.position)
    assert np.array_equal(last[length > 0] + 1, length[length > 0])
    assert Relation.of(shown.request, shown.event, len(city.programme)).counts.max() == 1
    assert len(city.truth.policies) > shown.request.max()


def test_a_click_is_on_an_event_that_the_list_shows_at_that_position(city: City) -> None:
    shown = city.interactions.rows(only(city, Act.IMPRESSION))
    clicked = city.interactions.rows(only(city, Act.CLICK))
    place = {
        (request, position): (user, event, at)
        for request, position, user, event, at in zip(
            shown.request, shown.position, shown.user, shown.event, shown.at, strict=True
        )
    }
    for i in range(len(clicked)):
        user, event, at = place[clicked.request[i], clicked.position[i]]
        assert (user, event) == (clicked.user[i], clicked.event[i])
        assert at < clicked.at[i]


def test_nobody_is_shown_what_they_hid_blocked_or_are_registered_for(city: City) -> None:
    shown = city.interactions.rows(only(city, Act.IMPRESSION, Act.CLICK, Act.VIEW))
    assert np.all(is_welcome(city.truth.setting, shown.user, shown.event))
    registered = {
        (user, event): at
        for user, event, at in zip(
            city.registrations.user,
            city.registrations.event,
            city.registrations.at,
            strict=True,
        )
    }
    for user, event, at in zip(shown.user, shown.event, shown.at, strict=True):
        # What was taken today may still be in a list of today's: lists are made in the morning.
        assert at < registered.get((user, event), np.inf) + DAY


def test_hiding_a_tag_or_blocking_an_organizer_makes_an_event_unwelcome() -> None:
    city = city_of()
    hides, blocks, tags = city.profiles.hidden_tags, city.profiles.blocks, city.programme.tags
    event = tags.event[np.flatnonzero(np.isin(tags.tag, hides.tag))[0]]
    tag = tags.tag[(tags.event == event) & np.isin(tags.tag, hides.tag)][0]
    owner = np.flatnonzero(np.isin(city.programme.organizer, blocks.organizer))[0]
    enemy = blocks.user[blocks.organizer == city.programme.organizer[owner]][0]
    user = hides.user[hides.tag == tag][0]
    pairs = np.array([user, enemy]), np.array([event, owner])
    assert not is_welcome(city.truth.setting, *pairs).any()
    assert np.all(city.truth.utility(*pairs, UNTIL) == -np.inf)
    others = np.setdiff1d(city.people.students, np.union1d(hides.user, blocks.user))[:2]
    assert is_welcome(city.truth.setting, others, pairs[1]).all()


def test_pairs_that_have_a_key_are_there_once(city: City) -> None:
    profiles = city.profiles
    for rows, columns in (
        (city.favorites.user, city.favorites.event),
        (city.follows.user, city.follows.organizer),
        (profiles.blocks.user, profiles.blocks.organizer),
        (profiles.interests.user, profiles.interests.tag),
        (profiles.hidden_tags.user, profiles.hidden_tags.tag),
        (city.programme.tags.event, city.programme.tags.tag),
    ):
        assert len(rows)
        assert Relation.of(rows, columns, 10_000).counts.max() == 1


# The programme


def test_events_are_public_a_day_to_a_month_ahead_and_new_ones_come_every_day() -> None:
    programme = city_of().programme
    public = programme.public[programme.status != DRAFT]
    ahead = (programme.start[programme.status != DRAFT] - public) / DAY
    assert np.all((ahead >= 1) & (ahead <= 30))
    days = np.floor((programme.created[programme.created >= BEGIN] - BEGIN) / DAY)
    assert np.mean(np.bincount(days.astype(int), minlength=60) > 0) > 0.9
    assert np.all(np.bincount((days // 2).astype(int), minlength=30) > 0)


@pytest.mark.parametrize(("users", "events", "days"), [(2, 1, 1), (30, 5, 3), (2000, 600, 60)])
def test_some_events_lie_ahead_at_the_end(users: int, events: int, days: int) -> None:
    city = city_of(users=users, events=events, days=days)
    assert len(city.programme) == events
    assert len(city.people) == users
    ahead = city.truth.candidates(UNTIL)
    assert len(ahead) >= max(1, 0.07 * events)
    assert np.all(city.programme.start[ahead] > UNTIL)


def test_the_events_of_a_series_share_title_weekday_hour_place_and_organizer() -> None:
    programme = city_of().programme
    series = [np.flatnonzero(programme.series == s) for s in set(programme.series.tolist()) - {-1}]
    repeated = [events for events in series if len(events) > 1]
    assert sum(map(len, repeated)) > 0.4 * len(programme)
    for events in repeated:
        start = np.sort(programme.start[events])
        assert set(np.diff(start) / DAY) <= {7.0, 28.0}
        assert len({programme.title[i].split(" #")[0] for i in events}) == 1
        assert len({programme.venue[i] for i in events}) == 1
        assert len(set(programme.organizer[events].tolist())) == 1


def test_a_description_fits_whatever_title_its_topic_has() -> None:
    programme = city_of().programme
    topics = [TOPICS[i] for i in programme.topics.argmax(axis=1)]
    told = zip(topics, programme.english, programme.description, strict=True)
    assert all(topic.about["en" if english else "ro"] in text for topic, english, text in told)
    # A tag may name another sport than the title does.
    assert not [text for text in programme.description if any(tag in text for tag in TAGS)]


def test_some_events_are_drafts_cancelled_deleted_limited_or_published_late() -> None:
    programme = city_of().programme
    withdrawn = (programme.status == CANCELLED) | np.isfinite(programme.deleted)
    for some in (
        programme.status == DRAFT,
        programme.status == CANCELLED,
        np.isfinite(programme.deleted),
        np.isfinite(programme.publish_at),
        programme.category < 0,
    ):
        assert 0 < some.mean() < 0.2
    assert 0.2 < np.mean(programme.max_seats >= 0) < 0.5
    assert np.all(programme.closes[withdrawn] < programme.start[withdrawn])
    assert np.all(programme.end > programme.start)


# The crowd


def test_a_default_city_has_the_volumes_of_a_real_one() -> None:
    city = city_of()
    assert 5_000 < len(city.registrations) < 10_000
    assert 60_000 < only(city, Act.IMPRESSION).sum() < 150_000
    assert set(city.interactions.act) == {*range(10)} - {Act.SEARCH, Act.FILTER}
    assert set(city.searches.act) == {Act.SEARCH, Act.FILTER}


def test_a_few_people_and_events_have_much_of_all_registrations() -> None:
    city = city_of()
    for of, n in ((city.registrations.user, 2000), (city.registrations.event, 600)):
        counts = np.sort(np.bincount(of, minlength=n))[::-1]
        assert counts[: n // 10].sum() > 0.35 * counts.sum()
        assert np.mean(counts == 0) > 0.05


def test_who_came_once_comes_back_for_the_same_organizer() -> None:
    loyal, chance = (repeat_share(city_of(signal=signal)) for signal in (1.0, 0.0))
    assert loyal > 0.5
    assert chance < 0.15


def repeat_share(city: City) -> float:
    """Of the registrations of users who had one, those with an organizer they had been with."""
    registrations = city.registrations
    organizer = city.programme.organizer[registrations.event]
    met: set[tuple[int, int]] = set()
    known: set[int] = set()
    again = []
    for user, host in zip(registrations.user.tolist(), organizer.tolist(), strict=True):
        if user in known:
            again.append((user, host) in met)
        met.add((user, host))
        known.add(user)
    return float(np.mean(again))


def test_people_come_back_to_what_they_marked() -> None:
    city = city_of()
    marked = registered_later(city, city.favorites)
    assert marked.mean() > 0.15
    left = opened_and_left(city)
    assert registered_later(city, left).mean() < 0.5 * marked.mean()


def test_without_signal_a_mark_tells_of_no_registration() -> None:
    city = city_of(signal=0.0)
    assert len(city.favorites) > 500
    assert registered_later(city, city.favorites).mean() < 0.01  # of pages left: 0.004


def registered_later(city: City, table: Favorites | Interactions) -> Bools:
    """Whether each row's user registers for the row's event on a later day."""
    midnight = np.floor(table.at / DAY) * DAY + DAY
    at = {
        (user, event): at
        for user, event, at in zip(
            city.registrations.user, city.registrations.event, city.registrations.at, strict=True
        )
    }
    pairs = zip(table.user, table.event, strict=True)
    return np.array([at.get(pair, -np.inf) for pair in pairs]) >= midnight


def opened_and_left(city: City) -> Interactions:
    """The pages opened, but for those of events that their visitors mark or register for then."""
    opened = city.interactions.rows(only(city, Act.CLICK, Act.VIEW))
    then = np.floor(opened.at / DAY)
    decided = {
        (user, event, np.floor(at / DAY))
        for table in (city.favorites, city.registrations)
        for user, event, at in zip(table.user, table.event, table.at, strict=True)
    }
    pages = zip(opened.user, opened.event, then, strict=True)
    return opened.rows(np.array([page not in decided for page in pages]))


def test_people_go_where_it_is_near_and_in_their_language() -> None:
    city = city_of()
    people, programme, registrations = city.people, city.programme, city.registrations
    place = programme.place[registrations.event]
    near = distance_km(people.home[registrations.user], place)
    anywhere = distance_km(people.home[np.roll(registrations.user, 1000)], place)
    assert near.mean() < 0.9 * anywhere.mean()
    reads, written = people.english[registrations.user], programme.english[registrations.event]
    assert written[reads].mean() > 1.5 * written[~reads].mean()


def test_interest_tags_are_a_noisy_subset_of_what_is_liked() -> None:
    city = city_of()
    said = city.profiles.interests
    share = city.people.interests[said.user, said.tag // 4]
    assert share.mean() > 3 / len(TOPICS)
    assert np.mean(share < 0.01) > 0.05
    assert 0.4 < len(np.unique(said.user)) / len(city.people) < 0.8
    assert said.tag.max() < len(TAGS)


def test_friends_are_mutual() -> None:
    friends = city_of().truth.setting.friends
    rows, columns = friends.keys // friends.width, friends.keys % friends.width
    assert friends.has(columns, rows).all()
    assert not np.any(rows == columns)
    assert 2 < len(rows) / friends.width < 10


def test_an_end_within_a_day_cuts_the_day_short() -> None:
    options = SimulationOptions(until=UNTIL - 6.5 * HOUR, users=300, events=100, days=10)
    city = simulate(options, np.random.default_rng(7))
    assert options.begin == UNTIL - 11 * DAY
    for table in (city.interactions, city.registrations, city.searches, city.follows):
        assert np.all(table.at < options.until)
    assert city.interactions.at[-1] > options.until - DAY / 2
    assert np.all(city.registrations.until[np.isfinite(city.registrations.until)] < options.until)
    assert len(city.truth.candidates(options.until))


# The truth


@pytest.mark.parametrize("decay", [0.8, 0.0])
def test_clicks_fall_with_position_as_the_examination_says(decay: float) -> None:
    city = city_of(signal=0.0, users=4000, days=30, examination_decay=decay)
    shown = np.bincount(city.interactions.position[only(city, Act.IMPRESSION)], minlength=20)
    clicks = np.bincount(city.interactions.position[only(city, Act.CLICK)], minlength=20)
    expected = 0.08 * shown * city.truth.examination
    assert np.array_equal(city.truth.examination, (1.0 + np.arange(20)) ** -decay)
    assert np.all(np.abs(clicks - expected) < 4.5 * np.sqrt(expected))


def test_clicks_on_random_lists_fall_with_position_at_full_signal() -> None:
    city = city_of()
    random = city.truth.policies == POLICIES.index("random")
    acts = city.interactions
    shown, clicked = (
        np.bincount(
            acts.position[only(city, act) & (acts.request >= 0) & random[acts.request]],
            minlength=20,
        )
        for act in (Act.IMPRESSION, Act.CLICK)
    )
    # At full examination the click rate would be the same at every position.
    at_full = clicked / (shown * city.truth.examination)
    top, low = at_full[:3].mean(), at_full[3:].mean()
    assert 0.7 < top / low < 1.4


def test_clicks_and_registrations_follow_utility() -> None:
    city = city_of()
    acts = city.interactions
    as_of = UNTIL - 5 * DAY
    day = (acts.at >= as_of) & (acts.at < as_of + DAY)
    shown, clicked, registered = (
        city.truth.utility(acts.user[rows], acts.event[rows], as_of)
        for rows in (day & only(city, act) for act in (Act.IMPRESSION, Act.CLICK, Act.REGISTER))
    )
    assert clicked.mean() > shown.mean() + 0.5
    assert registered.mean() > clicked.mean() + 0.5


def test_the_truth_as_of_an_instant_reads_nothing_later() -> None:
    city = city_of()
    as_of = UNTIL - 10 * DAY
    users = np.repeat(city.people.students[:200], 5)
    events = np.resize(city.truth.candidates(as_of), 1000)
    known = city.registrations.at < as_of
    early = replace(
        city.truth,
        registrations=city.registrations.rows(known),
        follows=city.follows.rows(city.follows.at < as_of),
        favorites=city.favorites.rows(city.favorites.at < as_of),
    )
    seen = city.truth.utility(users, events, as_of)
    assert np.array_equal(seen, early.utility(users, events, as_of))
    assert not np.array_equal(seen, city.truth.utility(users, events, UNTIL))


def test_the_truth_knows_that_a_mark_makes_an_event_worth_more() -> None:
    city = city_of()
    marks = city.favorites
    welcome = is_welcome(city.truth.setting, marks.user, marks.event)
    as_of = marks.at[len(marks) // 2]
    forgetful = replace(city.truth, favorites=marks.rows(slice(0)))
    with_, without = (
        truth.utility(marks.user[welcome], marks.event[welcome], as_of)
        for truth in (city.truth, forgetful)
    )
    expected = np.where(marks.at[welcome] < as_of, city.options.weights.marked, 0.0)
    assert np.allclose(with_ - without, expected)


def test_a_register_chance_is_the_share_that_registers_after_opening_a_page() -> None:
    city = city_of(users=4000)
    acts = city.interactions
    expected, happened = 0.0, 0
    for back in range(1, 15):
        as_of = UNTIL - back * DAY
        day = (acts.at >= as_of) & (acts.at < as_of + DAY)
        opened = acts.rows(day & only(city, Act.CLICK, Act.VIEW))
        expected += city.truth.register_chance(opened.user, opened.event, as_of).sum()
        happened += int((day & only(city, Act.REGISTER)).sum())
    # Some ask for what is full by then, or was taken a moment before.
    assert 0.85 < happened / expected < 1.02


Score = Callable[[City, Index, Index, float], Floats]


def oracle(city: City, users: Index, events: Index, as_of: float) -> Floats:
    return city.truth.utility(users, events, as_of)


def popularity(city: City, users: Index, events: Index, as_of: float) -> Floats:
    del users
    earlier = city.registrations.at < as_of
    return (
        np.bincount(city.registrations.event[earlier], minlength=len(city.programme))[events] * 1.0
    )


def chance(city: City, users: Index, events: Index, as_of: float) -> Floats:
    del city
    return np.random.default_rng([int(as_of), len(users)]).random(len(events))


def ndcg(city: City, score: Score, folds: int = 14) -> float:
    """NDCG@10 of ranking all candidates, a mean over users and days with registrations."""
    registrations, gains = city.registrations, []
    for back in range(1, folds + 1):
        as_of = UNTIL - back * DAY
        candidates = city.truth.candidates(as_of)
        now = city.truth.standing(as_of)
        day = (registrations.at >= as_of) & (registrations.at < as_of + DAY)
        true = registrations.rows(day & np.isin(registrations.event, candidates))
        users = np.unique(true.user)
        u, e = np.repeat(users, len(candidates)), np.tile(candidates, len(users))
        scores = np.where(now.registered.has(u, e), -np.inf, score(city, u, e, as_of))
        hit = Relation.of(true.user, true.event, len(city.programme)).has(u, e)
        order = np.argsort(-scores.reshape(len(users), -1), axis=1, kind="stable")[:, :10]
        hit = np.take_along_axis(hit.reshape(len(users), -1), order, axis=1)
        discount = 1 / np.log2(np.arange(order.shape[1]) + 2)
        ideal = np.cumsum(discount)[np.minimum(np.bincount(true.user)[users], 10) - 1]
        gains.append((hit * discount).sum(axis=1) / ideal)
    return float(np.mean(np.concatenate(gains)))


def test_ranking_by_the_true_utility_is_far_above_popularity_and_that_above_chance() -> None:
    city = city_of()
    best, popular, random = (ndcg(city, score) for score in (oracle, popularity, chance))
    assert best > 2.5 * popular
    assert popular > 1.8 * random


def test_the_oracle_is_the_better_the_more_signal_there_is() -> None:
    none, half, full = (ndcg(city_of(signal=signal), oracle) for signal in (0.0, 0.5, 1.0))
    assert full > 2 * half > 4 * none


@pytest.mark.parametrize("seed", [7, 8])
def test_without_signal_nothing_is_above_chance(seed: int) -> None:
    city = city_of(signal=0.0, seed=seed)
    best, popular, random = (ndcg(city, score) for score in (oracle, popularity, chance))
    assert abs(best - random) < 0.015
    assert abs(popular - random) < 0.015


def test_without_signal_registrations_are_spread_evenly_over_users_and_live_events() -> None:
    city = city_of(signal=0.0)
    registrations, people, programme = city.registrations, city.people, city.programme
    old = people.students[people.joined[people.students] < BEGIN]
    counts = np.bincount(registrations.user, minlength=len(people))[old]
    assert 0.85 < counts.var() / counts.mean() < 1.15  # Poisson
    assert abs(np.corrcoef(counts, people.activity[old])[0, 1]) < 0.06
    # Events without a limit: registrations are as many as the days on which they were on.
    plain = (programme.max_seats < 0) & (programme.public > BEGIN) & (programme.start < UNTIL)
    plain &= (programme.closes == programme.start) & (programme.status != DRAFT)
    days = (programme.start[plain] // DAY) - (programme.public[plain] // DAY) + 1
    counts = np.bincount(registrations.event, minlength=len(programme))[plain]
    expected = days * counts.sum() / days.sum()
    assert np.mean((counts - expected) ** 2 / expected) < 1.6
    assert abs(np.corrcoef(counts - expected, programme.appeal[plain])[0, 1]) < 0.15


def test_without_signal_there_are_as_many_registrations() -> None:
    full, none = len(city_of().registrations), len(city_of(signal=0.0).registrations)
    assert 0.8 < none / full < 1.25


# Chance and size


def same(a: City, b: City) -> bool:
    tables = ("people", "programme", "registrations", "favorites", "interactions", "searches")
    return all(
        np.array_equal(
            getattr(x, f.name), getattr(y, f.name), equal_nan=f.name in {"lat", "lon", "publish_at"}
        )
        for x, y in ((getattr(a, name), getattr(b, name)) for name in tables)
        for f in fields(x)
        if f.name != "tags"
    )


def test_the_same_seed_makes_the_same_city_and_another_another() -> None:
    options = SimulationOptions(until=UNTIL, users=200, events=60, days=20)
    first, second, third = (simulate(options, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert same(first, second)
    assert not same(first, third)


def test_without_impressions_all_else_is_the_same() -> None:
    full, bare = city_of(), city_of(impressions=False)
    kept = full.interactions.rows(~only(full, Act.IMPRESSION))
    for f in fields(kept):
        assert np.array_equal(getattr(kept, f.name), getattr(bare.interactions, f.name))
    assert same(full, replace(bare, interactions=full.interactions))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"users": 1}, "--users must be between 2 and 10000000, not 1"),
        ({"events": 0}, "--events must be between 1 and 1000000, not 0"),
        ({"days": 0}, "--days must be between 1 and 3660, not 0"),
        ({"signal": 1.5}, "--signal must be from 0 to 1, not 1.5"),
        ({"examination_decay": -1.0}, "0 or above"),
    ],
)
def test_an_option_outside_its_range_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        SimulationOptions(until=UNTIL, **wrong)  # type: ignore[arg-type]


def test_a_city_of_thousands_is_made_in_seconds_and_a_few_hundred_megabytes() -> None:
    measured = """
import time
from pathlib import Path
import numpy as np
from eventlink.recsys.simulation import SimulationOptions, simulate
begun = time.perf_counter()
options = SimulationOptions(until=1.76e9, users=20_000, events=4_000, days=30)
city = simulate(options, np.random.default_rng(7))
seconds = time.perf_counter() - begun
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(seconds, int(status["VmHWM"].split()[0]) / 1024, len(city.interactions))
"""  # getrusage would tell the peak of whoever started us where that is higher
    told = subprocess.run(
        [sys.executable, "-c", measured], check=True, capture_output=True, text=True
    ).stdout.split()
    seconds, megabytes, rows = map(float, told)
    assert rows > 500_000
    assert seconds < 60
    assert megabytes < 600


def test_a_relation_counts_pairs_and_lists_the_columns_of_rows() -> None:
    relation = Relation.of(np.array([3, 0, 3, 3]), np.array([1, 4, 0, 1]), 5)
    rows, columns = np.array([3, 3, 0, 0, 1]), np.array([1, 0, 4, 1, 1])
    assert relation.count(rows, columns).tolist() == [2, 1, 1, 0, 0]
    place, found = relation.expand(np.array([0, 1, 3, 0]))
    assert place.tolist() == [0, 2, 2, 3]
    assert found.tolist() == [4, 0, 1, 4]


def test_an_empty_relation_has_nothing() -> None:
    none = np.zeros(0, np.int64)
    relation = Relation.of(none, none, 5)
    assert relation.count(np.array([1]), np.array([2])).tolist() == [0]
    assert [len(part) for part in relation.expand(np.array([1, 2]))] == [0, 0]


def test_evening_and_day_are_told_apart_by_the_citys_clocks() -> None:
    city = city_of()
    hours = (city.programme.start + 2 * HOUR) % DAY / HOUR
    assert np.all((hours >= 9) & (hours <= 20))
    acts = (city.interactions.at + 2 * HOUR) % DAY / HOUR
    assert np.mean((acts > 17) & (acts < 23)) > 3 * np.mean((acts > 1) & (acts < 7))
