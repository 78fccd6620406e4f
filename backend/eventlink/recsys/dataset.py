"""The Dataset: everything the ranker may know, as columns, and what was known of it at an instant.

What does not live here: database ids (``db.columns`` turns them into the indices used here) and
anything computed from the columns (``recsys.features``).

Conventions. An instant is a float64 of seconds since 1970-01-01 UTC; ``-inf`` is "long ago, date
unknown", ``inf`` is "not yet". An index is an int32; ``-1`` is "none". A missing coordinate is
``nan``. Rows of a table with a column ``at`` are sorted by it.
"""

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from functools import cached_property
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

HOUR = 3600.0
DAY = 24 * HOUR


class Act(IntEnum):
    """What an interaction was; the names are those of ``event_interactions.interaction_type``."""

    IMPRESSION = 0
    CLICK = 1
    VIEW = 2
    DWELL = 3
    SHARE = 4
    SEARCH = 5
    FILTER = 6
    FAVORITE = 7
    REGISTER = 8
    UNREGISTER = 9


LONG_DWELL_SECONDS = 20.0
"""A shorter dwell says nothing."""


@dataclass(frozen=True)
class Table:
    """Columns of one length."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def rows(self, which: slice | Bools | npt.NDArray[np.intp]) -> Self:
        """Return the table with only the rows that ``which`` picks."""
        return replace(self, **{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True)
class Users(Table):
    """One row a user."""

    lat: Floats
    """Home, degrees."""
    lon: Floats
    city: Ints
    """Shares its numbering with ``Events.city``."""
    language: Ints
    """That the user reads; -1 for unknown."""
    rankable: Bools
    """An active student: gets a ranking."""
    joined: Floats
    """When they signed up."""


@dataclass(frozen=True)
class Events(Table):
    """One row an event, known or not yet."""

    start: Floats
    created: Floats
    """When it became public: creation or ``publish_at``, the later."""
    gone: Floats
    """When it was deleted; ``inf`` if never."""
    published: Bools
    """Neither draft nor cancelled. The change of a status carries no date, so it is today's."""
    organizer: Ints
    category: Ints
    city: Ints
    venue: Ints
    title: Ints
    """Equal for equal titles, letter case and digits aside."""
    lat: Floats
    lon: Floats
    max_seats: Ints
    """-1: no limit."""


@dataclass(frozen=True)
class EventTags(Table):
    """An event has a tag."""

    event: Ints
    tag: Ints


@dataclass(frozen=True)
class UserTags(Table):
    """A user likes, or hides, a tag since ``at``."""

    user: Ints
    tag: Ints
    at: Floats


@dataclass(frozen=True)
class UserOrganizers(Table):
    """A user follows, or blocks, an organizer since ``at``."""

    user: Ints
    organizer: Ints
    at: Floats


@dataclass(frozen=True)
class Registrations(Table):
    """A user registered at ``at`` and took it back at ``until`` (``inf``: did not)."""

    user: Ints
    event: Ints
    at: Floats
    until: Floats
    attended: npt.NDArray[np.int8]
    """1 came, 0 did not, -1 not known."""

    @cached_property
    def again(self) -> Floats:
        """When the user registered for the event once more, ``inf`` if never; shape (n,)."""
        pair = self.user.astype(np.int64) << 32 | self.event
        order = np.argsort(pair, kind="stable")  # of one pair in the order of their dates
        repeated = np.flatnonzero(np.diff(pair[order]) == 0)
        again = np.full(len(self), np.inf)
        again[order[repeated]] = self.at[order[repeated + 1]]
        return again


@dataclass(frozen=True)
class Favorites(Table):
    """A user marked an event."""

    user: Ints
    event: Ints
    at: Floats


@dataclass(frozen=True)
class Interactions(Table):
    """A known user's act on an event. Anonymous acts and searches are not among them."""

    user: Ints
    event: Ints
    at: Floats
    act: npt.NDArray[np.int8]
    """An ``Act``."""
    position: Ints
    """Place in the shown list, from 0; -1 where there was none."""
    request: Ints
    """Equal for the acts of one shown list; -1 where there was none."""
    dwell: npt.NDArray[np.float32]
    """Seconds; 0 where not measured."""


@dataclass(frozen=True)
class Intents(Table):
    """What a user searched or filtered for: a tag or a category a row, the other is -1."""

    user: Ints
    at: Floats
    tag: Ints
    category: Ints


@dataclass(frozen=True)
class Dataset:
    """All tables, and how many distinct values their indices have."""

    users: Users
    events: Events
    event_tags: EventTags
    interests: UserTags
    hidden_tags: UserTags
    follows: UserOrganizers
    blocks: UserOrganizers
    registrations: Registrations
    favorites: Favorites
    interactions: Interactions
    intents: Intents
    n_organizers: int
    n_tags: int
    n_categories: int
    n_venues: int

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.users)

    @property
    def n_events(self) -> int:
        """Number of events, known or not."""
        return len(self.events)

    def last_instant(self) -> float:
        """Return the latest date of any registration, favourite or interaction (-inf: none)."""
        logs = (self.registrations.at, self.favorites.at, self.interactions.at)
        return max((float(at[-1]) for at in logs if len(at)), default=-np.inf)

    def before(self, as_of: float, *, repeats: bool = False) -> "Dataset":
        """Return what was known at an instant: no row dated at or after it remains.

        Indices keep their meaning. An event that was not yet public keeps its row, emptied, so
        that nothing can be read from it, and no row names it.

        Args:
            as_of: Seconds since 1970-01-01 UTC.
            repeats: As in ``acts_before``.
        """
        known = self.events.created < as_of
        return replace(
            self.acts_before(as_of, repeats=repeats),
            events=_forget(self.events, known, as_of),
            event_tags=self.event_tags.rows(known[self.event_tags.event]),
        )

    def acts_before(self, as_of: float, *, repeats: bool = False) -> "Dataset":
        """Return the Dataset without what users did at an instant or after, or to later events.

        Of a user's registrations for an event only the latest remains. Whoever registers and takes
        it back a hundred times is one person who wants to come, and must not look like a crowd.

        Args:
            as_of: Seconds since 1970-01-01 UTC.
            repeats: Keep the registrations that a later one repeats, for whoever looks at earlier
                instants too.
        """
        known = self.events.created < as_of
        registrations = _earlier(self.registrations, as_of)
        if not repeats:
            registrations = registrations.rows(
                self.registrations.again[: len(registrations)] >= as_of
            )
        registrations = _of_known(registrations, known)
        over = self.events.start[registrations.event] < as_of
        return replace(
            self,
            interests=_earlier(self.interests, as_of),
            hidden_tags=_earlier(self.hidden_tags, as_of),
            follows=_earlier(self.follows, as_of),
            blocks=_earlier(self.blocks, as_of),
            registrations=replace(
                registrations,
                until=np.where(registrations.until < as_of, registrations.until, np.inf),
                # Attendance carries no date; nobody can have come before the start.
                attended=np.where(over, registrations.attended, np.int8(-1)),
            ),
            favorites=_of_known(_earlier(self.favorites, as_of), known),
            interactions=_of_known(_earlier(self.interactions, as_of), known),
            intents=_earlier(self.intents, as_of),
        )


OfEvent = TypeVar("OfEvent", Registrations, Favorites, Interactions)
T = TypeVar("T", UserTags, UserOrganizers, Registrations, Favorites, Interactions, Intents)


def _earlier(table: T, as_of: float) -> T:
    return table.rows(slice(0, int(np.searchsorted(table.at, as_of, side="left"))))


def _of_known(table: OfEvent, known: Bools) -> OfEvent:
    """Drop rows that name an event not yet known: clocks differ, and dates are edited."""
    has = known[table.event]
    return table if has.all() else table.rows(has)


def _forget(events: Events, known: Bools, as_of: float) -> Events:
    """Empty the rows of events that are not known, and undo deletions that are to come."""
    none = np.int32(-1)
    return Events(
        start=np.where(known, events.start, np.inf),
        created=np.where(known, events.created, np.inf),
        gone=np.where(events.gone < as_of, events.gone, np.inf),
        published=events.published & known,
        organizer=np.where(known, events.organizer, none),
        category=np.where(known, events.category, none),
        city=np.where(known, events.city, none),
        venue=np.where(known, events.venue, none),
        title=np.where(known, events.title, none),
        lat=np.where(known, events.lat, np.nan),
        lon=np.where(known, events.lon, np.nan),
        max_seats=np.where(known, events.max_seats, none),
    )


def empty_dataset() -> Dataset:
    """Return a Dataset of a site where nothing is yet."""
    ints, floats, flags = np.zeros(0, np.int32), np.zeros(0), np.zeros(0, dtype=bool)
    small = np.zeros(0, np.int8)
    return Dataset(
        users=Users(floats, floats, ints, ints, flags, floats),
        events=Events(
            floats, floats, floats, flags, ints, ints, ints, ints, ints, floats, floats, ints
        ),
        event_tags=EventTags(ints, ints),
        interests=UserTags(ints, ints, floats),
        hidden_tags=UserTags(ints, ints, floats),
        follows=UserOrganizers(ints, ints, floats),
        blocks=UserOrganizers(ints, ints, floats),
        registrations=Registrations(ints, ints, floats, floats, small),
        favorites=Favorites(ints, ints, floats),
        interactions=Interactions(
            ints, ints, floats, small, ints, ints, np.zeros(0, dtype=np.float32)
        ),
        intents=Intents(ints, floats, ints, ints),
        n_organizers=0,
        n_tags=0,
        n_categories=0,
        n_venues=0,
    )
