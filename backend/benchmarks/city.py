"""A large city for benchmarks: plausible rows, drawn in seconds and loaded by binary COPY.

What does not live here: behaviour to judge a model by (``eventlink.recsys.simulation``). Shapes
follow real sites: two thirds of the users have no past, the busiest have hundreds of registrations,
people return to a few organizers of their neighbourhood, and a seventh has no home.
"""

from dataclasses import dataclass

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import numpy.typing as npt
import pyarrow as pa

HOUR, DAY = 3600.0, 86400.0
NEIGHBOURHOODS = 60
TAGS = 300
CATEGORIES = 24
EVENTS_AN_ORGANIZER = 8
PAST_EVENTS_A_LIVE_ONE = 3
REGISTRATIONS_A_USER = 3.0
MOST_REGISTRATIONS = 300
ACTIVE = 1 / 3
"""Share of the users who ever registered."""
LOYALTY = 0.6
"""Share of the registrations that go to one of the user's few organizers."""

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Programme:
    """Events, ascending in creation."""

    organizer: Array
    created: Array
    start: Array
    place: Array


def tables(users: int, live: int, now: float, rng: np.random.Generator) -> dict[str, pa.Table]:
    """Draw a city.

    Args:
        users: How many people, organizers not among them.
        live: How many events are live.
        now: The instant, seconds since 1970-01-01 UTC.
        rng: Source of chance.

    Returns:
        Tables of the platform by name, in the order in which they may be loaded.
    """
    centre = np.array([41.88, -87.63]) + rng.normal(0, 0.15, (NEIGHBOURHOODS, 2))
    n_organizers = max(live * (1 + PAST_EVENTS_A_LIVE_ONE) // EVENTS_AN_ORGANIZER, 1)
    neighbourhood = np.minimum(rng.zipf(1.4, users + n_organizers) - 1, 10**6) % NEIGHBOURHOODS
    home = centre[neighbourhood] + rng.normal(0, 0.02, (users + n_organizers, 2))
    programme = _programme(live, n_organizers, home[users:], now, rng)
    followed, user, event = _registrations(users, programme, neighbourhood, now, rng)
    created = programme.created[event]
    end = np.minimum(programme.start[event], now)
    at = np.minimum(created + rng.exponential(3 * DAY, len(event)), end - HOUR * rng.random())
    at = np.maximum(at, created)
    n_events = len(programme.start)
    topics = rng.integers(0, TAGS, (n_organizers, 3))
    n_clicks = len(user) // 2
    clicked = rng.integers(0, len(user), n_clicks)
    liking = np.flatnonzero(rng.random(users) < 0.5)
    unhappy = np.flatnonzero(rng.random(users) < 0.01)
    n_all = users + n_organizers
    return {
        "users": pa.table(
            {
                "id": _ids(np.arange(n_all)),
                "role": pa.array(np.where(np.arange(n_all) < users, "student", "organizer")),
                "city": _named("city", neighbourhood),
                **_coordinates(home, missing=rng.random(n_all) < 1 / 7),
            }
        ),
        "tags": pa.table({"id": _ids(np.arange(TAGS)), "name": _named("topic", np.arange(TAGS))}),
        "events": pa.table(
            {
                "id": _ids(np.arange(n_events)),
                "title": _named("evening", programme.organizer),
                "category": _named("category", programme.organizer % CATEGORIES),
                "city": _named("city", neighbourhood[users + programme.organizer]),
                "venue": _named("venue", programme.organizer),
                **_coordinates(programme.place, missing=np.zeros(n_events, bool)),
                "owner_id": _ids(users + programme.organizer),
                "start_time": _instants(programme.start),
                "max_seats": pa.array(
                    rng.integers(20, 500, n_events), mask=rng.random(n_events) < 0.8
                ),
                "status": pa.array(np.full(n_events, "published")),
                "created_at": _instants(programme.created),
            }
        ),
        "event_tags": _pairs(
            "event_id",
            np.repeat(np.arange(n_events), 3),
            "tag_id",
            topics[programme.organizer].ravel(),
        ),
        "user_interest_tags": _pairs(
            "user_id", np.repeat(liking, 3), "tag_id", rng.integers(0, TAGS, 3 * len(liking))
        ),
        "user_hidden_tags": _pairs(
            "user_id", unhappy, "tag_id", rng.integers(0, TAGS, len(unhappy))
        ),
        "user_followed_organizers": _pairs(
            "user_id", followed[0], "organizer_id", users + followed[1]
        ),
        "registrations": pa.table(
            {"user_id": _ids(user), "event_id": _ids(event), "registered_at": _instants(at)}
        ),
        "event_interactions": pa.table(
            {
                "user_id": _ids(user[clicked]),
                "event_id": _ids(event[clicked]),
                "interaction_type": pa.array(np.full(n_clicks, "click")),
                "occurred_at": _instants(at[clicked]),
            }
        ),
    }


def load(url: str, city: dict[str, pa.Table]) -> None:
    """Load a city into a migrated, empty database.

    Args:
        url: Of the database; the user must be a superuser, for foreign keys are not checked.
        city: Made by ``tables``.
    """
    with adbc.connect(url, autocommit=True) as conn, conn.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for name, table in city.items():
            cursor.adbc_ingest(name, table, mode="append")
        cursor.execute("ANALYZE")


def _programme(
    live: int, n_organizers: int, places: Array, now: float, rng: np.random.Generator
) -> Programme:
    past = live * PAST_EVENTS_A_LIVE_ONE
    age = np.concatenate([rng.uniform(10, 120, past), rng.exponential(7, live)]) * DAY
    ahead = np.concatenate([-rng.uniform(0, 9.9, past), 0.1 + rng.exponential(14, live)]) * DAY
    order = np.argsort(-age, kind="stable")
    organizer = np.minimum(rng.zipf(1.2, len(age)) - 1, 10**9) % n_organizers
    spread = rng.random(len(age)) < 0.5  # else a few organizers would hold nearly everything
    organizer = np.where(spread, rng.integers(0, n_organizers, len(age)), organizer)
    return Programme(organizer, now - age[order], now + ahead[order], places[organizer])


def _registrations(
    users: int, programme: Programme, neighbourhood: Array, now: float, rng: np.random.Generator
) -> tuple[tuple[Array, Array], Array, Array]:
    """Draw who follows which organizer, and who registered for what."""
    active = np.flatnonzero(rng.random(users) < ACTIVE)
    number = np.minimum(rng.pareto(1.1, len(active)) + 1, MOST_REGISTRATIONS)
    number *= REGISTRATIONS_A_USER * users / number.sum()
    number = np.minimum(rng.poisson(number), MOST_REGISTRATIONS)
    # A few organizers each: near in most cases, and the better known ones more often.
    n_organizers = len(neighbourhood) - users
    near = np.argsort(neighbourhood[users:], kind="stable")
    first = np.searchsorted(neighbourhood[users:][near], np.arange(NEIGHBOURHOODS + 1))
    own = neighbourhood[np.repeat(active, 3)]
    size = np.maximum(first[own + 1] - first[own], 1)
    place = first[own] + (rng.random(len(own)) ** 2 * size).astype(int)
    favourite = near[np.minimum(place, n_organizers - 1)].reshape(-1, 3)
    follows = rng.random(favourite.shape) < 0.3
    followed = (np.repeat(active, 3)[follows.ravel()], favourite[follows])

    row = np.repeat(np.arange(len(active)), number)
    by_organizer = np.argsort(programme.organizer, kind="stable")
    begin = np.searchsorted(programme.organizer[by_organizer], np.arange(n_organizers + 1))
    chosen = favourite[row, rng.integers(0, 3, len(row))]
    held = begin[chosen + 1] - begin[chosen]
    loyal = (rng.random(len(row)) < LOYALTY) & (held > 0)
    place = begin[chosen] + (rng.random(len(row)) * held).astype(int)
    popular = (rng.random(len(row)) ** 3 * len(by_organizer)).astype(int)
    shuffled = rng.permutation(len(by_organizer))
    event = np.where(loyal, by_organizer[np.minimum(place, len(by_organizer) - 1)], 0)
    event = np.where(loyal, event, shuffled[popular])
    key = np.unique(active[row] * len(by_organizer) + event)
    user, event = np.divmod(rng.permutation(key), len(by_organizer))
    known = programme.created[event] < now - HOUR
    return followed, user[known], event[known]


def _ids(index: Array) -> pa.Array:
    return pa.array(np.asarray(index, np.int64) + 1)


def _named(word: str, number: Array) -> pa.Array:
    distinct, place = np.unique(number, return_inverse=True)
    words = pa.array([f"{word} {value}" for value in distinct.tolist()])
    return words.take(pa.array(place))


def _instants(seconds: Array) -> pa.Array:
    return pa.array((seconds * 1e6).astype(np.int64), pa.timestamp("us", "UTC"))


def _coordinates(place: Array, missing: Array) -> dict[str, pa.Array]:
    return {
        name: pa.array(place[:, axis], mask=missing) for axis, name in enumerate(("lat", "lon"))
    }


def _pairs(left: str, lefts: Array, right: str, rights: Array) -> pa.Table:
    pairs = np.unique(np.stack([lefts, rights]), axis=1)
    table = pa.table({left: _ids(pairs[0]), right: _ids(pairs[1])})
    # Given, for a default would date it by the clock: without a date it was always so.
    unknown = pa.nulls(len(table), pa.timestamp("us", "UTC"))
    return table if left == "event_id" else table.append_column("created_at", unknown)
