"""A day in a simulated city: visits, looks, clicks, searches, pages opened, registrations.

What does not live here: what is shown (``lists``), what is found otherwise (``arrivals``), how
seats are given (``desk``).
"""

from dataclasses import dataclass, field, fields

import numpy as np

from eventlink.recsys.dataset import (
    DAY,
    HOUR,
    Act,
    Favorites,
    Floats,
    Interactions,
    Ints,
    Table,
)
from eventlink.recsys.simulation.arrivals import choose
from eventlink.recsys.simulation.catalogue import CATEGORIES, TAGS_PER_TOPIC, TOPICS
from eventlink.recsys.simulation.desk import Attempts, Seats, register, scatter
from eventlink.recsys.simulation.lists import Visits, show
from eventlink.recsys.simulation.options import LIST_LENGTH, SimulationOptions
from eventlink.recsys.simulation.people import People, draw_topics
from eventlink.recsys.simulation.relation import Index
from eventlink.recsys.simulation.schedule import UTC_OFFSET, slot
from eventlink.recsys.simulation.standing import MARGIN, Pairs
from eventlink.recsys.simulation.utility import AIMLESS, Today

VISITS_PER_DAY = 0.06
"""To the platform, of the average student; each is shown one list."""
ARRIVALS_PER_DAY = 0.19
"""At some event's page without having seen it in a list."""
SEARCH_SHARE = 0.2
"""Of the visits."""
WEEK = np.array([1.05, 1.1, 1.1, 1.1, 0.9, 0.8, 0.95])
"""How busy each weekday is, Monday first."""
CATEGORY_OF_TOPIC = np.array([CATEGORIES.index(topic.category) for topic in TOPICS])


@dataclass(frozen=True)
class Searches(Table):
    """A user typed a tag's name, or filtered by a tag or a category; the other is -1."""

    user: Ints
    at: Floats
    act: Ints
    """``Act.SEARCH`` or ``Act.FILTER``."""
    tag: Ints
    category: Ints
    """Place in ``catalogue.CATEGORIES``."""


@dataclass
class Log:
    """What happened so far, a table a day."""

    acts: list[Interactions] = field(default_factory=list)
    searches: list[Searches] = field(default_factory=list)
    favorites: list[Favorites] = field(default_factory=lambda: [_no_favorites()])
    policies: list[Index] = field(default_factory=list)
    lists: int = 0

    def act(self, act: Act, user: Index, event: Index, at: Floats, **known: Index | Floats) -> None:
        """Add interactions of one kind, with ``position``, ``request`` or ``dwell`` if known."""
        none = np.full(len(user), -1, np.int32)
        self.acts.append(
            Interactions(
                user=user.astype(np.int32),
                event=event.astype(np.int32),
                at=at,
                act=np.full(len(user), act, np.int8),
                position=known.get("position", none).astype(np.int32),
                request=known.get("request", none).astype(np.int32),
                dwell=known.get("dwell", np.zeros(len(user))).astype(np.float32),
            )
        )


def _no_favorites() -> Favorites:
    nobody = np.zeros(0, np.int32)
    return Favorites(nobody, nobody, np.zeros(0))


def examination(options: SimulationOptions) -> Floats:
    """Return the chance that each place of a list is looked at, shape (``LIST_LENGTH``,).

    The examination hypothesis of Craswell et al., "An experimental comparison of click
    position-bias models" (WSDM 2008), with the power law of Joachims, Swaminathan and Schnabel,
    "Unbiased learning-to-rank with biased feedback" (WSDM 2017).
    """
    return np.asarray((1.0 + np.arange(LIST_LENGTH)) ** -options.examination_decay, np.float64)


def live_a_day(today: Today, log: Log, rng: np.random.Generator) -> Seats:
    """Let everybody live through a day.

    Args:
        today: The city that morning.
        log: Gets what happens.
        rng: The source of chance.

    Returns:
        The day's registrations.
    """
    if not len(today.live):
        return Seats.none()
    people, morning = today.setting.people, today.now.as_of
    visits = _come(people, morning, VISITS_PER_DAY, rng)
    arrivals = _come(people, morning, ARRIVALS_PER_DAY, rng)
    clicked = _browse(today, visits, log, rng)
    opened = _arrive(today, arrivals, rng)
    log.act(Act.VIEW, opened.user, opened.event, opened.at)
    log.searches.append(_search(people, visits, today.options.signal, rng))
    attempts = _read(today, clicked.and_(opened), log, rng)
    return register(today, scatter(today, attempts, rng), rng)


@dataclass(frozen=True)
class _Pages(Table):
    """Somebody opens an event's page, and then registers with a chance."""

    user: Index
    event: Index
    at: Floats
    chance: Floats

    def and_(self, other: "_Pages") -> "_Pages":
        return _Pages(
            *(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        )


def _come(people: People, morning: float, rate: float, rng: np.random.Generator) -> Visits:
    """Draw who comes today and when: at most once, more in the first week, most on joining."""
    students = people.students
    joined = people.joined[students]
    weekday = slot(np.array([morning + DAY / 2]))[0] // 2
    keen = np.where(morning - joined < 7 * DAY, 3.0, 1.0)
    expected = rate * people.activity[students] * WEEK[weekday] * keen
    joins = (joined >= morning) & (joined < morning + DAY)
    comes = rng.random(len(students)) < np.where(joins, 0.6, 1 - np.exp(-expected))
    at = np.where(joins, joined + rng.integers(60, 600, len(students)), _time(morning, joined, rng))
    comes &= (joined < at) & (at < morning + DAY - MARGIN)
    return Visits(students[comes], at[comes])


def _time(morning: float, like: Floats, rng: np.random.Generator) -> Floats:
    """Draw whole seconds of the day: around noon and in the evening, by the city's clocks."""
    n = len(like)
    noon = rng.random(n) < 0.35
    hour = np.where(noon, rng.normal(12.5, 2.0, n), rng.normal(20.3, 1.9, n))
    at = np.floor((hour * HOUR - UTC_OFFSET - morning) % DAY)
    return morning + np.where(at < DAY - MARGIN, at, at - MARGIN)


def _browse(today: Today, visits: Visits, log: Log, rng: np.random.Generator) -> _Pages:
    """Show each visitor a list; they click what they look at and want."""
    options, chances = today.options, today.chances
    shown, policy = show(today, visits, rng)
    pairs, position, request = shown.pairs, shown.position, log.lists + shown.visit
    log.lists += len(visits)
    log.policies.append(policy)
    if options.impressions:
        log.act(
            Act.IMPRESSION, pairs.user, pairs.event, pairs.at, position=position, request=request
        )
    wanted = today.utility(pairs)
    guided = rng.random(len(pairs)) < options.signal
    looked = rng.random(len(pairs)) < examination(options)[position]
    likes = np.where(guided, chances.of_click(wanted), AIMLESS["click"])
    clicked = looked & (rng.random(len(pairs)) < likes)
    chance = np.where(guided, chances.of_register(wanted), AIMLESS["register_from_list"])
    at = pairs.at + 4 + 6 * position + rng.integers(0, 4, len(pairs))
    pages = _Pages(pairs.user, pairs.event, at, chance).rows(clicked)
    log.act(
        Act.CLICK,
        pages.user,
        pages.event,
        pages.at,
        position=position[clicked],
        request=request[clicked],
    )
    return pages


def _arrive(today: Today, arrivals: Visits, rng: np.random.Generator) -> _Pages:
    """Each arrival opens the page of one event."""
    guided = rng.random(len(arrivals)) < today.options.signal
    who, found = choose(today, arrivals, guided, rng)
    wanted = today.chances.of_register(today.utility(found))
    chance = np.where(guided[who], wanted, AIMLESS["register_on_arrival"])
    return _Pages(found.user, found.event, found.at, chance)


def _read(today: Today, pages: _Pages, log: Log, rng: np.random.Generator) -> Attempts:
    """Spend time on the pages opened; share some, keep some, ask for a seat at some."""
    n, chance = len(pages), pages.chance
    seconds = np.exp(rng.normal(2.8 + 1.3 * chance, 0.8))
    dwell: Floats = np.asarray(np.round(np.clip(seconds, 1, 480), 1), np.float64)
    log.act(Act.DWELL, pages.user, pages.event, pages.at + 1 + np.ceil(dwell), dwell=dwell)
    moment = pages.at + 1 + np.floor(rng.random(n) * dwell)
    asks = rng.random(n) < chance
    shares = rng.random(n) < 0.01 + 0.04 * chance
    log.act(Act.SHARE, pages.user[shares], pages.event[shares], moment[shares])
    keeps = ~asks & (rng.random(n) < 0.04 + 0.15 * chance)
    _keep(today, Pairs(pages.user, pages.event, moment).rows(keeps), log)
    return Attempts(pages.user, pages.event, moment + 1, chance).rows(asks)


def _keep(today: Today, pairs: Pairs, log: Log) -> None:
    """Mark events as favourites; one that is one already stays as it is."""
    pairs = pairs.rows(np.argsort(pairs.at, kind="stable"))
    keys = pairs.user.astype(np.int64) * len(today.setting.programme) + pairs.event
    first = np.zeros(len(keys), np.bool_)
    first[np.unique(keys, return_index=True)[1]] = True
    kept = pairs.rows(first & ~today.now.marked.has(pairs.user, pairs.event))
    log.favorites.append(
        Favorites(kept.user.astype(np.int32), kept.event.astype(np.int32), kept.at)
    )
    log.act(Act.FAVORITE, kept.user, kept.event, kept.at)


def _search(people: People, visits: Visits, signal: float, rng: np.random.Generator) -> Searches:
    """Some visitors say what they look for: mostly a topic of theirs, by tag or category."""
    who = visits.rows(rng.random(len(visits)) < SEARCH_SHARE)
    n = len(who)
    topic = draw_topics(people.interests[who.user], rng)
    topic = np.where(rng.random(n) < 0.9 * signal, topic, rng.integers(0, len(TOPICS), n))
    tag = topic * TAGS_PER_TOPIC + rng.integers(0, TAGS_PER_TOPIC, n)
    filters = rng.random(n) < 0.35
    by_category = filters & (rng.random(n) < 0.5)
    return Searches(
        user=who.user.astype(np.int32),
        at=who.at + rng.integers(150, 600, n),
        act=np.where(filters, Act.FILTER, Act.SEARCH).astype(np.int32),
        tag=np.where(by_category, -1, tag).astype(np.int32),
        category=np.where(by_category, CATEGORY_OF_TOPIC[topic], -1).astype(np.int32),
    )
