"""Who lives in a simulated city: homes, languages, interests, friends, organizers, profiles.

What does not live here: what they organise (``programme``) and what they do (``behaviour``).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import DAY, HOUR, Bools, Floats, Ints, UserOrganizers, UserTags
from eventlink.recsys.simulation.catalogue import (
    FIRST_NAMES,
    LAST_NAMES,
    NEIGHBOURHOODS,
    TAGS,
    TAGS_PER_TOPIC,
    TOPICS,
)
from eventlink.recsys.simulation.options import SimulationOptions
from eventlink.recsys.simulation.relation import Index, Relation

KM_PER_DEGREE = np.array([111.2, 76.2])
"""Of latitude and of longitude at 46.77 degrees north."""
SLOTS = 14
"""Of a week: each weekday's day and its evening."""
N_TOPICS = len(TOPICS)

EVENTS_PER_ORGANIZER = 8
NEWCOMER_SHARE = 0.25
DORMANT_SHARE = 0.3
"""Of the people: they joined and were not seen again."""
BUSIEST = 15.0
"""Nobody is more active than this many average people."""


@dataclass(frozen=True)
class People:
    """One row a user, in order of joining. ``home`` and what follows are the hidden truth."""

    joined: Floats
    name: Index
    """Shape (n, 2): places in ``catalogue.FIRST_NAMES`` and ``LAST_NAMES``."""
    organizer: Bools
    """Holds events, and takes part in none."""
    enabled: Bools
    """The account is active; those that are not do nothing."""
    city: Ints
    """Place in ``catalogue.NEIGHBOURHOODS``, whose ``city`` is written."""
    lat: Floats
    """Home as the platform knows it: nan for some."""
    lon: Floats
    english: Bools
    """Reads English and not Romanian."""
    home: Floats
    """Shape (n, 2): true latitude and longitude."""
    interests: Floats
    """Shape (n, topics); rows sum to 1. An organizer's row says what they hold."""
    habits: Floats
    """Shape (n, ``SLOTS``), standard normal: the liking of a slot of the week."""
    activity: Floats
    """Relative to the average student; 0 for organizers and the dormant."""
    reach: Floats
    """How well known an organizer is, about standard normal; 0 for others."""

    def __len__(self) -> int:
        return len(self.joined)

    @property
    def students(self) -> Index:
        """Users who may take part in events, in order of joining."""
        return np.flatnonzero(~self.organizer & self.enabled)


@dataclass(frozen=True)
class Profiles:
    """What people told the platform when they joined."""

    interests: UserTags
    hidden_tags: UserTags
    follows: UserOrganizers
    """``organizer`` is an index of users."""
    blocks: UserOrganizers


def settle(options: SimulationOptions, rng: np.random.Generator) -> People:
    """Draw the people of a city.

    Args:
        options: The city's size and time.
        rng: The source of chance.
    """
    n = options.users
    joined = _joined(n, options.begin, options.until, rng)
    organizer = _organizers(options, joined < options.begin, rng)
    where = rng.choice(len(NEIGHBOURHOODS), n, p=[part.share for part in NEIGHBOURHOODS])
    centre = np.array([(part.lat, part.lon) for part in NEIGHBOURHOODS])
    home = np.round(centre[where] + rng.normal(0, 0.7, (n, 2)) / KM_PER_DEGREE, 4)
    told = rng.random(n) > 0.04
    enabled = organizer | (rng.random(n) > 0.02)
    return People(
        joined=joined,
        name=rng.integers(0, (len(FIRST_NAMES), len(LAST_NAMES)), (n, 2)),
        organizer=organizer,
        enabled=enabled,
        city=where.astype(np.int32),
        lat=np.where(told, home[:, 0], np.nan),
        lon=np.where(told, home[:, 1], np.nan),
        english=rng.random(n) < 0.2,
        home=home,
        interests=_interests(organizer, rng),
        habits=rng.normal(size=(n, SLOTS)),
        activity=_activity(enabled & ~organizer, rng),
        reach=np.where(organizer, np.clip(rng.normal(size=n), -1.5, 1.5), 0.0),
    )


def distance_km(a: Floats, b: Floats) -> Floats:
    """Return the distance of places in one region, in km, shape (n,).

    Args:
        a: Degrees of latitude and longitude, shape (n, 2).
        b: The same of the other places.
    """
    steps = (a - b) * KM_PER_DEGREE
    return np.asarray(np.hypot(steps[:, 0], steps[:, 1]))


def befriend(people: People, rng: np.random.Generator) -> Relation:
    """Draw friendships: of people who like the same and live near, about six each.

    Args:
        people: The users.
        rng: The source of chance.

    Returns:
        Users by users, symmetric.
    """
    students = people.students
    favourite = people.interests[students].argmax(axis=1)
    # Neighbours in this order share a topic and a part of the city; two out of three
    # friendships are made along it and the rest anywhere.
    order = students[np.lexsort((rng.random(len(students)), people.city[students], favourite))]
    friends = rng.poisson(rng.gamma(1.5, 2.0, len(order)))
    one = np.repeat(np.arange(len(order)), friends)
    step = 1 + rng.geometric(0.2, len(one))
    near = rng.random(len(one)) < 2 / 3
    other = np.where(near, one + step, rng.integers(0, max(len(order), 1), len(one)))
    real = (other < len(order)) & (other != one)
    a, b = order[one[real]], order[other[real]]
    both = Relation.of(np.concatenate([a, b]), np.concatenate([b, a]), len(people))
    return Relation(both.keys, np.ones_like(both.counts), both.width)


def introduce(people: People, rng: np.random.Generator) -> Profiles:
    """Draw what people tell the platform: topics they like or hide, organizers followed or blocked.

    What they say is about what they like, not all of it, and partly wrong.

    Args:
        people: The users.
        rng: The source of chance.
    """
    students = people.students
    said = np.repeat(students, np.where(rng.random(len(students)) < 0.7, _some(students, rng), 0))
    liked = draw_topics(people.interests[said], rng) * TAGS_PER_TOPIC
    liked = liked + rng.integers(0, TAGS_PER_TOPIC, len(said))
    liked = np.where(rng.random(len(said)) < 0.85, liked, rng.integers(0, len(TAGS), len(said)))
    hiding = students[rng.random(len(students)) < 0.03]
    hidden = people.interests[hiding].argmin(axis=1) * TAGS_PER_TOPIC
    hidden = hidden + rng.integers(0, TAGS_PER_TOPIC, len(hiding))
    meant = ~Relation.of(hiding, hidden, len(TAGS)).has(said, liked)
    said, liked = said[meant], liked[meant]
    organizers = np.flatnonzero(people.organizer)
    following = np.repeat(students, 4)
    blocking = students[rng.random(len(students)) < 0.02]
    fame = np.exp(0.7 * people.reach[organizers])
    followed = rng.choice(organizers, len(following), p=fame / fame.sum())
    shared = (people.interests[following] * people.interests[followed]).sum(axis=1)
    keen = rng.random(len(following)) < shared
    blocked = rng.choice(organizers, len(blocking))
    befriended = Relation.of(following[keen], followed[keen], len(people))
    refused = ~befriended.has(blocking, blocked)
    return Profiles(
        interests=_user_tags(people, said, liked, rng),
        hidden_tags=_user_tags(people, hiding, hidden, rng),
        follows=_user_organizers(people, following[keen], followed[keen], rng),
        blocks=_user_organizers(people, blocking[refused], blocked[refused], rng),
    )


def draw_topics(shares: Floats, rng: np.random.Generator) -> Index:
    """Draw one topic a row.

    Args:
        shares: Chances of the topics, shape (n, topics); rows sum to 1.
        rng: The source of chance.
    """
    below = np.cumsum(shares, axis=1)[:, :-1] < rng.random((len(shares), 1))
    return np.asarray(below.sum(axis=1))


def _joined(n: int, begin: float, until: float, rng: np.random.Generator) -> Floats:
    """Most joined in the half-year before; the last ones at least two hours before the end."""
    newcomers = rng.random(n) < 2 * NEWCOMER_SHARE
    newcomers[: 1 + n // 2] = False
    spread = rng.random(n)
    old = begin - 1 - spread * 180 * DAY
    new = begin + spread * (until - begin - 2 * HOUR)
    return np.sort(np.floor(np.where(newcomers, new, old)))


def _organizers(options: SimulationOptions, old: Bools, rng: np.random.Generator) -> Bools:
    count = min(max(1, options.events // EVENTS_PER_ORGANIZER), options.users // 2)
    chosen = rng.permutation(np.flatnonzero(old))[:count]
    return np.isin(np.arange(options.users), chosen)


def _interests(organizer: Bools, rng: np.random.Generator) -> Floats:
    """Few topics a user, fewer an organizer; some topics are liked by more people than others."""
    popularity = rng.dirichlet(np.full(N_TOPICS, 8.0))
    sharp = np.where(organizer, 0.7, 3.0)
    # A Dirichlet draw is a normalised row of gamma draws; the floor keeps tiny rows finite.
    draws = rng.standard_gamma(sharp[:, None] * popularity) + 1e-9
    shares: Floats = draws / draws.sum(axis=1, keepdims=True)
    return shares


def _activity(taking_part: Bools, rng: np.random.Generator) -> Floats:
    """Heavy-tailed: log-normal among those who return, average 1 over everybody who may."""
    n = len(taking_part)
    draws = np.exp(rng.normal(0, 1.2, n)) * (rng.random(n) > DORMANT_SHARE) * taking_part
    mean = draws.sum() / max(int(taking_part.sum()), 1)
    return np.minimum(draws / mean, BUSIEST) if mean > 0 else draws


def _some(students: Index, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return 1 + rng.poisson(2.5, len(students))


def _told_at(people: People, users: Index, rng: np.random.Generator) -> Floats:
    """Within ten minutes of joining; nobody joins in the last two hours."""
    return people.joined[users] + rng.integers(60, 600, len(users))


def _user_tags(people: People, users: Index, tags: Index, rng: np.random.Generator) -> UserTags:
    user, tag = _distinct(users, tags, len(TAGS))
    table = UserTags(user, tag, _told_at(people, user, rng))
    return table.rows(np.lexsort((table.tag, table.user, table.at)))


def _user_organizers(
    people: People, users: Index, organizers: Index, rng: np.random.Generator
) -> UserOrganizers:
    user, organizer = _distinct(users, organizers, len(people))
    table = UserOrganizers(user, organizer, _told_at(people, user, rng))
    return table.rows(np.lexsort((table.organizer, table.user, table.at)))


def _distinct(rows: Index, columns: Index, width: int) -> tuple[Ints, Ints]:
    keys = Relation.of(rows, columns, width).keys
    return (keys // width).astype(np.int32), (keys % width).astype(np.int32)
