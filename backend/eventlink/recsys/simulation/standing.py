"""What a simulated city's people know on a morning: who goes where, follows whom, marked what.

What does not live here: what they make of it (``utility``).
"""

from dataclasses import dataclass

import numpy as np

from eventlink.recsys.dataset import (
    DAY,
    Bools,
    Favorites,
    Floats,
    Registrations,
    Table,
    UserOrganizers,
)
from eventlink.recsys.simulation.catalogue import TAGS
from eventlink.recsys.simulation.people import People, Profiles
from eventlink.recsys.simulation.programme import Programme
from eventlink.recsys.simulation.relation import Index, Relation

MARGIN = 900.0
"""Seconds before a registration closes, and before a day ends, in which nobody begins anything.
All acts that follow from one act lie within it."""
MOMENTUM_HALF_LIFE = 3 * DAY


@dataclass(frozen=True)
class Pairs(Table):
    """A user meets an event."""

    user: Index
    event: Index
    at: Floats
    """The instant, seconds since 1970-01-01 UTC."""


@dataclass(frozen=True)
class Setting:
    """What does not change while the city is watched."""

    people: People
    programme: Programme
    profiles: Profiles
    friends: Relation
    """Users by users, symmetric."""


@dataclass(frozen=True)
class Standing:
    """What is known as of an instant: made of rows dated before it."""

    as_of: float
    registered: Relation
    """Users by events: has ever registered."""
    loyalty: Relation
    """Users by users: registrations with an organizer."""
    follows: Relation
    """Users by users: follows an organizer."""
    marked: Relation
    """Users by events: marked it as a favourite."""
    friends: Relation
    """Users by events: friends who are going to an event that has not begun."""
    taken: Floats
    """Seats taken, an event."""
    momentum: Floats
    """Registrations, an event, each halved in weight every three days."""


def standing(
    setting: Setting,
    registrations: Registrations,
    follows: UserOrganizers,
    favorites: Favorites,
    as_of: float,
) -> Standing:
    """Sum up what is known as of an instant.

    Args:
        setting: The city.
        registrations: Rows may be dated later; those are not read.
        follows: The same.
        favorites: The same.
        as_of: Seconds since 1970-01-01 UTC.
    """
    programme, users = setting.programme, len(setting.people)
    known = registrations.rows(registrations.at < as_of)
    going = known.rows(known.until >= as_of)
    ahead = going.rows(programme.start[going.event] > as_of)
    goer, friend = setting.friends.expand(ahead.user)
    followed = follows.rows(follows.at < as_of)
    marked = favorites.rows(favorites.at < as_of)
    weight = 0.5 ** ((as_of - known.at) / MOMENTUM_HALF_LIFE)
    return Standing(
        as_of=as_of,
        registered=Relation.of(known.user, known.event, len(programme)),
        loyalty=Relation.of(known.user, programme.organizer[known.event], users),
        follows=Relation.of(followed.user, followed.organizer, users),
        marked=Relation.of(marked.user, marked.event, len(programme)),
        friends=Relation.of(friend, ahead.event[goer], len(programme)),
        taken=np.bincount(going.event, minlength=len(programme)).astype(np.float64),
        momentum=np.bincount(known.event, weight, len(programme)).astype(np.float64),
    )


def is_open(setting: Setting, now: Standing, events: Index, at: Floats) -> Bools:
    """Return whether anybody may still register: public, not closed, seats left; shape (n,).

    Args:
        setting: The city.
        now: What is known that morning; seats given back since then are not yet given out.
        events: Index of each event.
        at: The instant of asking, seconds since 1970-01-01 UTC.
    """
    programme = setting.programme
    seats = programme.max_seats[events]
    left = (seats < 0) | (now.taken[events] < seats)
    return left & (programme.public[events] < at) & (at + MARGIN < programme.closes[events])


def is_welcome(setting: Setting, users: Index, events: Index) -> Bools:
    """Return whether the user has neither blocked the organizer nor hidden a tag, shape (n,).

    Args:
        setting: The city.
        users: Index of each user.
        events: Index of each event.
    """
    profiles, programme = setting.profiles, setting.programme
    blocked = Relation.of(profiles.blocks.user, profiles.blocks.organizer, len(setting.people))
    hidden = Relation.of(profiles.hidden_tags.user, profiles.hidden_tags.tag, len(TAGS))
    tags = Relation.of(programme.tags.event, programme.tags.tag, len(TAGS))
    welcome = ~blocked.has(users, programme.organizer[events])
    # Few people hide anything: only their pairs are expanded into tags.
    asked = np.flatnonzero(np.isin(users, profiles.hidden_tags.user))
    pair, tag = tags.expand(events[asked])
    welcome[asked[pair[hidden.has(users[asked[pair]], tag)]]] = False
    return welcome


def is_eligible(setting: Setting, now: Standing, pairs: Pairs) -> Bools:
    """Return whether each pair is open, welcome and not yet registered, shape (n,).

    Args:
        setting: The city.
        now: What is known that morning.
        pairs: Who meets what, and when.
    """
    return (
        is_open(setting, now, pairs.event, pairs.at)
        & is_welcome(setting, pairs.user, pairs.event)
        & ~now.registered.has(pairs.user, pairs.event)
    )
