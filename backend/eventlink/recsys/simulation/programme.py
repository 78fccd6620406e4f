"""What is on in a simulated city: venues, topics, tags, words, seats, and what is called off.

What does not live here: when it is (``schedule``) and who comes (``behaviour``).
"""

from dataclasses import dataclass

import numpy as np

from eventlink.recsys.dataset import HOUR, Bools, EventTags, Floats, Ints
from eventlink.recsys.simulation.catalogue import (
    CATEGORIES,
    CLOSINGS,
    LANGUAGES,
    NEIGHBOURHOODS,
    OPENINGS,
    TAGS_PER_TOPIC,
    TOPICS,
    VENUE_KINDS,
)
from eventlink.recsys.simulation.options import SimulationOptions
from eventlink.recsys.simulation.people import KM_PER_DEGREE, People, draw_topics
from eventlink.recsys.simulation.relation import Index
from eventlink.recsys.simulation.schedule import Schedule, schedule

EVENTS_PER_VENUE = 15
REGISTRATIONS_PER_USER_DAY = 0.06
"""About what comes of it all; seat limits are multiples of the mean an event."""
DRAFT, PUBLISHED, CANCELLED = 0, 1, 2
"""Values of ``Programme.status``."""


@dataclass(frozen=True)
class Programme:
    """One row an event, in order of creation. ``public`` and what follows are hidden truth."""

    title: list[str]
    description: list[str]
    category: Ints
    """Place in ``catalogue.CATEGORIES``; -1 for none."""
    organizer: Ints
    """An index of users."""
    venue: list[str]
    city: Ints
    """Place in ``catalogue.NEIGHBOURHOODS``."""
    place: Floats
    """Shape (n, 2): degrees of latitude and longitude."""
    created: Floats
    publish_at: Floats
    """When it is made public, where that is later than its creation; else nan."""
    start: Floats
    end: Floats
    status: Ints
    """``DRAFT``, ``PUBLISHED`` or ``CANCELLED``, as it is at the end."""
    deleted: Floats
    """inf where it was not."""
    max_seats: Ints
    """-1: no limit."""
    tags: EventTags
    public: Floats
    """From when on people may see it; inf for drafts."""
    closes: Floats
    """Until when people may register: the start, or the instant it is called off or deleted."""
    topics: Floats
    """Shape (n, topics); rows sum to 1."""
    english: Bools
    appeal: Floats
    """What everybody feels alike, in logits: the organizer's name and the event's own quality."""
    series: Ints
    """Equal for the events of one series; -1 for those held once."""

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Venues:
    """Where events are held; one row a venue."""

    name: list[str]
    neighbourhood: Index
    place: Floats
    """Shape (n, 2): degrees of latitude and longitude."""


def arrange(people: People, options: SimulationOptions, rng: np.random.Generator) -> Programme:
    """Draw everything that is on while the city is watched, and all that is announced by then.

    Args:
        people: The users, organizers among them.
        options: The city's size and time.
        rng: The source of chance.
    """
    when = schedule(people, options, rng)
    n = len(when)
    second = when.alike(draw_topics(people.interests[np.tile(when.organizer, 2)], rng))
    venues = _venues(options, rng)
    venue = _venue(when, len(venues.name), people, rng)
    english = when.alike(rng.random(2 * n) < 0.35)
    publish_at = _publish_at(when, rng)
    public = np.where(np.isnan(publish_at), when.created, publish_at)
    status, deleted, closes = _fates(when, public, options, rng)
    category = np.array([CATEGORIES.index(topic.category) for topic in TOPICS])[when.topic]
    names = [venues.name[i] for i in venue]
    return Programme(
        title=_titles(when, english, venues.neighbourhood[venue], rng),
        description=_descriptions(when, english, names, rng),
        category=np.where(rng.random(n) < 0.03, -1, category).astype(np.int32),
        organizer=when.organizer.astype(np.int32),
        venue=names,
        city=venues.neighbourhood[venue].astype(np.int32),
        place=venues.place[venue],
        created=when.created,
        publish_at=publish_at,
        start=when.start,
        end=when.start + when.alike(rng.choice([1.5, 2.0, 2.0, 3.0], 2 * n)) * HOUR,
        status=status,
        deleted=deleted,
        max_seats=_seats(options, rng),
        tags=_tags(when, second, rng),
        public=np.where(status == DRAFT, np.inf, public),
        closes=closes,
        topics=_shares(when.topic, second),
        english=english,
        appeal=0.4 * people.reach[when.organizer] + rng.normal(0, 0.4, n),
        series=when.series.astype(np.int32),
    )


def _shares(main: Index, second: Index) -> Floats:
    """Three quarters the main topic, one quarter the second, which may be the same."""
    shares = np.zeros((len(main), len(TOPICS)))
    np.add.at(shares, (np.arange(len(main)), main), 0.75)
    np.add.at(shares, (np.arange(len(main)), second), 0.25)
    return shares


def _tags(when: Schedule, second: Index, rng: np.random.Generator) -> EventTags:
    """One to four tags of the main topic, for some one of the second, for a few none at all."""
    n = len(when)
    main = when.alike(rng.random((2 * n, TAGS_PER_TOPIC)) < 0.4)
    main[np.arange(n), when.alike(rng.integers(0, TAGS_PER_TOPIC, 2 * n))] = True
    has = np.zeros((n, len(TOPICS), TAGS_PER_TOPIC), np.bool_)
    has[np.arange(n), when.topic] = main
    extra = np.flatnonzero(when.alike(rng.random(2 * n) < 0.3))
    has[extra, second[extra], rng.integers(0, TAGS_PER_TOPIC, len(extra))] = True
    has[when.alike(rng.random(2 * n) < 0.04)] = False
    event, tag = np.nonzero(has.reshape(n, -1))
    return EventTags(event=event.astype(np.int32), tag=tag.astype(np.int32))


def _venues(options: SimulationOptions, rng: np.random.Generator) -> Venues:
    n = int(np.clip(options.events // EVENTS_PER_VENUE, 3, 500))
    # The centre has more than its share.
    share = np.array([part.share for part in NEIGHBOURHOODS])
    share[0] += 0.4
    where = rng.choice(len(NEIGHBOURHOODS), n, p=share / share.sum())
    kind = rng.choice(VENUE_KINDS, n)
    names: list[str] = []
    used: dict[str, int] = {}
    for part, what in zip(where, kind, strict=True):
        name = f"{NEIGHBOURHOODS[part].name} {what}"
        used[name] = used.get(name, 0) + 1
        names.append(name if used[name] == 1 else f"{name} {used[name]}")
    centre = np.array([(part.lat, part.lon) for part in NEIGHBOURHOODS])[where]
    place = np.round(centre + rng.normal(0, 0.5, (n, 2)) / KM_PER_DEGREE, 5)
    return Venues(names, where, place)


def _venue(when: Schedule, venues: int, people: People, rng: np.random.Generator) -> Index:
    """Three quarters of what an organizer holds is at home."""
    home = rng.integers(0, venues, len(people))[when.organizer]
    away = when.alike(rng.integers(0, venues, 2 * len(when)))
    return np.where(when.alike(rng.random(2 * len(when)) < 0.75), home, away)


def _publish_at(when: Schedule, rng: np.random.Generator) -> Floats:
    """Every tenth event is written earlier than shown."""
    delay = np.floor(rng.uniform(0.05, 0.3, len(when)) * (when.start - when.created))
    late = (rng.random(len(when)) < 0.1) & ~when.sure
    return np.where(late, when.created + delay, np.nan)


def _fates(
    when: Schedule, public: Floats, options: SimulationOptions, rng: np.random.Generator
) -> tuple[Ints, Floats, Floats]:
    """Return statuses, instants of deletion, and when registering ends.

    Of a hundred events about two stay drafts, two are cancelled and one is deleted.
    """
    chance = np.where(when.sure, 1.0, rng.random(len(when)))
    ahead = when.start - public
    withdrawn = public + np.floor(rng.uniform(0.3, 0.9, len(when)) * ahead)
    happened = withdrawn < options.until
    cancelled = (chance >= 0.02) & (chance < 0.045) & happened
    deleted = (chance >= 0.045) & (chance < 0.055) & happened
    status = np.where(chance < 0.02, DRAFT, np.where(cancelled, CANCELLED, PUBLISHED))
    return (
        status.astype(np.int32),
        np.where(deleted, withdrawn, np.inf),
        np.where(cancelled | deleted, withdrawn, when.start),
    )


def _seats(options: SimulationOptions, rng: np.random.Generator) -> Ints:
    """A third has a limit, in fives, at 1.5 to 4 times the mean of registrations."""
    n = options.events
    mean = REGISTRATIONS_PER_USER_DAY * options.users * options.days / n
    seats = 5 * np.ceil(mean * rng.choice([1.5, 2.0, 3.0, 4.0], n) / 5)
    return np.where(rng.random(n) < 0.35, seats, -1).astype(np.int32)


def _titles(when: Schedule, english: Bools, where: Index, rng: np.random.Generator) -> list[str]:
    n = len(when)
    choice, numbered = when.alike(rng.random(2 * n)), when.alike(rng.random(2 * n) < 0.4)
    begun = when.alike(rng.integers(1, 60, 2 * n))
    titles = []
    for i in range(n):
        topic, language = TOPICS[when.topic[i]], LANGUAGES[int(english[i])]
        repeated = when.series[i] >= 0
        templates = (topic.series if repeated else topic.single)[language]
        title = templates[int(choice[i] * len(templates))]
        number = f" #{begun[i] + when.number[i]}" if repeated and numbered[i] else ""
        titles.append(title.format(place=NEIGHBOURHOODS[where[i]].name) + number)
    return titles


def _descriptions(
    when: Schedule, english: Bools, venues: list[str], rng: np.random.Generator
) -> list[str]:
    n = len(when)
    first = when.alike(rng.random(2 * n))
    last = when.alike(rng.integers(0, len(CLOSINGS["en"]), 2 * n))
    texts = []
    for i in range(n):
        language = LANGUAGES[int(english[i])]
        openings, closings = OPENINGS[language], CLOSINGS[language]
        text = f"{openings[int(first[i] * len(openings))]} {closings[last[i]]}"
        about = TOPICS[when.topic[i]].about[language]
        texts.append(text.format(about=about, venue=venues[i]))
    return texts
