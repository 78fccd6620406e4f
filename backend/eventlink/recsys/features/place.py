"""How far, and from which neighbourhoods people come.

What does not live here: names of cities; a city's name counts only where coordinates are missing.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import KDTree

from eventlink.recsys.dataset import Ints
from eventlink.recsys.features.about import About, Sheet, named
from eventlink.recsys.features.demand import Demand
from eventlink.recsys.geography import (
    chord_to_km,
    distances,
    home_cells,
    squared_chords,
    unit_vectors,
)
from eventlink.recsys.matrices import Dense, Matrix, count, sum_into
from eventlink.recsys.persons import Persons
from eventlink.recsys.shrinkage import drawn, strength
from eventlink.recsys.snapshot import Pairs, Snapshot

KERNEL_WIDTHS = (1.5, 6.0, 25.0)
"""Kilometres."""
SAMPLE_CELLS = 64
"""Neighbourhoods that tell how far a kernel's estimates are to be smoothed."""
NEAR_STEPS = (2, 5, 10, 20, 50)
"""Kilometres."""

ABOUT = (
    About(
        "place",
        ("place.has_distance", "place.distance", "place.beyond_nearest", "place.rank"),
        "whether U's home and E's venue are known; log km between them; minus that of U's nearest"
        " event; log of E's rank by distance from U's neighbourhood",
        "People go to what is near; out of town, near is further",
    ),
    About(
        "place",
        named("place.within_{}km", NEAR_STEPS),
        "steps of the distance",
        "A walk, a ride and a journey are different decisions",
    ),
    About(
        "place",
        ("place.against_organizer_usual", "place.against_own_usual"),
        "log km against the mean of O's registrants, and against that of U's registrations",
        "Some organizers draw from afar, some users travel",
    ),
    About(
        "place",
        ("place.same_city",),
        "U and E name the same city",
        "All that is known where coordinates are missing",
    ),
    About(
        "home kernels",
        tuple(
            f"place.{of}_kernel_{width:g}km"
            for of in ("event", "organizer")
            for width in KERNEL_WIDTHS
        ),
        "log of how over-represented U's neighbourhood is among the registrants of E, of O",
        "Tells a stranger's taste by the neighbours, at three sizes of a neighbourhood",
    ),
)


class Place:
    """Venues, and where each event's and organizer's registrants live.

    Args:
        s: The crowd.
        demand: Of the same instant.
    """

    def __init__(self, s: Snapshot, demand: Demand) -> None:
        self.s = s
        self.demand = demand
        events = s.data.events
        self.venue = unit_vectors(events.lat[s.columns], events.lon[s.columns])
        homes = s.data.users.rows(s.members)
        self.cells = home_cells(homes.lat, homes.lon)

    @cached_property
    def cell(self) -> Ints:
        """For each registration, the cell of its user's home; -1 for none."""
        users, log = self.s.data.users, self.s.data.registrations
        return self.cells.of(users.lat, users.lon)[log.user]

    @cached_property
    def site(self) -> float:
        """Mean log km of a registration."""
        journeys = self.s.journeys
        has = np.isfinite(journeys)
        return float(journeys[has].mean()) if has.any() else 0.0

    @cached_property
    def usual(self) -> Dense:
        """For each column, the mean log km of its organizer's registrants."""
        s, organizers = self.s, self.s.organizers
        has = np.isfinite(s.journeys)
        group = organizers.of_event[s.data.registrations.event[has]]
        total = count(group, organizers.size + 1, s.journeys[has])
        number = count(group, organizers.size + 1)
        weight = strength(total[:-1], number[:-1], self.site, self._variance)
        mean = drawn(total, number, self.site, weight)
        mean[-1] = self.site  # no organizer
        return mean[organizers.of_column].astype(np.float32)

    def _own_usual(self, who: Persons, users: Ints) -> Dense:
        """For each user, the mean log km of the registrations."""
        total, number = who.travelled
        mean = drawn(total[users], number[users], self.site, self._own_strength)
        return mean.astype(np.float32)

    @cached_property
    def _own_strength(self) -> float:
        return strength(*self.s.travelled, self.site, self._variance)

    @cached_property
    def _variance(self) -> float:
        """Of the log km of a registration."""
        journeys = self.s.journeys
        has = np.isfinite(journeys)
        return float(journeys[has].var()) if has.any() else 0.0

    @cached_property
    def crowds(self) -> dict[str, tuple["Crowd", Ints | None]]:
        """Name to registrants by cell, and the group of each column if they are by group."""
        s = self.s
        group = s.organizers.of_event[s.data.registrations.event]
        n, of_column = s.organizers.size, s.organizers.of_column
        group = np.where(group < n, group, -1)
        return {
            "event": (self._crowd(self.demand.column, s.n_columns), None),
            "organizer": (self._crowd(group, n), of_column),
        }

    def _crowd(self, thing: Ints, size: int) -> "Crowd":
        kept = (self.cell >= 0) & (thing >= 0)
        return Crowd(sum_into((size, len(self.cells.centre)), thing[kept], self.cell[kept]))

    @cached_property
    def everybody(self) -> Dense:
        """Registrations by cell of the registrant's home."""
        return count(self.cell, len(self.cells.centre)).astype(np.float32)

    def fill(self, sheet: Sheet, p: Pairs, who: Persons) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the persons and of columns of the crowd.
            who: The persons.
        """
        self._fill_distances(sheet, p, who)
        self._fill_neighbourhoods(sheet, p, who)
        home = p.of_users(who.data.users.city[p.users].astype(np.float32))
        away = p.of_columns(self.s.data.events.city[self.s.columns].astype(np.float32))
        sheet["place.same_city"] = (home == away) & (home >= 0)

    def _fill_distances(self, sheet: Sheet, p: Pairs, who: Persons) -> None:
        homes = who.homes[p.users]
        squared = np.zeros(len(p), np.float32)
        for axis in range(3):  # as ``squared_chords`` sums
            squared += (p.of_users(homes[:, axis]) - p.of_columns(self.venue[:, axis])) ** 2
        km = _log_km(squared)
        has = np.isfinite(km)
        known = has.astype(np.float32)
        km[~has] = 0
        sheet["place.has_distance"] = known
        sheet["place.distance"] = km
        for step in NEAR_STEPS:
            sheet[f"place.within_{step}km"] = has & (km < np.log1p(step))
        nearest, own_usual = self._nearest(homes), self._own_usual(who, p.users)
        sheet["place.beyond_nearest"] = (km - p.of_users(nearest)) * known
        sheet["place.against_organizer_usual"] = (km - p.of_columns(self.usual)) * known
        sheet["place.against_own_usual"] = (km - p.of_users(own_usual)) * known

    def _nearest(self, homes: Dense) -> Dense:
        """For each home, the log km to the nearest venue; 0 where there is none."""
        has = np.isfinite(homes[:, 0])
        nearest = np.zeros(len(homes), np.float32)
        if self.venues.n and has.any():
            _, place = self.venues.query(homes[has])
            venue = self.venues.data[place].astype(np.float32)
            nearest[has] = _log_km(np.square(homes[has] - venue).sum(axis=1))
        return nearest

    @cached_property
    def venues(self) -> KDTree:
        """The columns' places."""
        return KDTree(self.venue[np.isfinite(self.venue[:, 0])])

    def _fill_neighbourhoods(self, sheet: Sheet, p: Pairs, who: Persons) -> None:
        """Write what is the same for all who live in a cell."""
        users, centre = who.data.users, self.cells.centre
        cell = self.cells.of(users.lat[p.users], users.lon[p.users])
        # A home where nobody of the crowd lives stands for itself; one not known is nan.
        home = np.where((cell >= 0)[:, None], self.cells.centre_of(cell), who.homes[p.users])
        alone = (cell < 0) & np.isfinite(home[:, 0])
        key = np.where(alone, len(centre) + np.arange(len(cell)), cell)
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        home, kin = home[first], inverse.astype(np.int32)
        known = sheet["place.has_distance"]
        sheet["place.rank"] = p.of_both(self._log_ranks(home), kin=kin) * known
        km = distances(home, centre)
        for width in KERNEL_WIDTHS:
            kernel = _kernel(km, width)
            base = self._of_everybody(kernel)
            for name, (crowd, group) in self.crowds.items():
                lift = crowd.lift(kernel, base, self.strengths[name, width])
                lift[np.isnan(home[:, 0])] = 0
                out = sheet[f"place.{name}_kernel_{width:g}km"]
                if group is None:
                    p.of_both(lift, out, kin)
                else:
                    p.of_groups(np.pad(lift, ((0, 0), (0, 1))), group, out, kin)

    def _of_everybody(self, nearness: Dense) -> Dense:
        """Average over all registrants, shape (n,), what the cells they live in have."""
        mean: Dense = (nearness * self.everybody).sum(axis=1)
        mean /= max(float(self.everybody.sum()), 1.0)
        return mean

    @cached_property
    def strengths(self) -> dict[tuple[str, float], float]:
        """How far lifts are smoothed, by name of crowd and kernel width."""
        centre = self.cells.centre
        km = distances(centre[:: -(-len(centre) // SAMPLE_CELLS) or 1], centre)
        found = {}
        for width in KERNEL_WIDTHS:
            kernel = _kernel(km, width)
            base = self._of_everybody(kernel)
            variance = self._of_everybody(kernel**2) - base**2
            for name, (crowd, _) in self.crowds.items():
                near = crowd.near(kernel)
                found[name, width] = strength(near, crowd.total, base[:, None], variance[:, None])
        return found

    def _log_ranks(self, home: Dense) -> Dense:
        """Rank all columns by distance from homes, ties by column; log, shape (n, n_columns)."""
        # The bits of floats that are not negative are in the floats' order, nan last; sorted as one
        # number with the column's they make a stable order in half the time of an argsort.
        bits = np.abs(squared_chords(home, self.venue)).view(np.int32).astype(np.int64) << 32
        bits |= np.arange(bits.shape[1])
        bits.sort(axis=1)
        order = bits & 0xFFFFFFFF
        ranks = np.empty(order.shape, np.float32)
        by_rank = np.log1p(np.arange(order.shape[1], dtype=np.float32))
        np.put_along_axis(ranks, order, by_rank[None], axis=1)
        return ranks


def _log_km(squared_chord: Dense) -> Dense:
    return np.log1p(chord_to_km(np.sqrt(squared_chord)))


@dataclass(frozen=True)
class Crowd:
    """Where the registrants of some things live."""

    counts: Matrix
    """Things × cells."""

    @cached_property
    def total(self) -> Dense:
        """Registrants of each thing with a home."""
        return np.asarray(self.counts.sum(axis=1), np.float32)

    def near(self, kernel: Dense) -> Dense:
        """Sum registrants by nearness to neighbourhoods, shape (n, number of things)."""
        near: Dense = (self.counts @ kernel.T).T
        return near

    def lift(self, kernel: Dense, base: Dense, weight: float) -> Dense:
        """Log of how over-represented neighbourhoods are among each thing's registrants.

        Args:
            kernel: Nearness of cells to the neighbourhoods, shape (n, number of cells).
            base: Each neighbourhood's share of all registrants, shape (n,).
            weight: Registrants at that share that every estimate starts from.

        Returns:
            Shape (n, number of things).
        """
        base, some = base[:, None], np.float32(weight)
        share = (self.near(kernel) + some * base) / (self.total + some)
        lift: Dense = np.log(share / np.maximum(base, np.float32(1e-9)) + np.float32(1e-3))
        return lift


def _kernel(km: Dense, width: float) -> Dense:
    kernel: Dense = np.exp(np.float32(-0.5) * (km / np.float32(width)) ** 2)
    return kernel
