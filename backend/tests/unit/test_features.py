import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

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
    Intents,
    Interactions,
    Ints,
    Registrations,
    Table,
    UserOrganizers,
    Users,
    UserTags,
)
from eventlink.recsys.features import (
    ABOUT,
    EVENTS,
    FAMILIES,
    NAMES,
    PAIRS,
    Features,
    document,
)
from eventlink.recsys.features.forecast import NAMES as FORECASTS
from eventlink.recsys.features.forecast import Forecast, deviance, fit_as_of, learn, prior
from eventlink.recsys.matrices import Dense
from eventlink.recsys.persons import Persons
from eventlink.recsys.snapshot import Pairs, Snapshot

DOCUMENT = Path(__file__).parents[3] / "docs" / "features.md"
NOW = 100 * DAY
N_EVENTS, N_ORGANIZERS, N_TAGS, N_CATEGORIES, N_VENUES = 200, 12, 15, 5, 9


def some_data(seed: int = 0, rows: int = 600, n_users: int = 80) -> Dataset:
    """A Dataset with every table filled at random, with dates before and after ``NOW``."""
    rng = np.random.default_rng(seed)

    def draw(size: int, n: int = rows, none: float = 0.0) -> Ints:
        drawn = rng.integers(0, size, n)
        return np.where(rng.random(n) < none, -1, drawn).astype(np.int32)

    def instants(n: int = rows, unknown: float = 0.05) -> Floats:
        at = np.where(rng.random(n) < unknown, -np.inf, NOW + DAY * (10 - rng.exponential(15, n)))
        return np.sort(at)

    def near(centre: float, n: int) -> Floats:
        return np.where(rng.random(n) < 0.2, np.nan, centre + rng.normal(0, 0.2, n))

    created = rng.permutation(instants(N_EVENTS))
    registered = instants()
    return Dataset(
        users=Users(
            near(41.9, n_users),
            near(-87.6, n_users),
            draw(3, n_users, 0.2),
            np.arange(n_users, dtype=np.int32) % 3 - 1,
            np.ones(n_users, bool),
            np.where(np.arange(n_users) % 5 == 0, NOW + DAY, NOW - 9 * DAY),
        ),
        events=Events(
            start=np.maximum(created, NOW - 60 * DAY) + DAY * rng.uniform(-1, 60, N_EVENTS),
            created=created,
            gone=np.where(rng.random(N_EVENTS) < 0.1, NOW + DAY, np.inf),
            published=rng.random(N_EVENTS) < 0.95,
            organizer=draw(N_ORGANIZERS, N_EVENTS, 0.1),
            category=draw(N_CATEGORIES, N_EVENTS, 0.2),
            city=draw(3, N_EVENTS, 0.2),
            venue=draw(N_VENUES, N_EVENTS, 0.2),
            title=draw(20, N_EVENTS, 0.3),
            lat=near(41.9, N_EVENTS),
            lon=near(-87.6, N_EVENTS),
            max_seats=draw(12, N_EVENTS, 0.5),
        ),
        event_tags=EventTags(draw(N_EVENTS, 150), draw(N_TAGS, 150)),
        interests=UserTags(draw(n_users), draw(N_TAGS), instants()),
        hidden_tags=UserTags(draw(n_users, 20), draw(N_TAGS, 20), instants(20)),
        follows=UserOrganizers(draw(n_users, 200), draw(N_ORGANIZERS, 200), instants(200)),
        blocks=UserOrganizers(draw(n_users, 20), draw(N_ORGANIZERS, 20), instants(20)),
        registrations=Registrations(
            draw(n_users),
            draw(N_EVENTS),
            registered,
            np.where(rng.random(rows) < 0.2, registered + 3 * DAY, np.inf),
            rng.integers(-1, 2, rows).astype(np.int8),
        ),
        favorites=Favorites(draw(n_users), draw(N_EVENTS), instants()),
        interactions=Interactions(
            draw(n_users),
            draw(N_EVENTS),
            instants(),
            draw(len(Act)).astype(np.int8),
            draw(10, none=0.3),
            draw(60, none=0.3),
            rng.uniform(0, 60, rows).astype(np.float32),
        ),
        intents=Intents(draw(n_users), instants(), draw(N_TAGS, none=0.5), draw(N_CATEGORIES)),
        n_organizers=N_ORGANIZERS,
        n_tags=N_TAGS,
        n_categories=N_CATEGORIES,
        n_venues=N_VENUES,
    )


def rows_deleted(data: Dataset, at: float) -> Dataset:
    """Delete what is dated at or after an instant, as ``DELETE`` statements would: events go with
    the rows that name them, and later events get smaller numbers."""
    known = data.events.created < at
    number = (np.cumsum(known) - 1).astype(np.int32)

    def kept(table: Table) -> Table:
        which = np.ones(len(table), bool)
        for field in fields(table):
            if field.name == "at":
                which &= table.at < at
            if field.name == "event":
                which &= known[table.event]
        table = table.rows(which)
        return replace(table, event=number[table.event]) if hasattr(table, "event") else table

    tables = {
        field.name: kept(getattr(data, field.name))
        for field in fields(data)
        if field.name not in ("users", "events") and not field.name.startswith("n_")
    }
    # Users keep their numbers, which is how a matrix is compared; nothing else is left of them.
    users, members = data.users, Snapshot(data, at).members
    gone = Users(
        lat=np.where(members, users.lat, np.nan),
        lon=np.where(members, users.lon, np.nan),
        city=np.where(members, users.city, np.int32(-1)),
        language=np.where(members, users.language, np.int32(-1)),
        rankable=users.rankable & members,
        joined=np.where(members, users.joined, np.inf),
    )
    return replace(data, users=gone, events=data.events.rows(known), **tables)


def matrix(data: Dataset, at: float = NOW, forecast: Forecast | None = None) -> Dense:
    s = Snapshot(data, at)
    users = np.flatnonzero(s.members).astype(np.int32)
    return Features(s, forecast).matrix(Pairs.every(users, s.n_columns))


def without(data: Dataset, *tables: str) -> Dataset:
    return replace(data, **{name: getattr(data, name).rows(slice(0, 0)) for name in tables})


@pytest.mark.parametrize("seed", range(4))
def test_what_is_dated_later_changes_no_bit(seed: int) -> None:
    data = some_data(seed)
    seen = matrix(data)
    assert len(seen) > 1000
    assert np.array_equal(seen, matrix(rows_deleted(data, NOW)))


def test_what_is_dated_later_changes_no_forecast() -> None:
    data = some_data(rows=3000, n_users=1500)
    assert fit_as_of(data, NOW).to_json() != prior().to_json()
    before = matrix(data, forecast=fit_as_of(data, NOW))
    after = matrix(data, forecast=fit_as_of(rows_deleted(data, NOW), NOW))
    assert np.array_equal(before, after)


def test_every_feature_is_written_and_varies() -> None:
    data = some_data(rows=3000, n_users=1500)
    x = matrix(data, forecast=fit_as_of(data, NOW))
    assert x.dtype == np.float32
    assert x.shape[1] == len(NAMES)
    constant = [name for name, spread in zip(NAMES, x.std(axis=0), strict=True) if spread == 0]
    assert constant == []


def test_a_pair_has_the_same_features_in_any_company() -> None:
    s = Snapshot(some_data(), NOW)
    features = Features(s)
    every = features.matrix(Pairs.every(np.arange(s.data.n_users, dtype=np.int32), s.n_columns))
    rng = np.random.default_rng(0)
    user = rng.integers(0, s.data.n_users, 200).astype(np.int32)
    column = rng.integers(0, s.n_columns, 200).astype(np.int32)
    order = np.argsort(user, kind="stable")
    user, column = user[order], column[order]
    some = features.matrix(Pairs.of(user, column))
    assert np.array_equal(some, every[user * s.n_columns + column])


def of_these(data: Dataset, users: Ints) -> Dataset:
    """Some users' rows, in a Dataset of their own, where they are numbered anew."""

    def theirs(table: Table) -> Table:
        table = table.rows(np.isin(table.user, users))
        return replace(table, user=np.searchsorted(users, table.user).astype(np.int32))

    tables = {f.name: getattr(data, f.name) for f in fields(data)}
    kept = {k: theirs(v) for k, v in tables.items() if hasattr(v, "user")}
    return replace(data, users=data.users.rows(users), **kept)


@pytest.mark.parametrize("seed", range(4))
def test_persons_read_apart_have_the_features_they_have_in_the_crowd(seed: int) -> None:
    data = some_data(seed, rows=3000)
    acts = data.interactions
    own_list = np.where(acts.request < 0, np.int32(-1), acts.user)
    data = replace(data, interactions=replace(acts, request=own_list))
    s = Snapshot(data, NOW)
    users = np.sort(np.random.default_rng(seed).choice(data.n_users, 30, replace=False))
    persons = Persons(of_these(s.data, users), NOW)
    features = Features(s)
    wanted = features.matrix(Pairs.every(users.astype(np.int32), s.n_columns))
    renumbered = np.arange(len(users), dtype=np.int32)
    found = features.matrix(Pairs.every(renumbered, s.n_columns), persons=persons)
    assert wanted[:, NAMES.index("event.own_skips")].any()
    differing = (wanted != found).any(axis=0)
    assert [name for name, differs in zip(NAMES, differing, strict=True) if differs] == []


def acted(data: Dataset, table: str, **row: object) -> Dataset:
    """The Dataset after the first user did something a second before ``NOW``."""
    log = getattr(data, table)
    values = {field.name: row.get(field.name, -1) for field in fields(log)} | {"user": 0}
    values["at"] = NOW - 1
    columns = {
        name: np.append(getattr(log, name), value).astype(getattr(log, name).dtype)
        for name, value in values.items()
    }
    later = type(log)(**columns)
    return replace(data, **{table: later.rows(np.argsort(later.at, kind="stable"))})


@pytest.mark.parametrize(
    ("table", "row", "feature"),
    [
        ("interactions", {"act": Act.CLICK, "event": 0}, "event.own_engagement"),
        ("interactions", {"act": Act.SHARE, "event": 0}, "organizer.engaged"),
        ("interactions", {"act": Act.UNREGISTER, "event": 0}, "event.own_refusals"),
        ("favorites", {"event": 0}, "event.own_favorites"),
        ("registrations", {"event": 0, "until": np.inf}, "people.going"),
        ("registrations", {"event": 0, "until": np.inf}, "newcomer*time.age"),
        ("follows", {"organizer": 0}, "organizer.follows"),
        ("interests", {"tag": 0}, "tags.interests"),
        ("intents", {"category": 0}, "category.intent"),
    ],
)
def test_what_a_person_did_a_second_ago_counts(
    table: str, row: dict[str, int], feature: str
) -> None:
    data = some_data()
    s = Snapshot(data, NOW - DAY)
    if "event" in row:
        row = row | {"event": int(s.columns[row["event"]])}
    somebody = np.array([0], np.int32)
    rows = of_these(without(s.data, "registrations", table), somebody)
    before, after = (Persons(known, NOW) for known in (rows, acted(rows, table, **row)))
    pairs = Pairs.every(somebody, s.n_columns)
    name = NAMES.index(feature)
    changed = [Features(s).matrix(pairs, persons=who)[:, name] for who in (before, after)]
    assert not np.array_equal(*changed)


def test_a_home_where_nobody_of_the_crowd_lives_is_one_of_its_neighbourhood() -> None:
    data = without_dates(some_data())
    s = Snapshot(data, NOW)
    home = int(np.flatnonzero(np.isfinite(data.users.lat + data.users.lon))[0])
    somebody = of_these(s.data, np.array([home]))
    users = somebody.users
    moved = replace(somebody, users=replace(users, lat=users.lat + 0.02, lon=users.lon + 0.02))
    lost = replace(somebody, users=replace(users, lat=users.lat + np.nan))
    pairs = Pairs.every(np.zeros(1, np.int32), s.n_columns)
    here, near, nowhere = (
        Features(s).matrix(pairs, persons=Persons(who, NOW))[
            :, NAMES.index("place.event_kernel_25km")
        ]
        for who in (somebody, moved, lost)
    )
    assert here.std() > 0
    assert not np.array_equal(here, near)
    np.testing.assert_allclose(here, near, atol=0.2)
    assert not nowhere.any()


def test_a_matrix_can_be_written_where_another_was() -> None:
    s = Snapshot(some_data(), NOW)
    features = Features(s)
    first = features.matrix(Pairs.every(np.arange(30, dtype=np.int32), s.n_columns))
    wanted = features.matrix(Pairs.every(np.arange(40, 60, dtype=np.int32), s.n_columns))
    again = features.matrix(Pairs.every(np.arange(40, 60, dtype=np.int32), s.n_columns), out=first)
    assert np.shares_memory(again, first)
    assert np.array_equal(again, wanted)


def test_features_of_pairs_are_those_of_the_matrix_that_differ_between_users() -> None:
    s = Snapshot(some_data(), NOW)
    features = Features(s)
    pairs = Pairs.every(np.arange(30, dtype=np.int32), s.n_columns)
    whole = features.matrix(pairs)
    assert np.array_equal(features.of_pairs(pairs), whole[:, PAIRS])
    assert np.array_equal(features.of_events, whole[: s.n_columns, EVENTS])
    by_user = whole[:, EVENTS].reshape(30, s.n_columns, -1)
    assert (by_user == by_user[0]).all()


def test_those_who_are_asked_for_have_the_features_they_have_among_all() -> None:
    s, asked = Snapshot(some_data(rows=3000), NOW), np.array([3, 8, 50], np.int32)
    pairs = Pairs.every(asked, s.n_columns)
    found, everything = Features(s, asked=asked), Features(s)
    assert np.array_equal(found.matrix(pairs), everything.matrix(pairs))
    assert 0 < found.people.together.nnz < everything.people.together.nnz


def test_a_replay_uses_forecasts_of_their_time() -> None:
    data = some_data(rows=3000, n_users=1500)
    forecasts = learn(data, NOW - 10 * DAY, NOW)
    learned = [forecasts.at(NOW + DAY * days) for days in (-10, -7, -6, 0)]
    alone = [fit_as_of(data, NOW + DAY * days).to_json() for days in (-14, -7, -7, 0)]
    assert [forecast.to_json() for forecast in learned] == alone


def test_a_forecast_can_be_stored() -> None:
    data = some_data(rows=3000, n_users=1500)
    forecast = fit_as_of(data, NOW)
    stored = Forecast.from_json(json.loads(json.dumps(forecast.to_json())))
    assert np.array_equal(matrix(data, forecast=forecast), matrix(data, forecast=stored))


def test_a_site_with_few_registrations_expects_what_was_learned_elsewhere() -> None:
    data = some_data(rows=50)
    assert fit_as_of(data, NOW).to_json() == prior().to_json()
    places = [NAMES.index(name) for name in FORECASTS]
    expected = matrix(data, forecast=prior())[:, places]
    assert np.isfinite(expected).all()
    assert (expected != matrix(data)[:, places]).any()


def test_deviance_is_nothing_for_what_was_expected_and_grows_with_error() -> None:
    y = np.array([0.0, 1, 5])
    assert deviance(y, np.maximum(y, 1e-12)) == pytest.approx(0, abs=1e-9)
    assert deviance(np.array([2.0]), np.array([1.0])) == pytest.approx(2 * (2 * np.log(2) - 1))


def nothing_but_impressions(data: Dataset) -> Dataset:
    acts = data.interactions
    data = without(data, "registrations", "favorites", "follows", "interests", "intents")
    return replace(data, interactions=acts.rows(acts.act == Act.IMPRESSION))


def without_coordinates(data: Dataset) -> Dataset:
    users, events = data.users, data.events
    return replace(
        data,
        users=replace(users, lat=users.lat * np.nan, lon=users.lon * np.nan),
        events=replace(events, lat=events.lat * np.nan, lon=events.lon * np.nan),
    )


def without_organizers(data: Dataset) -> Dataset:
    nobody = np.full(data.n_events, -1, np.int32)
    data = without(data, "follows", "blocks")
    return replace(data, events=replace(data.events, organizer=nobody), n_organizers=0)


def without_dates(data: Dataset) -> Dataset:
    old = np.full(data.n_events, -np.inf)
    log = data.registrations
    return replace(
        data,
        events=replace(data.events, created=old),
        registrations=replace(log, at=np.full(len(log), -np.inf)),
    )


def with_a_clock_that_jumped(data: Dataset) -> Dataset:
    """Registrations after the start and before the announcement, takings-back before them."""
    log, created = data.registrations, data.events.created
    return replace(
        data,
        events=replace(data.events, created=np.where(created > NOW - 9 * DAY, NOW - 1, created)),
        registrations=replace(log, until=np.where(np.isfinite(log.until), log.at - DAY, np.inf)),
    )


def with_a_single_user(data: Dataset) -> Dataset:
    def own(table: Table) -> Table:
        return table.rows(table.user == 0) if hasattr(table, "user") else table

    tables = {f.name: getattr(data, f.name) for f in fields(data)}
    tables = {k: own(v) if isinstance(v, Table) else v for k, v in tables.items()}
    return Dataset(**tables | {"users": data.users.rows(slice(0, 1))})


@pytest.mark.parametrize(
    "poorer",
    [
        lambda data: without(data, "event_tags", "interests", "hidden_tags", "intents"),
        lambda data: replace(without(data, "event_tags", "interests", "intents"), n_tags=0),
        lambda data: without(data, "follows"),
        lambda data: without(data, "registrations"),
        nothing_but_impressions,
        without_coordinates,
        without_organizers,
        without_dates,
        with_a_clock_that_jumped,
        with_a_single_user,
    ],
)
def test_features_are_finite_whatever_is_missing(poorer: Callable[[Dataset], Dataset]) -> None:
    data = poorer(some_data())
    for forecast in (None, fit_as_of(data, NOW)):
        x = matrix(data, forecast=forecast)
        assert len(x)
        assert np.isfinite(x).all()


def test_events_of_unknown_date_are_some_of_an_organizers_events() -> None:
    data = without_dates(some_data())
    named = dict(zip(NAMES, matrix(data).T, strict=True))
    assert (named["organizer.registrations"] > 0).any()
    assert (named["organizer.mean_registrations"] > 0)[named["organizer.registrations"] > 0].all()


def test_before_the_first_forecast_there_is_none() -> None:
    forecasts = learn(some_data(), NOW - DAY, NOW)
    assert forecasts.at(NOW - DAY)
    with pytest.raises(ValueError, match="no forecast was learned by"):
        forecasts.at(NOW - 30 * DAY)


@pytest.mark.parametrize("at", [-1.0, 1e4 * DAY])
def test_an_instant_without_events_gives_an_empty_matrix(at: float) -> None:
    data = some_data()
    data = replace(data, events=replace(data.events, created=np.maximum(data.events.created, 0)))
    assert matrix(data, at, fit_as_of(data, at)).shape == (0, len(NAMES))


def test_no_users_give_an_empty_matrix() -> None:
    s = Snapshot(some_data(), NOW)
    nobody = Pairs.every(np.zeros(0, np.int32), s.n_columns)
    assert Features(s).matrix(nobody).shape == (0, len(NAMES))


def test_names_are_distinct_and_told_of() -> None:
    assert len(NAMES) == sum(len(family.names) for family in FAMILIES)
    assert all(ABOUT[name].meaning and ABOUT[name].why for name in NAMES)


def test_the_document_tells_of_every_feature() -> None:
    assert document() in DOCUMENT.read_text(encoding="utf-8")
