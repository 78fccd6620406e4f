"""A study of scarce seats: everybody is shown a list once; who finds a seat, and who finds none?

What does not live here: how far seats damp a score (``recsys.seats``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eventlink.recsys.dataset import Bools, Floats
from eventlink.recsys.ranking import by_score
from eventlink.recsys.seats import factors
from eventlink.recsys.simulation.city import City
from eventlink.recsys.simulation.desk import Attempts, register
from eventlink.recsys.simulation.relation import Index
from eventlink.recsys.simulation.standing import MARGIN, Pairs, is_eligible
from eventlink.recsys.simulation.utility import Today

LENGTH = 10
"""Of the shown lists."""
NOISE = 1.0
"""Standard deviation, in logits, of what a ranker gets wrong about a utility."""


@dataclass(frozen=True)
class SeatOutcome:
    """What the lists of a day led to."""

    strength: float
    limited: int
    """Events with a limit of seats."""
    scarce: int
    """Those of them with fewer seats than expected registrations."""
    served: int
    """Registrations that found a seat."""
    overflow: int
    """Those that found none."""
    utility: float
    """Sum of what the seats were worth to those who got them, see ``study``."""


def study(city: City, strengths: Sequence[float], rng: np.random.Generator) -> list[SeatOutcome]:
    """Show every student a list, once with each strength, and let them take the seats.

    At the city's end all students come once, in random order. The lists are made by a ranker that
    knows each utility but for normal noise. Places are looked at, and what is looked at is clicked
    and registered for, by the city's own chances; seats are given by time. All strengths meet the
    same luck. A seat is worth its true utility above that of a page at which half register.

    Args:
        city: A simulated city.
        strengths: See ``seats.factors``.
        rng: The source of chance.
    """
    morning = _Morning.of(city, rng)
    return [morning.outcome(strength) for strength in strengths]


@dataclass(frozen=True)
class _Morning:
    """All that does not hang on the strength; pairs are students × candidates."""

    today: Today
    students: Index
    events: Index
    at: Floats
    """When each student comes."""
    eligible: Bools
    chance: Floats
    """To click and register where looked at, as it is."""
    score: Floats
    """The same, as the ranker believes."""
    looks: Bools
    """Whether each student looks at each place, shape (students, ``LENGTH``)."""
    luck: Floats
    rng: np.random.Generator

    @classmethod
    def of(cls, city: City, rng: np.random.Generator) -> "_Morning":
        truth, as_of = city.truth, city.options.until
        students, events = city.people.students, truth.candidates(as_of)
        shape = (len(students), len(events))
        now = truth.standing(as_of)
        today = Today(truth.setting, now, events, truth.chances, city.options)
        who, what = np.repeat(students, len(events)), np.tile(events, len(students))
        pairs = Pairs(who, what, np.full(len(who), as_of))
        utility = today.utility(pairs)

        def chance(utility: Floats) -> Floats:
            chances = truth.chances
            return (chances.of_click(utility) * chances.of_register(utility)).reshape(shape)

        return cls(
            today=today,
            students=students,
            events=events,
            at=as_of + np.floor(rng.random(len(students)) * MARGIN),
            eligible=is_eligible(truth.setting, now, pairs).reshape(shape),
            chance=chance(utility),
            score=chance(utility + rng.normal(0, NOISE, len(utility))),
            looks=rng.random((len(students), LENGTH)) < truth.examination[:LENGTH],
            luck=rng.random(shape),
            rng=rng,
        )

    def outcome(self, strength: float) -> SeatOutcome:
        limit = self.today.setting.programme.max_seats[self.events]
        left = np.where(limit >= 0, limit - self.today.now.taken[self.events], np.inf)
        limited = np.flatnonzero(np.isfinite(left))
        undamped = self._lists(np.ones(len(self.events)))
        demand = self._sum_of_scores(undamped)
        damping = np.ones(len(self.events))
        damping[limited] = factors(left[limited], demand[limited], strength)
        attempts = self._attempts(self._lists(damping))
        given = register(self.today, attempts, self.rng.spawn(1)[0])
        worth = self.today.utility(Pairs(given.user, given.event, given.at))
        return SeatOutcome(
            strength=strength,
            limited=len(limited),
            scarce=int((left < demand).sum()),
            served=len(given),
            overflow=len(attempts) - len(given),
            utility=float((worth + self.today.chances.register).sum()),
        )

    def _lists(self, damping: Floats) -> Index:
        return by_score(self.score * damping, ~self.eligible, LENGTH)

    def _sum_of_scores(self, lists: Index) -> Floats:
        scores = np.take_along_axis(self.score, np.maximum(lists, 0), axis=1)
        shown = lists >= 0
        return np.bincount(lists[shown], scores[shown], len(self.events)).astype(np.float64)

    def _attempts(self, lists: Index) -> Attempts:
        column = np.maximum(lists, 0)
        wants = np.take_along_axis(self.luck < self.chance, column, axis=1)
        student, place = np.nonzero(wants & self.looks[:, : lists.shape[1]] & (lists >= 0))
        column = lists[student, place]
        return Attempts(
            user=self.students[student],
            event=self.events[column],
            at=self.at[student] + place,
            chance=self.chance[student, column],
        )
