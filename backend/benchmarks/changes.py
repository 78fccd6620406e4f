"""Ways in which a platform may differ: a data set changed, in memory, into one of another kind.

What does not live here: how well it is ranked then (``platforms``).
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import (
    DAY,
    HOUR,
    Act,
    Dataset,
    Favorites,
    Interactions,
    Registrations,
    Table,
)

Change = Callable[[Dataset], Dataset]
Dated = TypeVar("Dated", Registrations, Interactions)
AnyTable = TypeVar("AnyTable", bound=Table)
Index = npt.NDArray[np.integer]
MERGED = 10
"""How many users become one, and one in how many stays."""
EAST = 9 * HOUR
"""By how much earlier it is there that noon comes, seconds."""


def as_it_is(data: Dataset) -> Dataset:
    """Change nothing."""
    return data


def no_places(data: Dataset) -> Dataset:
    """Forget coordinates, cities and venues."""
    users = replace(
        data.users,
        lat=np.full(data.n_users, np.nan),
        lon=np.full(data.n_users, np.nan),
        city=_none(data.n_users),
    )
    events = replace(
        data.events,
        lat=np.full(data.n_events, np.nan),
        lon=np.full(data.n_events, np.nan),
        city=_none(data.n_events),
        venue=_none(data.n_events),
    )
    return replace(data, users=users, events=events, n_venues=0)


def no_organizers(data: Dataset) -> Dataset:
    """Forget who holds events, and who follows whom."""
    events = replace(data.events, organizer=_none(data.n_events))
    return replace(_without_follows(data), events=events, n_organizers=0)


def barely_anything(data: Dataset) -> Dataset:
    """Forget organizers, places and tags."""
    data = no_organizers(no_places(data))
    return replace(
        data,
        event_tags=_nothing(data.event_tags),
        interests=_nothing(data.interests),
        hidden_tags=_nothing(data.hidden_tags),
        n_tags=0,
    )


def one_organizer(data: Dataset) -> Dataset:
    """Let one organizer hold everything."""
    events = replace(data.events, organizer=np.zeros(data.n_events, np.int32))
    return replace(_without_follows(data), events=events, n_organizers=1)


def organizer_each(data: Dataset) -> Dataset:
    """Let every event have an organizer of its own."""
    events = replace(data.events, organizer=np.arange(data.n_events, dtype=np.int32))
    return replace(_without_follows(data), events=events, n_organizers=data.n_events)


def dead_events(data: Dataset) -> Dataset:
    """Announce events 45 days ahead at least, and beside each three that nobody registers for."""
    rng = np.random.default_rng(0)
    n, tags = data.n_events, data.event_tags
    early = np.minimum(data.events.created, data.events.start - 45 * DAY)
    events = replace(data.events, created=early)
    dead = [replace(events, start=events.start + rng.normal(0, DAY, n)) for _ in range(3)]
    tagged = [replace(tags, event=tags.event + np.int32(n * k)) for k in range(4)]
    return replace(data, events=_stacked([events, *dead]), event_tags=_stacked(tagged))


def no_announcement(data: Dataset) -> Dataset:
    """Forget when events were announced: the programme of all days is known from the beginning."""
    return replace(data, events=replace(data.events, created=np.full(data.n_events, -np.inf)))


def no_hours(data: Dataset) -> Dataset:
    """Let events start at the midnight that ends their day: their dates have no hours."""
    return replace(data, events=replace(data.events, start=np.ceil(data.events.start / DAY) * DAY))


def loaded_daily(data: Dataset) -> Dataset:
    """Date a day's registrations alike: they are loaded from elsewhere once a day."""
    log = data.registrations
    created = np.floor(data.events.created / DAY) * DAY
    at = np.floor(log.at / DAY) * DAY + 3 * HOUR
    return replace(
        data,
        events=replace(data.events, created=created),
        registrations=replace(log, at=at, until=np.maximum(log.until, at)),
    )


def merged_users(data: Dataset) -> Dataset:
    """Make one user of ten, whose registrations nobody took back: histories are longer."""
    rng = np.random.default_rng(0)
    person = rng.permutation(data.n_users).astype(np.int32) // MERGED
    first = np.unique(person, return_index=True)[1]
    joined = np.full(len(first), np.inf)
    np.minimum.at(joined, person, data.users.joined)
    stay = data.registrations.rows(np.isinf(data.registrations.until))
    return replace(
        data,
        users=replace(data.users.rows(first), joined=joined),
        interests=_once(_renamed(data.interests, user=person), "tag"),
        hidden_tags=_once(_renamed(data.hidden_tags, user=person), "tag"),
        follows=_once(_renamed(data.follows, user=person), "organizer"),
        blocks=_once(_renamed(data.blocks, user=person), "organizer"),
        registrations=_once(_renamed(stay, user=person), "event"),
        favorites=_once(_renamed(data.favorites, user=person), "event"),
        interactions=_renamed(data.interactions, user=person),
        intents=_renamed(data.intents, user=person),
    )


def few_users(data: Dataset) -> Dataset:
    """Keep what a tenth of the users did."""
    rng = np.random.default_rng(0)
    stays = rng.random(data.n_users) < 1 / MERGED
    return replace(
        data,
        users=replace(data.users, rankable=data.users.rankable & stays),
        **{
            name: getattr(data, name).rows(stays[getattr(data, name).user])
            for name in ("registrations", "favorites", "interactions", "intents", "follows")
        },
    )


def one_giant(data: Dataset) -> Dataset:
    """Add an event that a third of the users register for, in the last twenty days."""
    rng = np.random.default_rng(0)
    end, n = data.last_instant(), data.n_users // 3
    giant = replace(
        data.events.rows(np.array([0])),
        start=np.array([end + 30 * DAY]),
        created=np.array([end - 20 * DAY]),
        gone=np.array([np.inf]),
        published=np.array([True]),
        max_seats=np.array([-1], np.int32),
    )
    extra = Registrations(
        user=rng.choice(data.n_users, n, replace=False).astype(np.int32),
        event=np.full(n, data.n_events, np.int32),
        at=np.sort(end - 20 * DAY * rng.random(n)),
        until=np.full(n, np.inf),
        attended=np.full(n, -1, np.int8),
    )
    return replace(
        data,
        events=_stacked([data.events, giant]),
        registrations=_by_date(_stacked([data.registrations, extra])),
    )


def series_as_one(data: Dataset) -> Dataset:
    """Make one event of all that one organizer holds under one title."""
    events = data.events
    keys = np.stack([events.organizer, events.title], axis=1)
    _, first, series = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    series = series.ravel().astype(np.int32)
    start, created = np.full(len(first), -np.inf), np.full(len(first), np.inf)
    np.maximum.at(start, series, events.start)
    np.minimum.at(created, series, events.created)
    return replace(
        data,
        events=replace(events.rows(first), start=start, created=created),
        event_tags=_once(_renamed(data.event_tags, event=series), "tag", of="event"),
        registrations=_once(_renamed(data.registrations, event=series), "event"),
        favorites=_once(_renamed(data.favorites, event=series), "event"),
        interactions=_renamed(data.interactions, event=series),
    )


def exhibitions(data: Dataset) -> Dataset:
    """Let events be open for two months more."""
    return replace(data, events=replace(data.events, start=data.events.start + 60 * DAY))


def taken_back(data: Dataset) -> Dataset:
    """Let a quarter of the registrations be taken back, after a day and a half in the mean."""
    rng = np.random.default_rng(0)
    log = data.registrations
    until = log.at + rng.exponential(1.5 * DAY, len(log))
    back = (rng.random(len(log)) < 1 / 4) & (until < data.events.start[log.event])
    return replace(data, registrations=replace(log, until=np.where(back, until, log.until)))


def further_east(data: Dataset) -> Dataset:
    """Move everything nine hours to the east: midnight is another hour of the day."""
    degrees, users, events = 135.0, data.users, data.events
    dated = (
        "interests",
        "hidden_tags",
        "follows",
        "blocks",
        "favorites",
        "interactions",
        "intents",
    )
    return replace(
        data,
        users=replace(users, lon=users.lon + degrees, joined=users.joined - EAST),
        events=replace(
            events,
            lon=events.lon + degrees,
            start=events.start - EAST,
            created=events.created - EAST,
            gone=events.gone - EAST,
        ),
        registrations=_shifted(data.registrations, "at", "until"),
        **{name: _shifted(getattr(data, name), "at") for name in dated},
    )


def marks_and_clicks(data: Dataset) -> Dataset:
    """Let four registrations of five be marks alone, and half of all be clicked before."""
    rng = np.random.default_rng(0)
    log = data.registrations
    registers = rng.random(len(log)) < 1 / 5
    marked = log.rows(~registers)
    clicked = log.rows(rng.random(len(log)) < 1 / 2)
    clicks = Interactions(
        user=clicked.user,
        event=clicked.event,
        at=clicked.at - rng.exponential(DAY, len(clicked)),
        act=np.full(len(clicked), Act.CLICK, np.int8),
        position=_none(len(clicked)),
        request=_none(len(clicked)),
        dwell=np.zeros(len(clicked), np.float32),
    )
    return replace(
        data,
        registrations=log.rows(registers),
        favorites=_once(Favorites(marked.user, marked.event, marked.at), "event"),
        interactions=_by_date(clicks),
    )


CHANGES: dict[str, Change] = {
    "as it is": as_it_is,
    "no places at all": no_places,
    "no organizers, no follows": no_organizers,
    "neither organizers nor places nor tags": barely_anything,
    "one organizer for everything": one_organizer,
    "every event its own organizer": organizer_each,
    "announced early, and three dead events to each": dead_events,
    "no date of announcement": no_announcement,
    "dates without hours": no_hours,
    "registrations loaded once a day": loaded_daily,
    "ten users merged to one": merged_users,
    "a tenth of the users": few_users,
    "one event with thousands of registrations": one_giant,
    "a series as one event": series_as_one,
    "exhibitions: open for two months more": exhibitions,
    "a quarter of registrations taken back": taken_back,
    "nine hours further east": further_east,
    "four fifths mark and do not register, half click before": marks_and_clicks,
}
"""All changes, by what the platform is like then."""


def _none(n: int) -> npt.NDArray[np.int32]:
    return np.full(n, -1, np.int32)


def _without_follows(data: Dataset) -> Dataset:
    return replace(data, follows=_nothing(data.follows), blocks=_nothing(data.blocks))


def _nothing(table: AnyTable) -> AnyTable:
    return table.rows(slice(0, 0))


def _renamed(table: AnyTable, **by: Index) -> AnyTable:
    return replace(table, **{name: new[getattr(table, name)] for name, new in by.items()})


def _once(table: AnyTable, what: str, of: str = "user") -> AnyTable:
    """Keep the first row of each pair, in order."""
    keys = np.stack([getattr(table, of), getattr(table, what)], axis=1)
    return table.rows(np.sort(np.unique(keys, axis=0, return_index=True)[1]))


def _shifted(table: AnyTable, *columns: str) -> AnyTable:
    return replace(table, **{name: getattr(table, name) - EAST for name in columns})


def _by_date(table: Dated) -> Dated:
    return table.rows(np.argsort(table.at, kind="stable"))


def _stacked(tables: list[AnyTable]) -> AnyTable:
    first = tables[0]
    return replace(
        first,
        **{f.name: np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(first)},
    )
