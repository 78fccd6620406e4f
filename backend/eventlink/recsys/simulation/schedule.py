"""When a simulated city's events are announced and held, and by whom: series and one-off events.

What does not live here: what else an event is (``programme``).
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import DAY, HOUR, Bools, Floats
from eventlink.recsys.simulation.catalogue import TOPICS
from eventlink.recsys.simulation.options import SimulationOptions
from eventlink.recsys.simulation.people import People, draw_topics
from eventlink.recsys.simulation.relation import Index

UTC_OFFSET = 2 * HOUR
"""Of the city's clocks, all year."""
SERIES_SHARE = 0.6
"""Of the events: the others are held once."""
WEEKLY_SHARE = 0.6
"""Of the series: the others are held every four weeks."""
LIVE_SHARE = 0.08
"""Of the events, at least: they are announced before the end of watching and start after it."""
EVENING_HOURS = np.array([18.0, 18.5, 19.0, 19.0, 19.5, 20.0])
WEEKEND_HOURS = np.array([9.0, 10.0, 10.5, 11.0, 14.0, 16.0])
WEEKEND = np.array([t.weekend for t in TOPICS])

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Schedule:
    """One row an event, in order of creation."""

    organizer: Index
    """An index of users."""
    topic: Index
    series: Index
    """Equal for the events of one series; -1 for those held once."""
    number: Index
    """Place in the series, from 0."""
    start: Floats
    created: Floats
    sure: Bools
    """Neither called off nor published late, so that something is always ahead."""

    def __len__(self) -> int:
        return len(self.start)

    def alike(self, draws: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Give the events of one series the same draw.

        Args:
            draws: Two rows for every event, shape (2 n, ...).

        Returns:
            One row for every event, shape (n, ...).
        """
        return draws[np.where(self.series >= 0, self.series, len(self) + np.arange(len(self)))]


def slot(start: Floats) -> Index:
    """Return each instant's slot of the week: two times the weekday, plus one in the evening.

    Args:
        start: Seconds since 1970-01-01 UTC, shape (n,).
    """
    local = start + UTC_OFFSET
    return 2 * _weekday(np.floor(local / DAY)) + (local % DAY >= 17 * HOUR)


def schedule(people: People, options: SimulationOptions, rng: np.random.Generator) -> Schedule:
    """Draw who holds what, when, and when it is announced.

    Everything starts after watching begins, is announced before it ends, and is announced 1 to 30
    days ahead.

    Args:
        people: The users, organizers among them.
        options: The city's size and time.
        rng: The source of chance.
    """
    series = _series(people, options, rng)
    single = _single(people, options, options.events - len(series), rng)
    columns = {
        name: np.concatenate([getattr(series, name), getattr(single, name)])
        for name in Schedule.__dataclass_fields__
    }
    order = np.argsort(columns["created"], kind="stable")
    return Schedule(**{name: column[order] for name, column in columns.items()})


def _series(people: People, options: SimulationOptions, rng: np.random.Generator) -> Schedule:
    """Series until they make up their share of the events."""
    n = options.events
    organizer, topic = _hosts(people, n, rng)
    weekend = rng.random(n) < WEEKEND[topic]
    weekday = np.where(weekend, rng.integers(5, 7, n), rng.integers(0, 5, n))
    period = np.where(rng.random(n) < WEEKLY_SHARE, 7, 28)
    today = np.floor((options.begin + UTC_OFFSET) / DAY)
    day = today + 1 + (weekday - _weekday(today + 1)) % 7
    day = day + np.where(period == 28, 7 * rng.integers(0, 4, n), 0)
    first = _at(day, weekend, rng)
    lead = np.floor(rng.uniform(5, 21, n) * DAY)
    count = np.maximum(np.ceil((options.until + lead - first) / (period * DAY)), 0).astype(np.int64)
    taken = np.flatnonzero(np.cumsum(count) <= SERIES_SHARE * n)
    of = np.repeat(taken, count[taken])
    number = np.arange(len(of)) - np.repeat(np.cumsum(count[taken]) - count[taken], count[taken])
    start = first[of] + number * period[of] * DAY
    return Schedule(
        organizer=organizer[of],
        topic=topic[of],
        series=of,
        number=number,
        start=start,
        created=start - lead[of] - rng.integers(0, 6 * 3600, len(of)),
        sure=np.zeros(len(of), np.bool_),
    )


def _single(
    people: People, options: SimulationOptions, n: int, rng: np.random.Generator
) -> Schedule:
    """Events held once; the first few are ahead when watching ends."""
    organizer, topic = _hosts(people, n, rng)
    lead = np.clip(np.exp(rng.normal(np.log(9), 0.6, n)), 1.5, 21) * DAY
    earliest = options.begin - lead
    sure = np.arange(n) < np.ceil(LIVE_SHARE * options.events)
    share = rng.random(n)
    created = np.where(
        sure,
        options.until - (0.05 + 0.75 * share) * lead,
        earliest + share * (options.until - earliest),
    )
    weekend = rng.random(n) < WEEKEND[topic]
    day = np.floor((created + lead + UTC_OFFSET) / DAY) + 1
    weekday = _weekday(day)
    to_weekend = np.where(weekday < 5, 5 - weekday + rng.integers(0, 2, n), 0)
    day = day + np.where(weekend, to_weekend, 0)
    return Schedule(
        organizer=organizer,
        topic=topic,
        series=np.full(n, -1),
        number=np.zeros(n, np.int64),
        start=_at(day, weekend, rng),
        created=np.minimum(np.floor(created), options.until - 60),
        sure=sure,
    )


def _hosts(people: People, n: int, rng: np.random.Generator) -> tuple[Index, Index]:
    """Return n organizers, the well-known ones more often, and a topic of theirs for each."""
    organizers = np.flatnonzero(people.organizer)
    busy = np.exp(0.5 * people.reach[organizers])
    chosen = rng.choice(organizers, n, p=busy / busy.sum())
    return chosen, draw_topics(people.interests[chosen], rng)


def _at(day: Floats, weekend: Bools, rng: np.random.Generator) -> Floats:
    """Return an instant of local days, by day on a weekend and else in the evening."""
    hour = np.where(
        weekend, rng.choice(WEEKEND_HOURS, len(day)), rng.choice(EVENING_HOURS, len(day))
    )
    return day * DAY + hour * HOUR - UTC_OFFSET


def _weekday(day: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Monday is 0; day 0, 1970-01-01, was a Thursday."""
    return (np.asarray(day).astype(np.int64) + 3) % 7
