"""A simulated city from end to end: what the platform recorded, and the truth behind it.

What does not live here: the parts (the other modules of ``simulation``) and any file or table
(``services.simulate``).
"""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import (
    DAY,
    Act,
    Favorites,
    Floats,
    Interactions,
    Registrations,
    Table,
    UserOrganizers,
)
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.simulation.behaviour import Log, Searches, examination, live_a_day
from eventlink.recsys.simulation.desk import Seats, close, follow
from eventlink.recsys.simulation.options import SimulationOptions
from eventlink.recsys.simulation.people import People, Profiles, befriend, introduce, settle
from eventlink.recsys.simulation.programme import Programme, arrange
from eventlink.recsys.simulation.relation import Index
from eventlink.recsys.simulation.standing import (
    MARGIN,
    Pairs,
    Setting,
    Standing,
    is_open,
    is_welcome,
    standing,
)
from eventlink.recsys.simulation.utility import Chances, Today, chances, utility

T = TypeVar("T", bound=Table)
Timed = TypeVar("Timed", UserOrganizers, Favorites, Interactions, Searches)


@dataclass(frozen=True)
class Truth:
    """What nobody in a real city could tell. It is for tests and never written anywhere.

    Users and events are named by their index in the city.
    """

    options: SimulationOptions
    setting: Setting
    registrations: Registrations
    follows: UserOrganizers
    favorites: Favorites
    chances: Chances
    examination: Floats
    """Chance that a place of a shown list is looked at, shape (20,)."""
    policies: Index
    """The policy that drew each shown list, a place in ``lists.POLICIES``; by request."""

    @property
    def interests(self) -> Floats:
        """Shares of the topics in each user's taste, shape (users, topics)."""
        return self.setting.people.interests

    @property
    def topics(self) -> Floats:
        """Shares of the topics in each event, shape (events, topics)."""
        return self.setting.programme.topics

    @property
    def activity(self) -> Floats:
        """How often each user comes, relative to the average student, shape (users,)."""
        return self.setting.people.activity

    def standing(self, as_of: float) -> Standing:
        """Return what was known as of an instant; people look at every midnight (UTC)."""
        return standing(self.setting, self.registrations, self.follows, self.favorites, as_of)

    def utility(self, users: Index, events: Index, as_of: float) -> Floats:
        """Return how much each user wants each event as of an instant, in logits, shape (n,).

        It is -inf where the user blocked the organizer or hid a tag of the event.

        Args:
            users: Index of each pair's user.
            events: Index of each pair's event.
            as_of: Seconds since 1970-01-01 UTC.
        """
        pairs = Pairs(users, events, np.full(len(users), as_of))
        wanted = utility(self.setting, self.standing(as_of), self.options.weights, pairs)
        return np.where(is_welcome(self.setting, users, events), wanted, -np.inf)

    def register_chance(self, users: Index, events: Index, as_of: float) -> Floats:
        """Return how likely each user registers on opening the event's page, shape (n,).

        At a signal below 1 this is the chance of the share that acts by utility.

        Args:
            users: Index of each pair's user.
            events: Index of each pair's event.
            as_of: Seconds since 1970-01-01 UTC.
        """
        return self.chances.of_register(self.utility(users, events, as_of))

    def candidates(self, as_of: float) -> Index:
        """Return the events anybody could register for as of an instant."""
        events = np.arange(len(self.setting.programme))
        now = self.standing(as_of)
        return np.flatnonzero(is_open(self.setting, now, events, np.full(len(events), as_of)))


@dataclass(frozen=True)
class City:
    """What the platform recorded. Row i of users and events has the id i + 1.

    Users and events are named by their index, organizers by their index among the users. Rows of
    a table with a column ``at`` are sorted by it.
    """

    options: SimulationOptions
    people: People
    programme: Programme
    profiles: Profiles
    follows: UserOrganizers
    """Those of the profiles, and those made since."""
    registrations: Registrations
    favorites: Favorites
    interactions: Interactions
    searches: Searches
    truth: Truth


def simulate(options: SimulationOptions, rng: np.random.Generator, report: Report = silent) -> City:
    """Make a city and let it live until an instant.

    Args:
        options: Its size and time.
        rng: The source of chance; the same one makes the same city.
        report: Told of progress.

    Returns:
        What the platform recorded, and the truth.
    """
    people = settle(options, rng)
    programme = arrange(people, options, rng)
    setting = Setting(people, programme, introduce(people, rng), befriend(people, rng))
    follows, log, seats = setting.profiles.follows, Log(), Seats.none()
    now = _now(setting, seats, follows, log, options.begin)
    chance = chances(setting, now, options.weights, rng)
    for morning in np.arange(options.begin, options.until, DAY):
        report("simulating days", (morning - options.begin) / (options.until - options.begin))
        now = _now(setting, seats, follows, log, float(morning))
        today = Today(setting, now, _live(programme, now.as_of), chance, options)
        given = live_a_day(today, log, rng)
        seats = _joined([seats, given])
        follows = _joined([follows, follow(setting, given, follows, rng)])
    report("simulating days", 1.0)
    registrations = close(setting, seats, options.until, rng)
    _log_registrations(registrations, log)
    follows = _seen(follows, options)
    favorites = _seen(_joined(log.favorites), options)
    policies = np.concatenate([*log.policies, np.zeros(0, np.int64)])
    return City(
        options=options,
        people=people,
        programme=programme,
        profiles=setting.profiles,
        follows=follows,
        registrations=registrations,
        favorites=favorites,
        interactions=_seen(_joined(log.acts), options),
        searches=_seen(_joined(log.searches), options),
        truth=Truth(
            options=options,
            setting=setting,
            registrations=registrations,
            follows=follows,
            favorites=favorites,
            chances=chance,
            examination=examination(options),
            policies=policies,
        ),
    )


def _now(
    setting: Setting, seats: Seats, follows: UserOrganizers, log: Log, as_of: float
) -> Standing:
    attended = np.full(len(seats), -1, np.int8)  # nobody looks at it
    users, events = seats.user.astype(np.int32), seats.event.astype(np.int32)
    rows = Registrations(users, events, seats.at, seats.until, attended)
    return standing(setting, rows, follows, _joined(log.favorites), as_of)


def _live(programme: Programme, morning: float) -> Index:
    """Return the events that are on at some time of a day."""
    on = (programme.public < morning + DAY) & (programme.closes > morning + MARGIN)
    return np.flatnonzero(on)


def _log_registrations(registrations: Registrations, log: Log) -> None:
    log.act(Act.REGISTER, registrations.user, registrations.event, registrations.at)
    back = registrations.rows(np.isfinite(registrations.until))
    log.act(Act.UNREGISTER, back.user, back.event, back.until)


def _joined(tables: list[T]) -> T:
    columns = {
        f.name: np.concatenate([getattr(table, f.name) for table in tables])
        for f in fields(tables[0])
    }
    return replace(tables[0], **columns)


def _seen(table: Timed, options: SimulationOptions) -> Timed:
    """Cut what comes after the end; sort by time, and by everything else where that is equal."""
    seen = table.rows(table.at < options.until)
    return seen.rows(_order(seen, seen.at))


def _order(table: Table, at: Floats) -> npt.NDArray[np.intp]:
    others = [getattr(table, f.name) for f in fields(table) if f.name != "at"]
    return np.lexsort((*others, at))
