"""The registration desk of a simulated city: who gets a seat, gives it back, and turns up.

What does not live here: who wants one (``behaviour``).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from eventlink.recsys.dataset import DAY, Bools, Floats, Registrations, Table, UserOrganizers
from eventlink.recsys.simulation.relation import Index, Relation
from eventlink.recsys.simulation.standing import MARGIN, Setting, is_open
from eventlink.recsys.simulation.utility import Today


@dataclass(frozen=True)
class Attempts(Table):
    """Somebody asks for a seat; ``chance`` is how likely it was that they would."""

    user: Index
    event: Index
    at: Floats
    chance: Floats


@dataclass(frozen=True)
class Seats(Table):
    """The registrations of a day, by time, and the chance of each (see ``Attempts``)."""

    user: Index
    event: Index
    at: Floats
    until: Floats
    chance: Floats

    @classmethod
    def none(cls) -> Self:
        """Return no registrations."""
        nobody, never = np.zeros(0, np.int32), np.zeros(0)
        return cls(nobody, nobody, never, never, never)


def scatter(today: Today, attempts: Attempts, rng: np.random.Generator) -> Attempts:
    """Replace all but a share of the attempts, the signal, by uniform ones.

    The new event is any that is on and has seats, at any instant of the day at which it is; the
    new user is any student who has joined by then. Neither depends on what anybody likes, saw or
    did, and an event that is on for a part of the day is drawn as often as the others: as of the
    morning nothing tells candidates apart.

    Args:
        today: The city that morning.
        attempts: Who asks for what.
        rng: The source of chance.
    """
    people, programme, morning = today.setting.people, today.setting.programme, today.now.as_of
    first = np.maximum(programme.public[today.live] + 1, morning)
    last = np.minimum(programme.closes[today.live], morning + DAY) - MARGIN
    drawable = (first < last) & is_open(today.setting, today.now, today.live, (first + last) / 2)
    stays = rng.random(len(attempts)) < today.options.signal
    if not drawable.any():
        return attempts.rows(stays)
    place = rng.choice(np.flatnonzero(drawable), len(attempts))
    at = first[place] + np.floor(rng.random(len(attempts)) * (last - first)[place])
    joined = np.searchsorted(people.joined[people.students], at)
    user = people.students[(rng.random(len(attempts)) * joined).astype(np.int64)]
    return Attempts(
        user=np.where(stays, attempts.user, user),
        event=np.where(stays, attempts.event, today.live[place]),
        at=np.where(stays, attempts.at, at),
        chance=attempts.chance,
    )


def register(today: Today, attempts: Attempts, rng: np.random.Generator) -> Seats:
    """Give seats in order of time, to nobody twice and never beyond the limit.

    A seat given back is given out again from the next morning on, so that the limit holds at
    every instant. Some give theirs back, the more so the less likely they were to ask.

    Args:
        today: The city that morning.
        attempts: Who asks for what.
        rng: The source of chance.
    """
    programme, now = today.setting.programme, today.now
    asked = attempts.rows(np.lexsort((attempts.event, attempts.user, attempts.at)))
    pairs = asked.user.astype(np.int64) * len(programme) + asked.event
    first = np.zeros(len(asked), np.bool_)
    first[np.unique(pairs, return_index=True)[1]] = True
    asked = asked.rows(first & ~now.registered.has(asked.user, asked.event))
    limit = programme.max_seats[asked.event]
    left = np.where(limit < 0, np.inf, limit - now.taken[asked.event])
    given = asked.rows(_place_in_queue(asked.event) < left)
    span = programme.closes[given.event] - given.at
    later = given.at + 60 + np.floor(rng.random(len(given)) * (span - 120))
    back = rng.random(len(given)) < 0.04 + 0.12 * (1 - given.chance)
    return Seats(
        user=given.user,
        event=given.event,
        at=given.at,
        until=np.where(back, later, np.inf),
        chance=given.chance,
    )


def follow(
    setting: Setting, seats: Seats, follows: UserOrganizers, rng: np.random.Generator
) -> UserOrganizers:
    """Draw who follows the organizer after registering.

    Args:
        setting: The city.
        seats: A day's registrations.
        follows: Who follows whom already.
        rng: The source of chance.
    """
    users = len(setting.people)
    organizer = setting.programme.organizer[seats.event]
    profiles = setting.profiles
    known = Relation.of(
        np.concatenate([follows.user, profiles.blocks.user]),
        np.concatenate([follows.organizer, profiles.blocks.organizer]),
        users,
    )
    keen = (rng.random(len(seats)) < 0.12) & ~known.has(seats.user, organizer)
    pairs = seats.user[keen].astype(np.int64) * users + organizer[keen]
    _, once = np.unique(pairs, return_index=True)
    return UserOrganizers(
        user=seats.user[keen][once].astype(np.int32),
        organizer=organizer[keen][once].astype(np.int32),
        at=seats.at[keen][once] + rng.integers(5, 60, len(once)),
    )


def close(setting: Setting, seats: Seats, until: float, rng: np.random.Generator) -> Registrations:
    """Return the registrations as known at the end: who came to what is over, and who did not.

    Args:
        setting: The city.
        seats: All registrations; those after the end are left out.
        until: When watching ends, seconds since 1970-01-01 UTC.
        rng: The source of chance.
    """
    seats = seats.rows(seats.at < until)
    seats = seats.rows(np.lexsort((seats.event, seats.user, seats.at)))
    taken_back = seats.until < until
    over = _over(setting, seats.event, until) & ~taken_back
    came = rng.random(len(seats)) < 0.55 + 0.35 * seats.chance
    return Registrations(
        user=seats.user.astype(np.int32),
        event=seats.event.astype(np.int32),
        at=seats.at,
        until=np.where(taken_back, seats.until, np.inf),
        attended=np.where(over, came, -1).astype(np.int8),
    )


def _over(setting: Setting, events: Index, until: float) -> Bools:
    programme = setting.programme
    held: Bools = programme.closes[events] == programme.start[events]
    return held & (programme.end[events] < until)


def _place_in_queue(events: Index) -> Index:
    """Return how many rows before each have the same event."""
    order = np.argsort(events, kind="stable")
    ordered = events[order]
    first = np.searchsorted(ordered, ordered)
    place = np.empty(len(events), np.int64)
    place[order] = np.arange(len(events)) - first
    return place
